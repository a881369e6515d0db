package op

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// TestAxesOfMovers cuts one index out of an input together with all that the
// rule ties to it: what the operator then makes is its result with the tied
// indices cut out.
func TestAxesOfMovers(t *testing.T) {
	for _, c := range []string{
		`(float[2,3,4] x) => (y) { y = Transpose<perm = [2, 0, 1]>(x) }`,
		`(float[2,3] x, float[2,4] z) => (y) { y = Concat<axis = 1>(x, z) }`,
		`(float[2,3,4] x) => (y) { y = Flatten<axis = 1>(x) }`,
		`(float[2,1,4] x) => (y) <int64[1] a = {1}> { y = Squeeze(x, a) }`,
		`(float[2,4] x) => (y) <int64[2] a = {0, 2}> { y = Unsqueeze(x, a) }`,
		`(bool[2,1,4] c, float[3,4] x, float[2,3,4] z) => (y) { y = Where(c, x, z) }`,
		`(float[5,3] x, int64[2,2] i) => (y) { y = Gather<axis = 1>(x, i) }`,
		`(float[2,3] x) => (y) <int64[2] r = {2, 3}> { y = Tile(x, r) }`,
		`(float[2,3] x) => (y) <int64[4] p = {0, 1, 0, 2}> { y = Pad(x, p) }`,
		`(float[1,8,2,2] x) => (y) { y = DepthToSpace<blocksize = 2>(x) }`,
		`(float[1,8,2,2] x) => (y) { y = DepthToSpace<blocksize = 2, mode = "CRD">(x) }`,
		`(float[1,3,4,4] x) => (y) { y = SpaceToDepth<blocksize = 2>(x) }`,
		`(float[4,3,2] x, int64[3] n) => (y) { y = ReverseSequence(x, n) }`,
		`(float[2,3,4] x) => (y) { y = Trilu(x) }`,
		`(float[6,3] x) => (y) <int64[3] s = {2, 3, 3}> { y = Reshape(x, s) }`,
	} {
		t.Run(c, func(t *testing.T) { checkAxes(t, c) })
	}
}

func checkAxes(t *testing.T, text string) {
	m, err := graph.ParseModel(`<ir_version: 10, opset_import: ["": 21]> g ` + text)
	if err != nil {
		t.Fatal(err)
	}
	InferModel(m, InferOptions{})
	n := m.Graph.First()
	def := Find(n.Domain, n.Op, 21)
	a := &Axes{Call: Call{Node: n, Version: 21}}
	ins := make([]*tensor.Tensor, n.NumIn())
	for i, v := range n.Ins() {
		a.In = append(a.In, v.Type)
		if v.Init != nil {
			ins[i] = v.Init.Tensor
			continue
		}
		s, _ := v.Type.Shape.Static()
		ins[i] = counting(v.Type.Elem, s)
	}
	a.Out = []*graph.Type{n.Out(0).Type}
	def.Axes(a)
	whole := evalNode(t, def, a.Call, ins)
	for axis := range a.Dims(0) {
		cut := closure(a, ins, whole, In(0, axis), 0)
		if cut == nil {
			continue
		}
		got, err := tryNode(def, a.Call, cutAll(ins, cut, false))
		if err != nil {
			continue // a constant operand would have to be rewritten
		}
		if want := cutAll([]*tensor.Tensor{whole}, cut, true)[0]; !got.Equal(want) {
			t.Errorf("axis %d: with %v cut out the result is %v, want %v", axis, cut, tensor.Float32s(got), tensor.Float32s(want))
		}
	}
}

// counting returns a tensor whose elements differ, booleans aside; integers
// are small enough for indices and lengths.
func counting(d tensor.DType, s tensor.Shape) *tensor.Tensor {
	x := make([]float32, s.Len())
	for i := range x {
		x[i] = float32(i)
		if d != tensor.Float32 {
			x[i] = float32(i % 2)
		}
	}
	return tensor.FromFloat32s(d, s, x)
}

func evalNode(t *testing.T, def *Def, c Call, ins []*tensor.Tensor) *tensor.Tensor {
	t.Helper()
	y, err := tryNode(def, c, ins)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

func tryNode(def *Def, c Call, ins []*tensor.Tensor) (*tensor.Tensor, error) {
	e := &Eval{Call: c, Out: make([]tensor.Value, c.Node.NumOut())}
	for _, x := range ins {
		e.In = append(e.In, x)
	}
	if err := def.Eval(e); err != nil {
		return nil, err
	}
	return e.Out[0].(*tensor.Tensor), nil
}

// closure returns the indices of every side that go with index i of a side,
// nil if one of them is fixed.
func closure(a *Axes, ins []*tensor.Tensor, out *tensor.Tensor, s Side, i int) map[Side][]int {
	size := func(s Side) int {
		if s.Out {
			return out.Shape()[s.Axis]
		}
		return ins[s.Slot].Shape()[s.Axis]
	}
	cut := map[Side][]int{s: {i}}
	add := func(s Side, i int) bool {
		if slices.Contains(cut[s], i) {
			return false
		}
		cut[s] = append(cut[s], i)
		return true
	}
	for changed := true; changed; {
		changed = false
		for _, t := range a.Ties {
			for k := range size(t.A) {
				var partners []int
				for o := range t.Outer {
					for in := range t.Inner {
						partners = append(partners, t.Offset+(o*size(t.A)+k)*t.Inner+in)
					}
				}
				hit := slices.Contains(cut[t.A], k) || slices.ContainsFunc(partners, func(p int) bool { return slices.Contains(cut[t.B], p) })
				if !hit {
					continue
				}
				changed = add(t.A, k) || changed
				for _, p := range partners {
					changed = add(t.B, p) || changed
				}
			}
		}
	}
	for _, f := range a.Fixed {
		if len(cut[f.Side]) > 0 {
			return nil
		}
	}
	return cut
}

// cutAll returns tensors without the indices cut out of their axes.
func cutAll(ts []*tensor.Tensor, cut map[Side][]int, out bool) []*tensor.Tensor {
	ts = slices.Clone(ts)
	e := &Eval{}
	for s, drop := range cut {
		if s.Out != out {
			continue
		}
		x := ts[s.Slot]
		outer, n, inner := split3(x.Shape(), s.Axis)
		var keep []int
		for i := range n {
			if !slices.Contains(drop, i) {
				keep = append(keep, i)
			}
		}
		shape := x.Shape().Clone()
		shape[s.Axis] = len(keep)
		y := tensor.New(x.DType(), shape)
		e.pick(y, x, outer, n, inner, keep)
		ts[s.Slot] = y
	}
	return ts
}
