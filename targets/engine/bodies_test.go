package engine

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// bodyNets are graphs over x, float[N,C], with weights w, float[40,40], and a
// flag c that only a run knows.
var bodyNets = []struct {
	name, body string
	left       []string // operators with bodies that are left once sizes are known
}{
	{"condition on sizes", `{
		s = Shape(x) n = Gather(s, zero) one = Equal(n, zero) more = Not(one)
		y = If(more) <
			then_branch = a () => (t) { m = MatMul(x, w) t = Relu(m) },
			else_branch = b () => (e) { e = Identity(x) }
		> }`, nil},
	{"nested conditions", `{
		y = If(c) <
			then_branch = a () => (t) {
				m = MatMul(x, w) s = Shape(m) d = Size(s) two = Equal(d, rank)
				t = If(two) <
					then_branch = aa () => (tt) { q = Size(m) big = Less(q, rank) tt = If(big) <
						then_branch = aaa () => (ttt) { ttt = Neg(m) },
						else_branch = aab () => (tte) { z = Relu(m) tte = Add(z, x) }
					> },
					else_branch = ab () => (te) { te = Identity(m) }
				> },
			else_branch = b () => (e) { e = Neg(x) }
		> }`, []string{"If"}},
	{"a branch hands values on", `{
		s = Size(x) big = Less(rank, s)
		r = Relu(x)
		p, q, k = If(big) <
			then_branch = a () => (t, u, v) { t = Identity(r) u = Identity(r) v = Constant<value_float = 2.0>() },
			else_branch = b () => (d, e, f) { d = Neg(r) e = Neg(x) f = Constant<value_float = 3.0>() }
		>
		pq = Add(p, q) y = Mul(pq, k) }`, nil},
	{"constant condition", `{
		y = If(yes) <
			then_branch = a () => (t) { m = MatMul(x, w) t = Add(m, x) },
			else_branch = b () => (e) { e = Identity(x) }
		> }`, nil},
	{"loop", `{
		y, steps = Loop(trips, yes, x) <
			body = b (int64 i, bool go, float[N,40] state) => (bool on, float[N,40] next, float[N,40] out) {
				on = Identity(go) m = MatMul(state, w) t = Tanh(m) k = Size(state) f = Cast<to = 1>(k) d = Div(t, f)
				next = Add(t, x) out = Add(d, state)
			}
		>
		total = ReduceSum(steps) }`, []string{"Loop"}},
	{"loop keeps its state", `{
		a, b, rows = Loop(trips, yes, x, x) <
			body = b (int64 i, bool go, float[N,40] p, float[N,40] q) => (bool on, float[N,40] pn, float[N,40] qn, float[N,40] row) {
				on = Identity(go) pn = Identity(q) qn = Add(p, q) row = Identity(p)
			}
		>
		sums = ReduceSum(rows, axes) ab = Add(a, b) y = Add(ab, sums) }`, []string{"Loop"}},
	{"scan", `{
		s0 = ReduceSum<keepdims = 0>(x, axes)
		last, y = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1], body = b (float[40] state, float[N] col) => (float[40] next, float[N] out) {
				r = Unsqueeze(state, axes) m = MatMul(r, w) q = Squeeze(m, axes) t = Tanh(q) next = Add(t, state)
				k = ReduceMean<keepdims = 0>(t) out = Add(col, k)
			}>(s0, x) }`, []string{"Scan"}},
	{"loop around a condition", `{
		y = Loop(trips, yes, x) <
			body = b (int64 i, bool go, float[N,40] state) => (bool on, float[N,40] next) {
				on = Identity(go) s = Shape(x) n = Gather(s, zero) big = Less(zero, n)
				next = If(big) <
					then_branch = t () => (a) { m = MatMul(state, w) a = Tanh(m) },
					else_branch = e () => (b) { b = Identity(state) }
				>
			}
		> }`, []string{"Loop"}},
}

// Bodies give what they give when every node runs by itself, at the first run
// and once sizes are known, and for sizes in turn.
func TestBodies(t *testing.T) {
	const head = `<ir_version: 8, opset_import: ["": 17]> g (float[N,40] x, bool c, float[40,40] w) => (y)
<int64 zero = {0}, int64 rank = {2}, int64 trips = {5}, int64[1] axes = {0}, bool yes = {1}> `
	w := random(1, 40, 40)
	for _, net := range bodyNets {
		t.Run(net.name, func(t *testing.T) {
			m := parseWith(t, head+net.body, map[string]*tensor.Tensor{"w": w})
			s, err := Compile(t.Context(), m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var want []feeds
			var ins []feeds
			for _, n := range []int{1, 9, 30} {
				for _, c := range []bool{true, false} {
					in := feeds{"x": random(uint64(n), n, 40), "c": tensor.Scalar(c)}
					ins, want = append(ins, in), append(want, runModel(t, m, Options{Plain: true}, in))
				}
			}
			for round := range 6 {
				for i, in := range ins {
					out, err := s.Run(t.Context(), in)
					if err != nil {
						t.Fatal(err)
					}
					if !near(floats(t, out["y"]), floats(t, want[i]["y"])) {
						t.Errorf("round %d, feeds %d: y differs from what single nodes give", round, i)
					}
				}
			}
			p := s.main
			if s.sizes.any {
				p = s.sizes.programFor(shapesOf(s.inputs, ins[0]), s.main).now.Load()
			}
			if left := withBodies(p); !slices.Equal(left, net.left) {
				t.Errorf("%q have bodies still, want %q", left, net.left)
			}
		})
	}
}

// withBodies lists the operators with bodies of p, and of the bodies.
func withBodies(p *program) []string {
	var ops []string
	for _, st := range p.steps {
		if len(st.bodies) > 0 {
			ops = append(ops, st.node.Op)
		}
		for _, b := range st.bodies {
			ops = append(ops, withBodies(b.now.Load())...)
		}
	}
	return ops
}

// The buffers of a loop's iterations serve the later ones.
func TestLoopReusesBuffers(t *testing.T) {
	m := parseWith(t, `<ir_version: 8, opset_import: ["": 17]> g (int64 trips, float[200,200] w, float[200,200] x) => (y) <bool yes = {1}> {
		y = Loop(trips, yes, x) <body = b (int64 i, bool go, float[200,200] state) => (bool on, float[200,200] next) {
			on = Identity(go) m = MatMul(state, w) t = Tanh(m) next = Add(t, state)
		}> }`, map[string]*tensor.Tensor{"w": random(1, 200, 200), "x": random(2, 200, 200)})
	s, err := Compile(t.Context(), m, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	buffers := func(trips int64) int {
		if _, err := s.Run(t.Context(), feeds{"trips": tensor.Scalar(trips)}); err != nil {
			t.Fatal(err)
		}
		return len(s.idle[0].arena.free)
	}
	if few, many := buffers(4), buffers(60); many > few {
		t.Errorf("60 iterations take %d buffers, 4 take %d", many, few)
	}
}

// Results stay what they were when later runs compute others.
func TestResultsAreKept(t *testing.T) {
	m := parse(t, `<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (y, z, same) { y = Neg(x) z = Abs(y) same = Identity(z) }`)
	s, err := Compile(t.Context(), m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var outs []feeds
	var want [][]float32
	for i := range 4 {
		for _, n := range []int{10, leastGiven / 4, leastGiven} {
			out, err := s.Run(t.Context(), feeds{"x": random(uint64(i), n)})
			if err != nil {
				t.Fatal(err)
			}
			outs = append(outs, out)
			for _, name := range []string{"y", "z", "same"} {
				want = append(want, slices.Clone(floats(t, out[name])))
			}
		}
	}
	for i, out := range outs {
		for j, name := range []string{"y", "z", "same"} {
			if !slices.Equal(floats(t, out[name]), want[3*i+j]) {
				t.Errorf("run %d: %s has changed since", i, name)
			}
		}
	}
}
