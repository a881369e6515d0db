package simplify

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeSlices joins slices that follow each other.
var MergeSlices = passes.Define(passes.Pass{
	Name: "merge-slices",
	Doc: `join slices that follow each other

	t = Slice (x, [1], [9], [2])      y = Slice (x, [1,0], [9,4], [2,3])
	y = Slice (t, [0], [4], [3])  =>

for constant operands. On the same axis the bounds have to count from the
front, in steps of one. A slice that others read stays, and nothing is joined
with it.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Slice") || !mayHoldConsts(n.Graph()) {
			return
		}
		p := producer(n, n.In(0), "Slice")
		if p == nil || !allJoin(p) {
			return
		}
		s, _ := joinSlices(p, n)
		setSlice(n, s)
		n.SetIn(0, p.In(0))
		j.Changed(1)
	})
	return nil
})

// allJoin reports whether every reader of p is a slice that p can be joined
// with, so that p goes.
func allJoin(p *graph.Node) bool {
	if p.Out(0).IsOutput() {
		return false
	}
	for _, u := range p.Out(0).Uses() {
		if !u.Node.Is("Slice") || u.Index != 0 || u.Node.Graph() != p.Graph() || hasRef(u.Node) {
			return false
		}
		if _, ok := joinSlices(p, u.Node); !ok {
			return false
		}
	}
	return true
}

// joinSlices returns the slice that equals first and then second.
func joinSlices(first, second *graph.Node) (slicing, bool) {
	a, okA := sliceOf(first)
	b, okB := sliceOf(second)
	rank := len(dims(first.In(0)))
	if !okA || !okB || rank == 0 {
		return slicing{}, false
	}
	cutsA, okA := a.byAxis(rank)
	cutsB, okB := b.byAxis(rank)
	if !okA || !okB {
		return slicing{}, false
	}
	var s slicing
	for i := range rank {
		c, ok := joinCuts(cutsA[i], cutsB[i])
		if !ok {
			return slicing{}, false
		}
		if c != whole {
			s.axes = append(s.axes, int64(i))
			s.starts = append(s.starts, c.start)
			s.ends = append(s.ends, c.end)
			s.steps = append(s.steps, c.step)
		}
	}
	return s, len(s.axes) > 0
}

// joinCuts returns the cut that equals p and then q, if that can be told
// without the length of the axis.
func joinCuts(p, q cut) (cut, bool) {
	switch {
	case q == whole:
		return p, true
	case p == whole:
		return q, true
	case p.step != 1 || q.step != 1 || p.start < 0 || p.end < 0 || q.start < 0 || q.end < 0,
		p.start > math.MaxInt32 || q.start > math.MaxInt32:
		return cut{}, false
	}
	end := p.end
	if q.end < math.MaxInt32 {
		end = min(p.end, p.start+q.end)
	}
	start := p.start + q.start
	return cut{start, max(end, start), 1}, true
}

func setSlice(n *graph.Node, s slicing) {
	setList(n, 10, "starts", 1, s.starts)
	setList(n, 10, "ends", 2, s.ends)
	setList(n, 10, "axes", 3, s.axes)
	switch {
	case n.Opset() < 10:
	case all(s.steps, 1):
		n.TrimIn(4)
	default:
		setConst(n, 4, tensor.Vector(s.steps...))
	}
}
