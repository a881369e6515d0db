package grad_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// deepModel is a chain of layers with a residual around every two of them, a
// normalization in training form, and a value that the last layer reads from
// the first.
func deepModel(t *testing.T, layers int) *graph.Model {
	var b strings.Builder
	b.WriteString(header + "g (float[64,32] x, float[32,32] w, float[32] s, float[32] t) => (float loss) <float[32] m = {" +
		strings.Repeat("0,", 31) + "0}, float[32] v = {" + strings.Repeat("1,", 31) + "1}> {\n h0 = Identity (x)\n")
	last := "h0"
	for i := range layers {
		at := func(name string) string { return name + string(rune('a'+i)) }
		b.WriteString(at("p") + " = MatMul (" + last + ", w) " + at("n") + ", " + at("rm") + ", " + at("rv") +
			" = BatchNormalization <training_mode = 1> (" + at("p") + ", s, t, m, v) " +
			at("a") + " = Tanh (" + at("n") + ") " + at("h") + " = Add (" + at("a") + ", " + last + ")\n")
		last = at("h")
	}
	b.WriteString(" y = Mul (" + last + ", pa)  loss = ReduceSum <keepdims = 0> (y) }")
	m, err := graph.ParseModel(b.String())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Gradients of segments that are computed once more are the same bits, and a
// run stays under a limit that it needs more than without.
func TestRecomputation(t *testing.T) {
	m := deepModel(t, 16)
	feeds := feedsOf(m)
	by := []string{"x", "w", "s", "t"}
	var want map[string]tensor.Value
	const value = 64 * 32 * 4 // bytes of a layer's result
	for _, segments := range []int{1, 4, 9, 1000} {
		d, err := grad.Build(m, grad.Options{Loss: "loss", By: by, Segments: segments})
		if err != nil {
			t.Fatal(err)
		}
		if err := graph.Check(d); err != nil {
			t.Fatal(err)
		}
		got := runModel(t, d, feeds)
		if want == nil {
			want = got
		}
		for _, name := range by {
			a, b := want[grad.Name(name)].(*tensor.Tensor), got[grad.Name(name)].(*tensor.Tensor)
			if !bytes.Equal(a.Bytes(), b.Bytes()) {
				t.Errorf("%d segments: the gradient by %q differs", segments, name)
			}
		}
		if segments != 1 && segments != 4 {
			continue
		}
		s, err := engine.Compile(t.Context(), d, engine.Options{Threads: 1, MaxMemory: 36 * value})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.Run(t.Context(), feeds); (err == nil) != (segments == 4) {
			t.Errorf("%d segments under a limit of 36 values: %v", segments, err)
		}
	}
}
