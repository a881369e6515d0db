package nodeprune_test

import (
	"context"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/nodeprune"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// drawn returns samples of normal numbers as the input x, [1, n].
func drawn(samples, n int) passes.Data {
	return func(context.Context) iter.Seq2[dataset.Sample, error] {
		return func(yield func(dataset.Sample, error) bool) {
			r := rand.New(rand.NewPCG(7, 8))
			for range samples {
				x := make([]float64, n)
				for i := range x {
					x[i] = r.NormFloat64()
				}
				feeds := map[string]tensor.Value{"x": tensor.FromFloat64s(tensor.Float32, tensor.Shape{1, n}, x)}
				if !yield(dataset.Sample{Feeds: feeds, Label: -1}, nil) {
					return
				}
			}
		}
	}
}

// Units go where the scores lose least: in the branch that hardly counts, to the
// limit, although its weights are larger.
func TestSensitivity(t *testing.T) {
	m, err := graph.ParseModel(`<ir_version: 9, opset_import: ["": 17]> g (float[N,4] x) => (float[N,2] y) <
		float[4,4] a = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, float[4,4] b = {2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2},
		float[2,4] e = {1, -2, 3, -4, -1, 2, -3, 4}, float[2,4] f = {0.1, 0.2, 0.1, 0.3, 0.1, 0.1, 0.2, 0.3}, float[2] c = {0, 0}>
		{ p = Gemm (x, a)  q = Gemm (x, b)  r = Gemm <transB = 1> (p, e, c)  s = Gemm <transB = 1> (q, f, c)  y = Add (r, s) }`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, value string
		want       map[string]int
	}{
		{"ratio", "0.5", map[string]int{"a": 3, "b": 1}},
		{"latency", "0.65", map[string]int{"a": 2, "b": 2}}, // by twos
	} {
		t.Run(c.key, func(t *testing.T) {
			step, err := nodeprune.PruneNodes.Step(passes.Setting{Key: c.key, Value: c.value}, passes.Setting{Key: "scope", Value: "sensitivity"}, passes.Setting{Key: "multiple", Value: "1"})
			if err != nil {
				t.Fatal(err)
			}
			const samples = 96
			env := &passes.Env{Calibration: drawn(samples, 4), Samples: samples, Threads: 1, Latency: byTwos}
			line := passes.Pipeline{Steps: []passes.Step{step}}
			m, _, err := line.Run(t.Context(), m.Clone(), env)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.want {
				if got := m.Graph.Value(name).Init.Tensor.Shape()[1]; got != want {
					t.Errorf("%s keeps %d of 4 units, want %d", name, got, want)
				}
			}
		})
	}
}

// byTwos is the latency of a machine that computes two units at a time.
func byTwos(_ context.Context, m *graph.Model) (time.Duration, error) {
	sum := time.Duration(0)
	for _, name := range []string{"a", "b"} {
		sum += time.Duration((m.Graph.Value(name).Init.Tensor.Shape()[1]+1)/2) * time.Millisecond
	}
	return sum + time.Millisecond, nil
}

// What stays takes over what goes: where two channels carry the same, nothing is
// lost.
func TestRepairByCopies(t *testing.T) {
	m, err := graph.ParseModel(`<ir_version: 9, opset_import: ["": 17]> g (float[N,2] x) => (float[N,2] y) <
		float[3,2] a = {6, 4, 3, 2, 2, -4}, float[3] d = {0.5, 0, 0}, float[2,3] b = {1, 2, 1, -1, 1, 1}, float[2] c = {0, 1}>
		{ p = Gemm <transB = 1> (x, a, d)  y = Gemm <transB = 1> (p, b, c) }`)
	if err != nil {
		t.Fatal(err)
	}
	original := m.Clone()
	step, err := nodeprune.PruneNodes.Step(passes.Setting{Key: "ratio", Value: "0.3"}, passes.Setting{Key: "by", Value: "obs"}, passes.Setting{Key: "repair", Value: "lstsq"})
	if err != nil {
		t.Fatal(err)
	}
	const samples = 64
	line := passes.Pipeline{Steps: []passes.Step{step}}
	m, _, err = line.Run(t.Context(), m, &passes.Env{Calibration: drawn(samples, 2), Samples: samples, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Graph.Value("a").Init.Tensor.Shape()[0]; got != 2 {
		t.Fatalf("%d of 3 channels are left, want 2", got)
	}
	for s := range drawn(8, 2)(t.Context()) {
		want, got := answerOf(t, original, s), answerOf(t, m, s)
		for i := range want {
			if d := want[i] - got[i]; d > 0.02 || d < -0.02 {
				t.Errorf("answer %v, want %v", got, want)
				break
			}
		}
	}
}

// A unit that training makes smaller goes: it has no part in the label.
func TestMovement(t *testing.T) {
	m, err := graph.ParseModel(`<ir_version: 9, opset_import: ["": 17]> g (float[N,2] x) => (float[N,2] y) <
		float[2,2] a = {1, 0, 0, 1}, float[2,2] b = {-0.2, 0.2, -0.5, 0.5}> { p = MatMul (x, a)  y = MatMul (p, b) }`)
	if err != nil {
		t.Fatal(err)
	}
	data := func(ctx context.Context) iter.Seq2[dataset.Sample, error] {
		return func(yield func(dataset.Sample, error) bool) {
			for s, err := range drawn(200, 2)(ctx) {
				if s.Label = 0; tensor.Float32s(s.Feeds["x"].(*tensor.Tensor))[0] > 0 {
					s.Label = 1
				}
				if !yield(s, err) {
					return
				}
			}
		}
	}
	step, err := nodeprune.PruneNodes.Step(passes.Setting{Key: "ratio", Value: "0.5"}, passes.Setting{Key: "by", Value: "movement"})
	if err != nil {
		t.Fatal(err)
	}
	line := passes.Pipeline{Steps: []passes.Step{step}}
	if m, _, err = line.Run(t.Context(), m, &passes.Env{Calibration: data, Samples: 200, Labelled: true, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	if got := tensor.Float32s(m.Graph.Value("a").Init.Tensor); len(got) != 2 || got[0] != 1 {
		t.Errorf("the weights that are left are %v, want those of the first unit", got)
	}
}

func answerOf(t *testing.T, m *graph.Model, s dataset.Sample) []float32 {
	t.Helper()
	session, err := engine.Compile(t.Context(), m, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.Run(t.Context(), s.Feeds)
	if err != nil {
		t.Fatal(err)
	}
	return tensor.Float32s(out["y"].(*tensor.Tensor))
}
