package conformance

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// Operators without vectors in ONNX are judged by ONNX Runtime. The files of
// testdata/judged, one for each domain, hold models in ONNX text under their
// names. Its products of uint8 by int8 saturate on CPUs without VNNI, so weights
// that are fed are clipped to 7 bits.
func TestJudged(t *testing.T) {
	judge := newJudge(t)
	for name, m := range judgedModels(t) {
		t.Run(name, func(t *testing.T) { compareWithORT(t, judge, m) })
	}
}

// judgedModels reads testdata/judged.
func judgedModels(t *testing.T) map[string]*graph.Model {
	t.Helper()
	files, err := filepath.Glob("testdata/judged/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no models to judge: %v", err)
	}
	models := map[string]*graph.Model{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		domain := strings.TrimSuffix(filepath.Base(file), ".txt")
		for part := range strings.SplitSeq(strings.TrimPrefix(string(data), "-- "), "\n-- ") {
			name, text, _ := strings.Cut(part, " --\n")
			m, err := graph.ParseModel(text)
			if err != nil {
				t.Errorf("%s: %s: %v", file, name, err)
				continue
			}
			models[domain+"/"+name] = m
		}
	}
	return models
}

func compareWithORT(t *testing.T, judge *judge, m *graph.Model) {
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

// TestEveryOperatorIsJudged holds that each operator that runs stands in a test
// of the suites or in testdata/judged, or in testdata/unjudged.txt with the
// reason. Private operators are judged by finite differences (graph/grad).
func TestEveryOperatorIsJudged(t *testing.T) {
	cases, err := Find(suites(t))
	if err != nil {
		t.Fatal(err)
	}
	judged := map[*op.Def]bool{}
	visit := func(m *graph.Model) {
		for n := range m.Nodes(graph.InMain | graph.InSubgraphs | graph.InFunctions) {
			judged[op.Find(n.Domain, n.Op, m.Opset(n.Domain))] = true
		}
	}
	for _, c := range cases {
		f, err := onnxio.Open(c.Model, onnxio.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		visit(f.Model)
		f.Close()
	}
	for _, m := range judgedModels(t) {
		visit(m)
	}
	listed := reasons(t, unjudgedFile)
	for d := range op.All() {
		if d.Eval == nil || d.Domain == op.PrivateDomain {
			continue
		}
		name := strings.TrimPrefix(d.Domain+"."+d.Name, ".")
		switch {
		case !judged[d] && listed[name] == "":
			t.Errorf("%s from version %d on: no test judges it", name, d.Since)
		case judged[d] && listed[name] != "":
			t.Errorf("%s is judged: take it from %s", name, unjudgedFile)
		}
	}
}
