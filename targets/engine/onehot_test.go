package engine

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

func TestOneHot(t *testing.T) {
	for _, c := range []struct {
		name, body string
		fused      bool
	}{
		{"numbers first", `<int64[1,1,4] list = {3, -1, 0, 7}> { q = Equal(x, list) c = Cast<to = 1>(q) y = MatMul(c, w) }`, true},
		{"list first", `<int64[4] list = {3, -1, 0, 7}> { q = Equal(list, x) c = Cast<to = 1>(q) y = MatMul(c, w) }`, true},
		{"repeated", `<int64[4] list = {3, 3, 0, 7}> { q = Equal(x, list) c = Cast<to = 1>(q) y = MatMul(c, w) }`, false},
		{"quantized", `<int64[4] list = {3, -1, 0, 7}, float s = {0.3}, uint8 z = {5}> { q = Equal(x, list) c = Cast<to = 1>(q) u = QuantizeLinear(c, s, z) d = DequantizeLinear(u, s, z) y = MatMul(d, w) }`, true},
		{"far apart", `<int64[4] list = {3, 9000000000, 0, 7}> { q = Equal(x, list) c = Cast<to = 1>(q) y = MatMul(c, w) }`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := parseWith(t, `<ir_version: 8, opset_import: ["": 17]> g (int64[N,5,1] x, float[4,6] w) => (y) `+c.body, map[string]*tensor.Tensor{"w": random(1, 4, 6)})
			in := feeds{"x": tensor.Of(tensor.Shape{2, 5, 1}, []int64{3, 0, 7, -1, 5, 0, 9000000000, -9000000000, 7, 3})}
			want, got := runModel(t, m, Options{Plain: true}, in)["y"], runModel(t, m, Options{}, in)["y"]
			if !got.(*tensor.Tensor).Shape().Equal(want.(*tensor.Tensor).Shape()) || !near(floats(t, got), floats(t, want)) {
				t.Errorf("fused %v differs from plain %v", got, want)
			}
			s, err := Compile(t.Context(), m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if fused := slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Op == "OneHot+MatMul" }); fused != c.fused {
				t.Errorf("fused: %v, want %v: %q", fused, c.fused, s.Explain())
			}
		})
	}
}
