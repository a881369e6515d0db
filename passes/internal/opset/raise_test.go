package opset

import (
	"context"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

func parse(t *testing.T, text string) *graph.Model {
	t.Helper()
	m, err := graph.ParseModel(text)
	if err != nil {
		t.Fatal(err)
	}
	op.InferModel(m, op.InferOptions{})
	return m
}

// TestRaise runs a model of opset 8 before and after.
func TestRaise(t *testing.T) {
	m := parse(t, `<ir_version: 4, opset_import: ["": 8]>
g (float[2,4] x) => (float[2,4] y) {
  a = Clip <min = -0.5, max = 0.5> (x)
  b = Pad <pads = [0, 1, 0, 1], value = 0.25> (a)
  c = Slice <axes = [1], starts = [1], ends = [5]> (b)
  d = Unsqueeze <axes = [0]> (c)
  e = ReduceSum <axes = [0], keepdims = 0> (d)
  f, h = Split <axis = 1, split = [1, 3]> (e)
  i = Concat <axis = 1> (h, f)
  k = Dropout <ratio = 0.5> (i)
  y = Softmax (k)
}`)
	r, err := Raise(m, 13)
	if err != nil {
		t.Fatal(err)
	}
	if r.Opset("") != 13 || m.Opset("") != 8 {
		t.Errorf("opsets are %d and %d, want 13 and 8", r.Opset(""), m.Opset(""))
	}
	if err := graph.Check(r); err != nil {
		t.Fatal(err)
	}
	want, got := run(t, m), run(t, r)
	if !want.Equal(got) {
		t.Errorf("got %v, want %v", tensor.Float32s(got), tensor.Float32s(want))
	}
}

func run(t *testing.T, m *graph.Model) *tensor.Tensor {
	t.Helper()
	s, err := engine.Compile(context.Background(), m, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := tensor.Of(tensor.Shape{2, 4}, []float32{-1, 0, 1, 0.25, 0.5, -0.5, 2, 3})
	out, err := s.Run(context.Background(), map[string]tensor.Value{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	return out["y"].(*tensor.Tensor)
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		to          int64
		model, want string
	}{
		{13, `<ir_version: 4, opset_import: ["": 8]> g (float[1,2,3] x) => (float[1,2,3] y) { y = GRUUnit (x) }`,
			`node "y" (GRUUnit) in opset 10: it was experimental`},
		{29, `<ir_version: 4, opset_import: ["": 9]> g (float[2] x) => (float[2] y) { y = Relu (x) }`,
			"opset 29 is not known"},
		{10, `<ir_version: 8, opset_import: ["": 13]> g (float[1,1,2,2] x, float[4] s) => (float[1,1,4,4] y) { y = Resize (x, , s) }`,
			`node "y" (Resize) in opset 11: coordinates are half_pixel, want asymmetric`},
		{12, `<ir_version: 8, opset_import: ["": 13]> g (float[1,2] x, int64[1] a) => (float[2] y) { y = Squeeze (x, a) }`,
			`node "y" (Squeeze) in opset 13: input 1 (axes) was an attribute, and what it holds is not constant`},
		{19, `<ir_version: 8, opset_import: ["": 20]> g (float[2] x) => (float[2] y) { y = Gelu (x) }`,
			`node "y" (Gelu): operator Gelu of opset 20 is not part of opset 19`},
	} {
		_, err := Convert(parse(t, c.model), c.to)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
