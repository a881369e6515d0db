package op

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Axes is one call while the ties between the axes of its operands and
// results are listed. Types are those of shape inference.
type Axes struct {
	Call
	In, Out []*graph.Type

	// Consts are the inputs whose contents inference knows, nil otherwise; it
	// may be shorter than In.
	Consts []*tensor.Tensor

	// Spaces are the index spaces of the call that no operand has as an axis.
	Spaces []Space

	Ties   []Tie
	Fixed  []Fixed
	Summed []Side
}

// Space is an index space that a call works over: the groups of a convolution,
// the heads of an attention. If Attr is set, that attribute of the node is its
// size, and has to follow when indices are cut.
type Space struct {
	Attr string
	Size int
}

// Side is an axis of an input or a result of a call, or with Slot -1 the space
// number Axis.
type Side struct {
	Out  bool // a result rather than an input
	Slot int
	Axis int
}

// Tie says that indices of axis A go with indices of axis B: where one is cut
// out, so is the other. B is seen as [Outer, n, Inner] from Offset on, n
// being the size of A: index a of A goes with Offset + (o*n+a)*Inner + i for
// every o < Outer and i < Inner. Plain equality has Outer 1, Inner 1, Offset 0.
//
// Ties of one call that cover the same indices of one B are factors of it: an
// index of B then goes by one of them, whichever is cut. A channel that a
// reshape makes an axis of heads and one of head sizes goes with its head, or
// with its place in all heads.
type Tie struct {
	A, B         Side
	Outer, Inner int
	Offset       int
}

// Fixed says that an axis cannot lose indices, and why.
type Fixed struct {
	Side   Side
	Reason string

	// Averaged says that the call makes means along the axis. Without some
	// indices it makes those of the others: the call means as much as before,
	// but what it computes is not what zeros in their places would give.
	Averaged bool
}

// In returns the side that is an axis of input slot.
func In(slot, axis int) Side { return Side{Slot: slot, Axis: axis} }

// Out returns the side that is an axis of result slot.
func Out(slot, axis int) Side { return Side{Out: true, Slot: slot, Axis: axis} }

// Space adds an index space of the call, see the type.
func (a *Axes) Space(attr string, size int) Side {
	a.Spaces = append(a.Spaces, Space{attr, size})
	return Side{Slot: -1, Axis: len(a.Spaces) - 1}
}

// Within says that index x of the space or axis few stands for a run of inner
// indices in each of outer parts of many, from offset on.
func (a *Axes) Within(few, many Side, outer, inner, offset int) {
	a.Ties = append(a.Ties, Tie{A: few, B: many, Outer: outer, Inner: inner, Offset: offset})
}

// Equal says that every index of one side goes with the same of the other.
func (a *Axes) Equal(x, y Side) { a.Ties = append(a.Ties, Tie{A: x, B: y, Outer: 1, Inner: 1}) }

// Fix says that a side cannot lose indices.
func (a *Axes) Fix(s Side, reason string) {
	a.Fixed = append(a.Fixed, Fixed{Side: s, Reason: reason})
}

// Average says that a side cannot lose indices unless means over fewer will do.
func (a *Axes) Average(s Side, reason string) {
	a.Fixed = append(a.Fixed, Fixed{Side: s, Reason: reason, Averaged: true})
}

// Sum says that a side goes with no other: the call adds up along it, so that
// an index may go if zeros may stand in its place.
func (a *Axes) Sum(s Side) { a.Summed = append(a.Summed, s) }

// Dims returns the shape of input slot, nil if its rank is not known.
func (a *Axes) Dims(slot int) graph.Dims { return dimsAt(a.In, slot) }

// OutDims returns the shape of result slot, nil if its rank is not known.
func (a *Axes) OutDims(slot int) graph.Dims { return dimsAt(a.Out, slot) }

func dimsAt(ts []*graph.Type, i int) graph.Dims {
	if i >= 0 && i < len(ts) && ts[i] != nil && ts[i].Kind == graph.KindTensor {
		return ts[i].Shape
	}
	return nil
}

// FixAll says that no axis of any operand or result can lose indices.
func (a *Axes) FixAll(reason string) {
	for i := range a.In {
		for axis := range a.Dims(i) {
			a.Fix(In(i, axis), reason)
		}
	}
	for i := range a.Out {
		for axis := range a.OutDims(i) {
			a.Fix(Out(i, axis), reason)
		}
	}
}

// EqualAxes ties every axis of input slot but those named to the same axis of
// result out.
func (a *Axes) EqualAxes(slot, out int, but ...int) {
	for axis := range a.Dims(slot) {
		if !slices.Contains(but, axis) {
			a.Equal(In(slot, axis), Out(out, axis))
		}
	}
}

// Broadcast ties the axes of inputs that broadcast to result 0 under NumPy's
// rules. An axis that is repeated is fixed on its own side.
func (a *Axes) Broadcast(slots ...int) {
	out := a.OutDims(0)
	for _, slot := range slots {
		in := a.Dims(slot)
		shift := len(out) - len(in)
		for axis, d := range in {
			if shift < 0 {
				a.Fix(In(slot, axis), "the shape of the result is not known")
				continue
			}
			o := out[shift+axis]
			if d.IsKnown() && d.Size == 1 && !o.Same(d) {
				a.Fix(In(slot, axis), "it is repeated")
				continue
			}
			a.Equal(In(slot, axis), Out(0, shift+axis))
		}
	}
}
