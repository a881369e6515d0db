package grad_test

import (
	"math"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Fake quantization passes the gradient on within the range, and gives the
// scale what learned step sizes define: the rounding error within, the bound
// outside.
func TestFakeQuantizationGradients(t *testing.T) {
	m, err := graph.ParseModel(header + `g (float[4] x, float s) => (float loss) <int8 z = {0}, float[4] k = {1,2,3,4}> {
		q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z)  a = Mul (y, k)  loss = ReduceSum <keepdims = 0> (a)
	}`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := grad.Build(m, grad.Options{Loss: "loss", By: []string{"x", "s"}})
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{0.3, 1.7, 100, -100}
	out := runModel(t, d, map[string]tensor.Value{
		"x": tensor.Of(tensor.Shape{4}, x), "s": tensor.Of(tensor.Shape{}, []float32{0.5}),
	})
	dx := tensor.Data[float32](out[grad.Name("x")].(*tensor.Tensor))
	for i, want := range []float32{1, 2, 0, 0} {
		if dx[i] != want {
			t.Errorf("gradient by x is %v, want 1, 2, 0, 0", dx)
		}
	}
	ds := float64(tensor.Data[float32](out[grad.Name("s")].(*tensor.Tensor))[0])
	if want := 1*(1-0.6) + 2*(3-3.4) + 3*127 - 4*128; math.Abs(ds-want) > 1e-4 {
		t.Errorf("gradient by the scale is %v, want %v", ds, want)
	}
}
