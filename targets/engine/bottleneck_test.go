package engine

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// The image is large enough for strips, but for the small one.
func TestBottleneck(t *testing.T) {
	const head = `<ir_version: 8, opset_import: ["": 17]> g (float[N,4,H,W] x, float[96,4,1,1] e, float[96,4,3,3] e3, float[96] b, float[96,1,3,3] d, float[96,1,5,5] d5, float[4,96,1,1] p, float[4] pb) => (y)
<float zero = {0}, float six = {6}> `
	weights := map[string]*tensor.Tensor{
		"e": random(1, 96, 4, 1, 1), "e3": random(2, 96, 4, 3, 3), "b": random(3, 96), "d": random(4, 96, 1, 3, 3),
		"d5": random(5, 96, 1, 5, 5), "p": random(6, 4, 96, 1, 1), "pb": random(7, 4),
	}
	for _, net := range []struct{ name, body string }{
		{"residual", `{ a = Conv(x, e, b) c = Clip(a, zero, six) f = Conv<group = 96, pads = [1,1,1,1]>(c, d, b) g = Clip(f, zero, six) h = Conv(g, p, pb) y = Add(x, h) }`},
		{"stride", `{ a = Conv(x, e, b) c = Relu(a) f = Conv<group = 96, pads = [1,1,1,1], strides = [2,2]>(c, d) g = HardSwish(f) y = Conv(g, p) }`},
		{"window of five", `{ a = Conv(x, e) f = Conv<group = 96, pads = [2,2,2,2]>(a, d5) h = Conv(f, p) y = Tanh(h) }`},
		{"first of three by three", `{ a = Conv<pads = [1,1,1,1]>(x, e3, b) f = Conv<group = 96>(a, d) h = Conv(f, p, pb) q = Relu(h) y = Conv<pads = [1,1,1,1]>(q, e3) }`},
	} {
		t.Run(net.name, func(t *testing.T) {
			m := parseWith(t, head+net.body, weights)
			for _, size := range [][]int{{1, 4, 61, 58}, {2, 4, 61, 58}, {1, 4, 6, 6}} {
				in := feeds{"x": random(8, size...)}
				want := runModel(t, m, Options{Plain: true}, in)["y"].(*tensor.Tensor)
				one := runModel(t, m, Options{Threads: 1}, in)["y"].(*tensor.Tensor)
				two := runModel(t, m, Options{Threads: 2}, in)["y"].(*tensor.Tensor)
				if !one.Shape().Equal(want.Shape()) || !near(floats(t, one), floats(t, want)) {
					t.Errorf("size %v: fused %v differs from plain %v", size, one, want)
				}
				if !one.Equal(two) {
					t.Errorf("size %v: the result depends on the number of threads", size)
				}
			}
			s, err := Compile(t.Context(), m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Op == "Bottleneck" }) {
				t.Error("no bottleneck is found")
			}
		})
	}
}
