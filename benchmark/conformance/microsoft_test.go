package conformance

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// Operators of com.microsoft have no vectors in ONNX; ONNX Runtime judges
// them. testdata/microsoft.txt holds models in ONNX text under their names.
func TestMicrosoft(t *testing.T) {
	judge := newJudge(t)
	data, err := os.ReadFile("testdata/microsoft.txt")
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(string(data), "-- "), "\n-- ") {
		name, text, _ := strings.Cut(part, " --\n")
		t.Run(name, func(t *testing.T) { compareWithORT(t, judge, text) })
	}
}

func compareWithORT(t *testing.T, judge *judge, text string) {
	m, err := graph.ParseModel(text)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := onnxio.Encode(&file, m); err != nil {
		t.Fatal(err)
	}
	feeds := randomFeeds(m.Graph)
	want, err := judge.run(t.Context(), ort.Options{Model: file.Bytes()}, feeds)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Compile(t.Context(), m, engine.Options{Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Run(t.Context(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	if err := compareOutputs(got, want); err != nil {
		t.Error(err)
	}
}

// randomFeeds draws a small tensor for every input, the same on every call.
func randomFeeds(g *graph.Graph) map[string]tensor.Value {
	draw := rand.New(rand.NewPCG(1, 2))
	feeds := map[string]tensor.Value{}
	for _, v := range g.Feeds() {
		shape, _ := v.Type.Shape.Static()
		x := make([]float64, shape.Len())
		for i := range x {
			switch d := v.Type.Elem; {
			case d.IsFloat():
				x[i] = draw.NormFloat64()
			case d.IsUnsigned():
				x[i] = float64(draw.IntN(256))
			default:
				x[i] = float64(draw.IntN(256) - 128)
			}
		}
		feeds[v.Name()] = tensor.FromFloat64s(v.Type.Elem, shape, x)
	}
	return feeds
}
