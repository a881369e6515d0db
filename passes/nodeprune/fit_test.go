package nodeprune

import (
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/targets"
)

// TestFitBehindRelu wants results that weights give where a Relu lets them through,
// and that are anything below zero elsewhere: the weights are found.
func TestFitBehindRelu(t *testing.T) {
	kernels, err := targets.Host().Kernels()
	if err != nil {
		t.Fatal(err)
	}
	const rows, cols, n = 3, 5, 400
	m := saliency.Dense(rows, 0, cols, cols)
	r := rand.New(rand.NewPCG(1, 2))
	truth := make([]float64, rows*cols)
	for i := range truth {
		truth[i] = r.NormFloat64()
	}
	x := &saliency.Columns{N: n, Groups: [][]float32{make([]float32, cols*n)}}
	for i := range x.Groups[0] {
		x.Groups[0][i] = float32(r.NormFloat64())
	}
	want := m.Apply(truth, []float64{0.5, 0, -0.5}, x, kernels, 1)
	for i, v := range want.Groups[0] {
		if v < 0 {
			want.Groups[0][i] = -5 * r.Float32()
		}
	}
	lost := map[bool]float64{}
	for _, relu := range []bool{false, true} {
		f := &fit{matrix: m, clamp: saliency.NoClamp, kernels: kernels, threads: 1}
		f.train, f.held = saliency.NewRegression(m, kernels, 1), saliency.NewRegression(m, kernels, 1)
		f.train.Inputs.Centered, f.held.Inputs.Centered = true, true
		if relu {
			f.clamp.Lo = 0
		}
		f.chunks = []chunk{{x: x, y: want}}
		if err := f.train.Add(x, want); err != nil {
			t.Fatal(err)
		}
		w, b := f.fitted(f.train, make([]float64, rows*cols), 1e-6, 60)
		got := m.Apply(w, b, x, kernels, 1)
		lost[relu] = saliency.Clamp{Hi: saliency.NoClamp.Hi}.SquaredError(got.Groups[0], want.Groups[0])
	}
	if lost[true] > 0.01*lost[false] {
		t.Errorf("the squared error behind the Relu is %.3g, and %.3g if it is not known of", lost[true], lost[false])
	}
}
