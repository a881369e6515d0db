package simplify

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// slicing is what a Slice with constant operands does: one entry for each
// axis that it names.
type slicing struct {
	axes, starts, ends, steps []int64
}

// sliceOf returns what n, a Slice, does, if that is constant.
func sliceOf(n *graph.Node) (slicing, bool) {
	var s slicing
	var ok [4]bool
	s.starts, _, ok[0] = listOf(n, 10, "starts", 1)
	s.ends, _, ok[1] = listOf(n, 10, "ends", 2)
	axes, given, okAxes := listOf(n, 10, "axes", 3)
	s.axes, ok[2] = axes, okAxes
	s.steps, ok[3] = nil, true
	if n.Opset() >= 10 {
		s.steps, _, ok[3] = listOf(n, 10, "steps", 4)
	}
	if ok != [4]bool{true, true, true, true} || len(s.starts) != len(s.ends) {
		return s, false
	}
	if !given {
		for i := range s.starts {
			s.axes = append(s.axes, int64(i))
		}
	}
	if s.steps == nil {
		for range s.starts {
			s.steps = append(s.steps, 1)
		}
	}
	return s, len(s.axes) == len(s.starts) && len(s.steps) == len(s.starts)
}

// cut is what a slice does to one axis.
type cut struct{ start, end, step int64 }

// whole leaves an axis as it is.
var whole = cut{0, math.MaxInt64, 1}

// byAxis returns the cut of every axis of a value with rank axes. It fails on
// an axis out of range or named twice.
func (s slicing) byAxis(rank int) ([]cut, bool) {
	cuts := make([]cut, rank)
	seen := make([]bool, rank)
	for i := range cuts {
		cuts[i] = whole
	}
	for i, a := range s.axes {
		x, err := tensor.Axis(int(a), rank)
		if err != nil || seen[x] {
			return nil, false
		}
		seen[x] = true
		cuts[x] = cut{s.starts[i], s.ends[i], s.steps[i]}
		if cuts[x].start == 0 && cuts[x].step == 1 && cuts[x].end >= math.MaxInt32 {
			cuts[x] = whole
		}
	}
	return cuts, true
}
