package distill_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/distill"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// ofRank returns the text of a rows x cols matrix of the given rank.
func ofRank(rank, rows, cols int, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 4))
	x := make([]float64, rows*cols)
	for range rank {
		a, b := make([]float64, rows), make([]float64, cols)
		for i := range a {
			a[i] = r.NormFloat64()
		}
		for i := range b {
			b[i] = r.NormFloat64() / math.Sqrt(float64(cols))
		}
		for i := range x {
			x[i] += a[i/cols] * b[i%cols]
		}
	}
	words := make([]string, len(x))
	for i, v := range x {
		words[i] = fmt.Sprintf("%.6f", v)
	}
	return strings.Join(words, ", ")
}

// TestLowerRank splits layers whose weights have a low rank: the rank is
// found, and the model computes what it did.
func TestLowerRank(t *testing.T) {
	m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 17]>
		g (float[1, 4, 6, 6] x) => (float[1, 9] y)
		<float[12, 4, 3, 3] w = {` + ofRank(3, 12, 36, 1) + `}, float[12] b = {` + ofRank(1, 1, 12, 2) + `},
		 float[20, 108] g = {` + ofRank(4, 20, 108, 3) + `}, float[20] c = {` + ofRank(1, 1, 20, 4) + `},
		 float[20, 9] k = {` + ofRank(2, 20, 9, 5) + `}> {
			h = Conv <pads = [1, 1, 1, 1], strides = [2, 2], kernel_shape = [3, 3]> (x, w, b)
			f = Flatten (h)
			z = Gemm <transB = 1> (f, g, c)
			r = Relu (z)
			y = MatMul (r, k)
		}`)
	if err != nil {
		t.Fatal(err)
	}
	data := unlabelled(t, m)
	steps, err := passes.ParseSteps("lower-rank=macs:0.36", []*passes.Pass{distill.LowerRank})
	if err != nil {
		t.Fatal(err)
	}
	split, report, err := passes.Pipeline{Steps: steps}.Run(context.Background(), m.Clone(), &passes.Env{Calibration: data})
	if err != nil {
		t.Fatal(err)
	}
	if n := report.Steps[0].Changed; n != 3 {
		t.Errorf("%d layers are split, want 3: %v", n, report.Steps[0].Notes)
	}
	if share := report.Steps[0].Figures["macs_after"] / report.Steps[0].Figures["macs_before"]; share > 0.36 {
		t.Errorf("%.3f of the work is left, want at most 0.36", share)
	}
	if far := farthest(t, m, split, data); far > 1e-4 {
		t.Errorf("an output is %.3g away from what it was", far)
	}
}

// farthest returns the greatest difference of an element of y.
func farthest(t *testing.T, a, b *graph.Model, data passes.Data) float64 {
	t.Helper()
	var outs [2][][]float64
	for i, m := range []*graph.Model{a, b} {
		s, err := engine.Compile(context.Background(), m, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for x, err := range data(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Run(context.Background(), x.Feeds)
			if err != nil {
				t.Fatal(err)
			}
			outs[i] = append(outs[i], tensor.Float64s(out["y"].(*tensor.Tensor)))
		}
	}
	far := 0.0
	for i := range outs[0] {
		for k := range outs[0][i] {
			far = max(far, math.Abs(outs[0][i][k]-outs[1][i][k]))
		}
	}
	return far
}
