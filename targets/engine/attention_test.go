package engine

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// attentionNets are graphs over q, float[2,7,3,8], k and v, float[2,9,3,8] and
// float[2,9,3,5], with positions before heads, and masks.
var attentionNets = []struct {
	name, body string
	fused      bool
}{
	{"bert", `{ qt = Transpose<perm = [0,2,1,3]>(q) kt = Transpose<perm = [0,2,3,1]>(k) vt = Transpose<perm = [0,2,1,3]>(v)
		s = MatMul(qt, kt) d = Div(s, two) p = Softmax<axis = -1>(d) m = MatMul(p, vt) y = Transpose<perm = [0,2,1,3]>(m) }`, true},
	{"mask", `{ qt = Transpose<perm = [0,2,1,3]>(q) kt = Transpose<perm = [0,2,1,3]>(k) ktt = Transpose<perm = [0,1,3,2]>(kt) vt = Transpose<perm = [0,2,1,3]>(v)
		s = MatMul(qt, ktt) d = Mul(two, s) a = Add(d, mask) p = Softmax(a) y = MatMul(p, vt) }`, true},
	{"mask of rows", `{ qt = Transpose<perm = [0,2,1,3]>(q) kt = Transpose<perm = [0,2,3,1]>(k) vt = Transpose<perm = [0,2,1,3]>(v)
		s = MatMul(qt, kt) a = Add(rows, s) p = Softmax(a) y = MatMul(p, vt) }`, true},
	{"scaled queries", `{ qs = Mul(q, two) qt = Transpose<perm = [0,2,1,3]>(qs) kt = Transpose<perm = [0,2,3,1]>(k) vt = Transpose<perm = [0,2,1,3]>(v)
		s = MatMul(qt, kt) p = Softmax(s) y = MatMul(p, vt) }`, true},
	{"one head of keys", `{ qt = Transpose<perm = [0,2,1,3]>(q) k1, rest = Split<axis = 2>(k, parts) kt = Transpose<perm = [0,2,3,1]>(k1) vt = Transpose<perm = [0,2,1,3]>(v)
		s = MatMul(qt, kt) p = Softmax(s) y = MatMul(p, vt) }`, true},
	{"features first", `{ qt = Transpose<perm = [0,2,1,3]>(q) kt = Transpose<perm = [0,2,3,1]>(k) kn = Neg(kt) vt = Transpose<perm = [0,2,1,3]>(v)
		s = MatMul(qt, kn) p = Softmax(s) m = MatMul(p, vt) y = Transpose<perm = [2,0,1,3]>(m) }`, true},
	{"scores read twice", `{ qt = Transpose<perm = [0,2,1,3]>(q) kt = Transpose<perm = [0,2,3,1]>(k) vt = Transpose<perm = [0,2,1,3]>(v)
		s = MatMul(qt, kt) p = Softmax(s) m = MatMul(p, vt) t = ReduceMax(s) y = Add(m, t) }`, false},
	{"softmax over queries", `{ qt = Transpose<perm = [0,2,1,3]>(q) kt = Transpose<perm = [0,2,3,1]>(k) vt = Transpose<perm = [0,2,1,3]>(v)
		s = MatMul(qt, kt) p = Softmax<axis = 2>(s) y = MatMul(p, vt) }`, false},
}

func TestAttention(t *testing.T) {
	const head = `<ir_version: 8, opset_import: ["": 17]> g (float[B,S,3,8] q, float[B,T,3,8] k, float[B,T,3,5] v, float[B,1,1,T] mask, float[S,1] rows) => (y)
<float two = {2}, int64[2] parts = {1, 2}> `
	for _, net := range attentionNets {
		t.Run(net.name, func(t *testing.T) {
			m := parse(t, head+net.body)
			for _, size := range [][3]int{{2, 7, 9}, {1, 1, 1}, {1, 150, 130}} {
				b, s, k := size[0], size[1], size[2]
				in := feeds{
					"q": random(1, b, s, 3, 8), "k": random(2, b, k, 3, 8), "v": random(3, b, k, 3, 5),
					"mask": random(4, b, 1, 1, k), "rows": random(5, s, 1),
				}
				want := runModel(t, m, Options{Plain: true}, in)["y"].(*tensor.Tensor)
				one := runModel(t, m, Options{Threads: 1}, in)["y"].(*tensor.Tensor)
				two := runModel(t, m, Options{Threads: 2}, in)["y"].(*tensor.Tensor)
				if !one.Shape().Equal(want.Shape()) || !near(floats(t, one), floats(t, want)) {
					t.Errorf("%v: fused %v differs from plain %v", size, one, want)
				}
				if !slices.Equal(floats(t, one), floats(t, two)) {
					t.Errorf("%v: the result depends on the number of threads", size)
				}
			}
			s, err := Compile(t.Context(), m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if fused := slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Op == "Attention" }); fused != net.fused {
				t.Errorf("fused: %v, want %v: %q", fused, net.fused, s.Explain())
			}
			if !net.fused && len(s.Explain()) == 0 {
				t.Error("there is no word why")
			}
		})
	}
}
