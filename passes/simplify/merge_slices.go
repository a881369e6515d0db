package simplify

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeSlices joins slices that follow each other.
var MergeSlices = passes.Define(passes.Pass{
	Name: "merge-slices",
	Doc: `join slices that follow each other

	t = Slice (x, [1], [9], [2])      y = Slice (x, [1,0], [9,4], [2,3])
	y = Slice (t, [0], [4], [3])  =>

for constant operands and steps of one. On the same axis the bounds have to
count from the front.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Slice") || !mayHoldConsts(n.Graph()) {
			return
		}
		p := soleProducer(n, n.In(0), "Slice")
		if p == nil {
			return
		}
		s, ok := joinSlices(p, n)
		if !ok {
			return
		}
		setSlice(n, s)
		n.SetIn(0, p.In(0))
		j.Changed(1)
	})
	return nil
})

// joinSlices returns the slice that equals first and then second.
func joinSlices(first, second *graph.Node) (slicing, bool) {
	a, okA := sliceOf(first)
	b, okB := sliceOf(second)
	rank := len(dims(first.In(0)))
	if !okA || !okB || !a.forward() || !b.forward() || rank == 0 {
		return slicing{}, false
	}
	startsA, endsA, okA := a.byAxis(rank)
	startsB, endsB, okB := b.byAxis(rank)
	if !okA || !okB {
		return slicing{}, false
	}
	var s slicing
	for i := range rank {
		start, end, ok := joinBounds(startsA[i], endsA[i], startsB[i], endsB[i])
		if !ok {
			return slicing{}, false
		}
		if start != 0 || end != math.MaxInt64 {
			s.axes = append(s.axes, int64(i))
			s.starts = append(s.starts, start)
			s.ends = append(s.ends, end)
			s.steps = append(s.steps, 1)
		}
	}
	return s, len(s.axes) > 0
}

// joinBounds returns the bounds of [a,b) and then [c,d) of that.
func joinBounds(a, b, c, d int64) (start, end int64, ok bool) {
	switch {
	case c == 0 && d == math.MaxInt64:
		return a, b, true
	case a == 0 && b == math.MaxInt64:
		return c, d, true
	case a < 0 || b < 0 || c < 0 || d < 0 || a > math.MaxInt32 || c > math.MaxInt32:
		return 0, 0, false
	}
	end = b
	if d < math.MaxInt32 {
		end = min(b, a+d)
	}
	return a + c, max(end, a+c), true
}

func setSlice(n *graph.Node, s slicing) {
	setList(n, 10, "starts", 1, s.starts)
	setList(n, 10, "ends", 2, s.ends)
	setList(n, 10, "axes", 3, s.axes)
	if n.Opset() >= 10 {
		n.TrimIn(4)
	}
}
