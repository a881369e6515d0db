package op

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
)

// rank returns the number of axes of a type, -1 if it is not known.
func rank(t *graph.Type) int {
	if t == nil || t.Kind != graph.KindTensor || t.Shape == nil {
		return -1
	}
	return len(t.Shape)
}

// rankIn returns the number of axes of input i, -1 if that is not known.
func (a *Axes) rankIn(i int) int {
	if i >= len(a.In) {
		return -1
	}
	return rank(a.In[i])
}

// rankOut returns the number of axes of result i, -1 if that is not known.
func (a *Axes) rankOut(i int) int {
	if i >= len(a.Out) {
		return -1
	}
	return rank(a.Out[i])
}

// fix says that an axis of input and result 0 cannot lose indices.
func (a *Axes) fix(in, out int, reason string) {
	if in >= 0 {
		a.Fix(In(0, in), reason)
	}
	if out >= 0 {
		a.Fix(Out(0, out), reason)
	}
}

// axesElementwise ties every axis of the inputs to that of result 0 which it
// is broadcast along; an axis of length 1 that is repeated is tied to none.
func axesElementwise(a *Axes) {
	out := a.rankOut(0)
	for i := range a.In {
		if r := a.rankIn(i); r >= 0 && out >= r {
			a.tieBroadcast(i, r, out-r-a.legacyShift(i, r), 0)
		}
	}
}

// legacyShift returns how many axes further left than the last ones the
// second operand's axes lie, below version 7.
func (a *Axes) legacyShift(i, rank int) int {
	if i != 1 || a.Version >= 7 || a.Node.Attr("axis") == nil {
		return 0
	}
	pad, err := legacyPad(a.Node, a.rankIn(0), rank)
	if err != nil {
		return 0
	}
	return pad
}

// tieBroadcast ties axes from..rank-1 of input i to those of result 0 that
// are shift further on.
func (a *Axes) tieBroadcast(i, rank, shift, from int) {
	one := graph.Known(1)
	for x := from; x < rank; x++ {
		in, out := a.In[i].Shape[x], a.Out[0].Shape[x+shift]
		if in.IsKnown() && in.Size == one.Size && (!out.IsKnown() || out.Size != 1) {
			continue
		}
		a.Equal(In(i, x), Out(0, x+shift))
	}
}

// axesFirst ties the axes of input 0 to those of result 0; other inputs are
// parameters of the whole.
func axesFirst(a *Axes) {
	if r := a.rankIn(0); r >= 0 && r == a.rankOut(0) {
		a.tieBroadcast(0, r, 0, 0)
	}
}

// axesAlong is axesFirst for an operator whose lanes run along the given
// axes, which depend on the rank; nil means that they are not known.
func axesAlong(along func(a *Axes, rank int) []int, reason string) func(*Axes) {
	return func(a *Axes) {
		r := a.rankIn(0)
		if r < 0 {
			return
		}
		lane := along(a, r)
		for x := range r {
			if lane == nil || slices.Contains(lane, x) {
				a.fix(x, x, reason)
				continue
			}
			for i := range a.Out {
				if a.rankOut(i) == r {
					a.Equal(In(0, x), Out(i, x))
				}
			}
		}
	}
}

// oneAxis returns the axis that an attribute names, of the given default.
func oneAxis(attr string, def int64) func(*Axes, int) []int {
	return func(a *Axes, rank int) []int { return axisOf(a.Node.Int(attr, def), rank) }
}

// axisOf returns an axis that may be negative as a list, nil if it is none.
func axisOf(axis int64, rank int) []int {
	if axis < 0 {
		axis += int64(rank)
	}
	if axis < 0 || axis >= int64(rank) {
		return nil
	}
	return []int{int(axis)}
}

// softmaxAxes returns the axes that softmaxLanes runs along.
func softmaxAxes(a *Axes, rank int) []int {
	if a.Version >= 13 {
		return axisOf(a.Node.Int("axis", -1), rank)
	}
	first := axisOf(a.Node.Int("axis", 1), rank)
	if first == nil {
		return nil
	}
	for x := first[0] + 1; x < rank; x++ {
		first = append(first, x)
	}
	return first
}

// fold says what becomes of the axes that a reduction folds.
type fold func(a *Axes, s Side)

func foldAll(a *Axes, s Side)  { a.Fix(s, "it is reduced") }
func foldMean(a *Axes, s Side) { a.Average(s, "its mean is taken") }

// axesReduced ties the axes that a reduction keeps.
func axesReduced(reduced func(a *Axes, rank int) []int, folded fold) func(*Axes) {
	return func(a *Axes) {
		r := a.rankIn(0)
		if r < 0 {
			return
		}
		over := reduced(a, r)
		keep := a.Node.Int("keepdims", 1) != 0
		out := 0
		for x := range r {
			if over == nil {
				a.fix(x, -1, "it is not known whether it is reduced")
				out++
				continue
			}
			if slices.Contains(over, x) {
				folded(a, In(0, x))
				if keep {
					out++
				}
				continue
			}
			a.Equal(In(0, x), Out(0, out))
			out++
		}
	}
}

// axesMatMul ties rows, columns, stacks, and the depth of both operands.
func axesMatMul(a *Axes) {
	ra, rb, out := a.rankIn(0), a.rankIn(1), a.rankOut(0)
	if ra < 1 || rb < 1 || out < 0 {
		return
	}
	a.Equal(In(0, ra-1), In(1, max(0, rb-2)))
	cols := 0
	if rb > 1 {
		a.Equal(In(1, rb-1), Out(0, out-1))
		cols = 1
	}
	rows := 0
	if ra > 1 {
		a.Equal(In(0, ra-2), Out(0, out-1-cols))
		rows = 1
	}
	stack := out - rows - cols
	for i, r := range []int{ra, rb} {
		if r > 2 && stack >= r-2 {
			a.tieBroadcast(i, r-2, stack-(r-2), 0)
		}
	}
}

// axesGemm ties the rows and columns of the product, the depth of both
// operands, and the axes of C that are not repeated.
func axesGemm(a *Axes) {
	row, depthA := 0, 1
	if a.Node.Int("transA", 0) != 0 {
		row, depthA = 1, 0
	}
	depthB, col := 0, 1
	if a.Node.Int("transB", 0) != 0 {
		depthB, col = 1, 0
	}
	a.Equal(In(0, row), Out(0, 0))
	a.Equal(In(1, col), Out(0, 1))
	a.Equal(In(0, depthA), In(1, depthB))
	if r := a.rankIn(2); r >= 0 && r <= 2 && a.rankOut(0) == 2 {
		a.tieBroadcast(2, r, 2-r, 0)
	}
}
