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

// forward reports whether the slice only cuts from both sides: steps of one.
func (s slicing) forward() bool { return all(s.steps, 1) }

// byAxis returns the start and end on every axis of a value with rank axes,
// an axis that is not sliced from 0 to math.MaxInt64. It fails on an axis out
// of range or named twice.
func (s slicing) byAxis(rank int) (starts, ends []int64, ok bool) {
	starts, ends = make([]int64, rank), make([]int64, rank)
	seen := make([]bool, rank)
	for i := range ends {
		ends[i] = math.MaxInt64
	}
	for i, a := range s.axes {
		x, err := tensor.Axis(int(a), rank)
		if err != nil || seen[x] {
			return nil, nil, false
		}
		seen[x] = true
		starts[x], ends[x] = s.starts[i], s.ends[i]
	}
	return starts, ends, true
}
