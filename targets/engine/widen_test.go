package engine

import (
	"math"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Operators over 16-bit floats run as those over float32 do, and give what the
// operators give that round at every step, within what these round.
func TestWidenHalves(t *testing.T) {
	for _, c := range []struct {
		name, text string
		has, not   string // steps that there are and are not
	}{
		{"convolution", `(float16[1,3,6,6] x, float16[4,3,3,3] w) => (float16[1,4,1,1] y) { c = Conv(x, w) r = Relu(c) y = GlobalAveragePool(r) }`, "Conv+Relu", "Conv"},
		{"brain floats", `(bfloat16[1,3,6,6] x, bfloat16[4,3,3,3] w) => (bfloat16[1,4,4,4] y) { c = Conv(x, w) y = Relu(c) }`, "Conv+Relu", "Conv"},
		{"stored as halves between", `(float[5,7] x, float16[7,6] w) => (float[6,5] y) { h = Cast<to = 10>(x) m = MatMul(h, w) t = Transpose(m) y = Cast<to = 1>(t) }`, "MatMul", "Cast"},
		{"rounding alone", `(float[5,7] x, float16[7,6] w) => (float[5,7] y) { h = Cast<to = 10>(x) y = Cast<to = 1>(h) }`, "Cast", ""},
		{"moving alone", `(float16[5,7] x, float16[7,6] w) => (float16[7,5] y) { y = Transpose(x) }`, "Transpose", "Cast"},
		{"two outputs", `(float16[5,7] x, float16[7,6] w) => (float16[5,6] m, float16[5,6] y) { m = MatMul(x, w) y = Sigmoid(m) }`, "MatMul", ""},
		{"numbers to flags", `(float16[5,7] x, float16[7,6] w) => (bool[5,6] y) <float16 zero = {0}> { m = MatMul(x, w) y = Less(m, zero) }`, "MatMul", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := parse(t, `<ir_version: 8, opset_import: ["": 17]> g `+c.text)
			x, w := m.Graph.Value("x"), m.Graph.Value("w")
			in := feeds{"x": randomOf(t, 1, x)}
			m.Graph.SetInit(w, &graph.Literal{Tensor: randomOf(t, 2, w)})
			m.Graph.DropInput(w)
			want, got := runModel(t, m, Options{Plain: true}, in), runModel(t, m, Options{}, in)
			for name := range want {
				a, b := want[name].(*tensor.Tensor), got[name].(*tensor.Tensor)
				if a.DType() != b.DType() || !a.Shape().Equal(b.Shape()) || !nearHalves(floats(t, b), floats(t, a)) {
					t.Errorf("%s: widened %v differs from %v", name, b, a)
				}
			}
			s, err := Compile(t.Context(), m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for op, want := range map[string]bool{c.has: true, c.not: false} {
				if got := slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Op == op }); got != want && op != "" {
					t.Errorf("there is a %s: %v, want %v", op, got, want)
				}
			}
		})
	}
}

// randomOf fills a tensor of v's type.
func randomOf(t *testing.T, seed uint64, v *graph.Value) *tensor.Tensor {
	t.Helper()
	s, _ := v.Type.Shape.Static()
	x, err := tensor.Convert(random(seed, s...), v.Type.Elem, false, tensor.RoundUp)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func nearHalves(a, b []float32) bool {
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > 0.03*(1+math.Abs(float64(b[i]))) {
			return false
		}
	}
	return len(a) == len(b)
}
