package engine

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// TestFocus checks that a convolution of every other pixel becomes one of the
// image, and that it stays where the number of columns may be odd.
func TestFocus(t *testing.T) {
	const body = ` x, float[5,8,3,3] w, float[5] b, int64[1] zero, int64[1] one, int64[1] two, int64[1] three, int64[1] end) => (y) {
		r0 = Slice(x, zero, end, two, two) r1 = Slice(x, one, end, two, two)
		a = Slice(r0, zero, end, three, two) d = Slice(r1, one, end, three, two)
		e = Slice(r0, one, end, three, two) f = Slice(r1, zero, end, three, two)
		c = Concat<axis = 1>(a, f, e, d)
		y = Conv<pads = [1,0,1,2]>(c, w, b)
	}`
	weights := map[string]*tensor.Tensor{
		"w": random(2, 5, 8, 3, 3), "b": random(3, 5),
		"zero": tensor.Vector[int64](0), "one": tensor.Vector[int64](1), "two": tensor.Vector[int64](2),
		"three": tensor.Vector[int64](3), "end": tensor.Vector[int64](1 << 40),
	}
	for _, c := range []struct {
		size  string
		fused bool
	}{{"[2,2,10,12]", true}, {"[2,2,10,N]", false}} {
		m := parseWith(t, `<ir_version: 8, opset_import: ["": 17]> g (float`+c.size+body, weights)
		in := feeds{"x": random(1, 2, 2, 10, 12)}
		want := runModel(t, m, Options{Plain: true}, in)["y"].(*tensor.Tensor)
		got := runModel(t, m, Options{}, in)["y"].(*tensor.Tensor)
		if !got.Shape().Equal(want.Shape()) || !near(floats(t, got), floats(t, want)) {
			t.Errorf("%s: fused %v differs from plain %v", c.size, got, want)
		}
		s, err := Compile(t.Context(), m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if fused := !slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Is("Slice") }); fused != c.fused {
			t.Errorf("%s: fused is %v, want %v", c.size, fused, c.fused)
		}
	}
}
