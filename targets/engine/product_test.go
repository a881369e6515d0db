package engine

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// productNets are graphs over x, float[N,5,16], and r, float[N,5,24], with the
// fused operator that each must come to.
var productNets = []struct{ name, body, fused string }{
	{"bias relu", `{ m = MatMul(x, w) a = Add(m, b) y = Relu(a) }`, "MatMul+Relu"},
	{"bias first", `{ m = MatMul(x, w) a = Add(b, m) y = Tanh(a) }`, "MatMul+Tanh"},
	{"residual", `{ m = MatMul(x, w) a = Add(m, b) y = Add(r, a) }`, "MatMul"},
	{"scalar bias", `{ m = MatMul(x, w) y = Add(m, one) }`, "MatMul"},
	{"gelu", `{ m = MatMul(x, w) d = Div(m, root) e = Erf(d) a = Add(e, one) p = Mul(m, a) y = Mul(p, half) }`, "MatMul+Gelu"},
	{"gelu half first", `{ m = MatMul(x, w) d = Div(m, root) e = Erf(d) a = Add(one, e) h = Mul(m, half) y = Mul(h, a) }`, "MatMul+Gelu"},
	{"gelu half on sum", `{ d = Div(r, root) e = Erf(d) a = Add(e, one) h = Mul(a, half) y = Mul(h, r) }`, "Gelu"},
	{"gelu by tanh", `{ m = MatMul(x, w) q = Mul(m, m) c = Mul(q, m) f = Mul(cubic, c) i = Add(m, f) j = Mul(i, slope) t = Tanh(j) a = Add(t, one) h = Mul(half, a) y = Mul(m, h) }`, "MatMul+GeluTanh"},
	{"gelu by tanh and power", `{ c = Pow(r, three) f = Mul(cubic, c) i = Add(f, r) j = Mul(slope, i) t = Tanh(j) a = Add(one, t) h = Mul(r, a) y = Mul(half, h) }`, "GeluTanh"},
	{"layer norm", `{ u = ReduceMean<axes = [-1]>(r) d = Sub(r, u) q = Pow(d, two) v = ReduceMean<axes = [-1]>(q) e = Add(v, eps) s = Sqrt(e) n = Div(d, s) m = Mul(n, b) y = Add(m, b) }`, "LayerNormalization"},
	{"gemm", `{ f = Flatten<axis = 2>(x) g = Gemm<alpha = 0.5, transB = 1>(f, wt, b) y = Relu(g) }`, "MatMul+Relu"},
	{"gemm without bias", `{ f = Flatten<axis = 2>(x) y = Gemm(f, w) }`, "MatMul"},
}

func TestProducts(t *testing.T) {
	const head = `<ir_version: 8, opset_import: ["": 17]> g (float[N,5,16] x, float[N,5,24] r, float[16,24] w, float[24,16] wt, float[24] b) => (y)
<float one = {1}, float half = {0.5}, float two = {2}, float eps = {0.001}, float root = {1.4142135}, float three = {3}, float cubic = {0.044715}, float slope = {0.7978845608}> `
	weights := map[string]*tensor.Tensor{"w": random(2, 16, 24), "wt": random(3, 24, 16), "b": random(4, 24)}
	for _, net := range productNets {
		t.Run(net.name, func(t *testing.T) {
			m := parseWith(t, head+net.body, weights)
			for _, batch := range []int{1, 7} {
				in := feeds{"x": random(5, batch, 5, 16), "r": random(6, batch, 5, 24)}
				want, got := runModel(t, m, Options{Plain: true}, in)["y"], runModel(t, m, Options{}, in)["y"]
				if !got.(*tensor.Tensor).Shape().Equal(want.(*tensor.Tensor).Shape()) || !near(floats(t, got), floats(t, want)) {
					t.Errorf("batch %d: fused %v differs from plain %v", batch, got, want)
				}
			}
			s, err := Compile(t.Context(), m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Op == net.fused }) {
				t.Errorf("no step is %s", net.fused)
			}
		})
	}
}
