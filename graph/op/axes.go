package op

import "github.com/onnxpack/onnxpack/graph"

// Axes is one call while the ties between the axes of its operands and
// results are listed. Types are those of shape inference.
type Axes struct {
	Call
	In, Out []*graph.Type

	Ties  []Tie
	Fixed []Fixed
}

// Side is an axis of an input or a result of a call.
type Side struct {
	Out  bool // a result rather than an input
	Slot int
	Axis int
}

// Tie says that indices of axis A go with indices of axis B: where one is cut
// out, so is the other. B is seen as [Outer, n, Inner] from Offset on, n
// being the size of A: index a of A goes with Offset + (o*n+a)*Inner + i for
// every o < Outer and i < Inner. Plain equality has Outer 1, Inner 1, Offset 0.
type Tie struct {
	A, B         Side
	Outer, Inner int
	Offset       int
}

// Fixed says that an axis cannot lose indices, and why.
type Fixed struct {
	Side   Side
	Reason string
}
