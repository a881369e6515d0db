package op

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Ties between the axes of operators that move elements. Bounds, sizes and
// targets that a call holds as constants are for the pruner to rewrite.

// constInput returns the integers that input slot, an initializer, or in
// versions before since an attribute holds; known is false if they are not
// known, given if there are none.
func (a *Axes) constInput(slot int, since int64, attr string) (list []int, given, known bool) {
	if a.Version < since {
		return toInts(a.Node.Ints(attr)), a.Node.Attr(attr) != nil, true
	}
	v := a.Node.In(slot)
	if v == nil {
		return nil, false, true
	}
	var t *tensor.Tensor
	switch {
	case v.IsConst():
		t = v.Init.Tensor
	case slot < len(a.Consts):
		t = a.Consts[slot]
	}
	if t == nil {
		return nil, true, false
	}
	list, err := ints(t)
	return list, true, err == nil
}

// sameAxes ties all axes of the first operand to those of the result.
func sameAxes(a *Axes) { a.EqualAxes(0, 0) }

func transposeAxes(a *Axes) {
	perm, err := permutation(&a.Call, len(a.Dims(0)))
	if err != nil {
		return
	}
	for i, p := range perm {
		a.Equal(In(0, p), Out(0, i))
	}
}

func concatAxes(a *Axes) {
	out := a.OutDims(0)
	axis, err := concatAxis(&a.Call, len(out))
	if err != nil {
		a.FixAll("the axis is not known")
		return
	}
	at, known := 0, true
	for i := range a.In {
		in := a.Dims(i)
		if len(in) != len(out) {
			a.FixAll("the shape of an operand is not known")
			return
		}
		a.EqualAxes(i, 0, axis)
		if known = known && in[axis].IsKnown(); !known {
			a.Fix(In(i, axis), "its place in the result is not known")
			a.Fix(Out(0, axis), "it holds parts of unknown length")
			continue
		}
		a.Ties = append(a.Ties, Tie{A: In(i, axis), B: Out(0, axis), Outer: 1, Inner: 1, Offset: at})
		at += in[axis].Size
	}
}

func splitAxes(a *Axes) {
	axis, err := tensor.Axis(int(a.Node.Int("axis", 0)), len(a.Dims(0)))
	if err != nil {
		a.FixAll("the axis is not known")
		return
	}
	at, known := 0, true
	for i := range a.Out {
		out := a.OutDims(i)
		if len(out) != len(a.Dims(0)) {
			a.FixAll("the shape of a result is not known")
			return
		}
		a.EqualAxes(0, i, axis)
		if known = known && out[axis].IsKnown(); !known {
			a.Fix(Out(i, axis), "its place in the operand is not known")
			a.Fix(In(0, axis), "it holds parts of unknown length")
			continue
		}
		a.Ties = append(a.Ties, Tie{A: Out(i, axis), B: In(0, axis), Outer: 1, Inner: 1, Offset: at})
		at += out[axis].Size
	}
}

func sliceAxes(a *Axes) {
	in, out := a.Dims(0), a.OutDims(0)
	starts, _, known := a.constInput(1, 10, "starts")
	list, given, knownAxes := a.constInput(3, 10, "axes")
	steps, stepped, knownSteps := a.constInput(4, 10, "steps")
	if !given {
		list = firstAxes(len(starts))
	}
	ax, err := axes(list, len(in))
	if !known || !knownAxes || !knownSteps || err != nil || len(out) != len(in) || len(ax) != len(starts) {
		a.FixAll("the bounds are not known")
		return
	}
	a.EqualAxes(0, 0, ax...)
	for i, axis := range ax {
		n, m := in[axis], out[axis]
		step := 1
		if stepped && a.Version >= 10 && i < len(steps) {
			step = steps[i]
		}
		start := starts[i]
		if start < 0 && n.IsKnown() {
			start += n.Size
		}
		switch {
		case n.Same(m) && step == 1:
			a.Equal(In(0, axis), Out(0, axis))
		case step != 1 || !n.IsKnown() || !m.IsKnown() || start < 0:
			a.Fix(In(0, axis), "it is sliced with a step or by unknown bounds")
			a.Fix(Out(0, axis), "it is sliced with a step or by unknown bounds")
		default:
			a.Ties = append(a.Ties, Tie{A: Out(0, axis), B: In(0, axis), Outer: 1, Inner: 1, Offset: min(start, n.Size)})
		}
	}
}

func gatherAxes(a *Axes) {
	in, at := a.Dims(0), a.Dims(1)
	axis, err := tensor.Axis(int(a.Node.Int("axis", 0)), len(in))
	if err != nil || at == nil {
		a.FixAll("the shape of an operand is not known")
		return
	}
	for i := range in {
		switch {
		case i < axis:
			a.Equal(In(0, i), Out(0, i))
		case i == axis:
			a.Fix(In(0, i), "it is chosen from by index")
		default:
			a.Equal(In(0, i), Out(0, i-1+len(at)))
		}
	}
	for i := range at {
		a.Equal(In(1, i), Out(0, axis+i))
	}
}

// squeezeAxes ties the axes that stay.
func squeezeAxes(a *Axes) {
	in := a.Dims(0)
	list, given, known := a.constInput(1, 13, "axes")
	if !given {
		list, known = onesOf(in)
	}
	a.tieBut(list, known, In, len(in), Out, a.rankOut(0))
}

// unsqueezeAxes ties the axes that are not new.
func unsqueezeAxes(a *Axes) {
	list, _, known := a.constInput(1, 13, "axes")
	a.tieBut(list, known, Out, a.rankOut(0), In, len(a.Dims(0)))
}

// onesOf returns which axes have length 1, known if that is known of all.
func onesOf(d graph.Dims) (list []int, known bool) {
	for i, x := range d {
		if !x.IsKnown() {
			return nil, false
		}
		if x.Size == 1 {
			list = append(list, i)
		}
	}
	return list, true
}

// tieBut ties the n axes of a side with more, but for those in the list, to the
// m axes of the other, in order.
func (a *Axes) tieBut(list []int, known bool, more func(slot, axis int) Side, n int, less func(slot, axis int) Side, m int) {
	skip, err := axes(list, n)
	if !known || err != nil || n-len(skip) != m {
		a.FixAll("which axes have length 1 is not known")
		return
	}
	to := 0
	for axis := range n {
		if !slices.Contains(skip, axis) {
			a.Equal(more(0, axis), less(0, to))
			to++
		}
	}
}

// reshapeAxes ties the axes of operators that keep the order of elements:
// runs of dimensions with equal products on both sides belong together. A run
// that is one axis on one side is that axis in finer parts.
func reshapeAxes(a *Axes) {
	in, out := a.Dims(0), a.OutDims(0)
	if in == nil || out == nil {
		a.FixAll("the shape is not known")
		return
	}
	lo := 0
	for lo < len(in) && lo < len(out) && in[lo].Same(out[lo]) {
		a.Equal(In(0, lo), Out(0, lo))
		lo++
	}
	end := 0
	for end < len(in)-lo && end < len(out)-lo && in[len(in)-1-end].Same(out[len(out)-1-end]) {
		end++
	}
	for k := 1; k <= end; k++ {
		a.Equal(In(0, len(in)-k), Out(0, len(out)-k))
	}
	a.tieRuns(lo, len(in)-end, lo, len(out)-end)
}

// tieRuns ties input axes i..iEnd to result axes j..jEnd, run by run.
func (a *Axes) tieRuns(i, iEnd, j, jEnd int) {
	in, out := a.Dims(0), a.OutDims(0)
	for i < iEnd || j < jEnd {
		i1, j1 := min(i+1, iEnd), min(j+1, jEnd)
		for {
			p, okP := in[i:i1].Len().Number()
			q, okQ := out[j:j1].Len().Number()
			switch {
			case !okP || !okQ:
				i1, j1 = iEnd, jEnd
			case p < q && i1 < iEnd || p == 1 && q == 1 && i1 < iEnd:
				i1++
				continue
			case p > q && j1 < jEnd:
				j1++
				continue
			}
			break
		}
		if i1 == iEnd || j1 == jEnd {
			i1, j1 = iEnd, jEnd
		}
		a.tieRun(i, i1, j, j1)
		i, j = i1, j1
	}
}

// tieRun ties a run of input axes to a run of result axes that hold the same
// elements.
func (a *Axes) tieRun(i, i1, j, j1 int) {
	switch {
	case i1-i == 1 && j1 > j:
		a.tieParts(a.OutDims(0), j, j1, In(0, i), func(axis int) Side { return Out(0, axis) })
	case j1-j == 1 && i1 > i:
		a.tieParts(a.Dims(0), i, i1, Out(0, j), func(axis int) Side { return In(0, axis) })
	case a.refineRun(i, i1, j, j1):
	default:
		for ; i < i1; i++ {
			a.fixUnlessOne(a.Dims(0)[i], In(0, i))
		}
		for ; j < j1; j++ {
			a.fixUnlessOne(a.OutDims(0)[j], Out(0, j))
		}
	}
}

// refineRun ties two runs of axes through the finest axes that make up both,
// as [2048,64] and [512,256] are both [512,4,64]. It reports false if there are
// none.
func (a *Axes) refineRun(i, i1, j, j1 int) bool {
	in, out := boundsOf(a.Dims(0)[i:i1]), boundsOf(a.OutDims(0)[j:j1])
	if in == nil || out == nil || in[len(in)-1] != out[len(out)-1] {
		return false
	}
	bounds := slices.Concat(in, out)
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	for k := 1; k < len(bounds); k++ {
		if bounds[k]%bounds[k-1] != 0 {
			return false
		}
	}
	for k := 1; k < len(bounds); k++ {
		x := partOf(in, bounds[k-1], bounds[k], func(axis int) Side { return In(0, i+axis) })
		y := partOf(out, bounds[k-1], bounds[k], func(axis int) Side { return Out(0, j+axis) })
		switch {
		case x.whole():
			a.Within(x.side, y.side, y.outer, y.inner, 0)
		case y.whole():
			a.Within(y.side, x.side, x.outer, x.inner, 0)
		default:
			s := a.Space("", bounds[k]/bounds[k-1])
			a.Within(s, x.side, x.outer, x.inner, 0)
			a.Within(s, y.side, y.outer, y.inner, 0)
		}
	}
	return true
}

// boundsOf returns 1 and the products of the first dimensions, of the first
// two and so on; nil if one is not known or 0.
func boundsOf(d graph.Dims) []int {
	bounds := []int{1}
	for _, x := range d {
		if !x.IsKnown() || x.Size < 1 {
			return nil
		}
		bounds = append(bounds, bounds[len(bounds)-1]*x.Size)
	}
	return bounds
}

// part is a factor of an axis: the indices of [outer, n, inner] along n.
type part struct {
	side         Side
	outer, inner int
}

func (p part) whole() bool { return p.outer == 1 && p.inner == 1 }

// partOf returns the part lo..hi of the axis that has it within its bounds.
func partOf(bounds []int, lo, hi int, side func(axis int) Side) part {
	axis := 0
	for bounds[axis+1] < hi {
		axis++
	}
	return part{side(axis), lo / bounds[axis], bounds[axis+1] / hi}
}

func (a *Axes) fixUnlessOne(d graph.Dim, s Side) {
	if !d.IsKnown() || d.Size != 1 {
		a.Fix(s, "it is mixed with others by a reshape")
	}
}

// tieParts ties the axes lo..hi of a shape to the one axis that they form
// together.
func (a *Axes) tieParts(s graph.Dims, lo, hi int, whole Side, side func(axis int) Side) {
	for axis := lo; axis < hi; axis++ {
		outer, okO := s[lo:axis].Len().Number()
		inner, okI := s[axis+1 : hi].Len().Number()
		if !okO || !okI {
			a.Fix(side(axis), "the dimensions beside it are not known")
			a.Fix(whole, "its parts are not known")
			continue
		}
		if s[axis].IsKnown() && s[axis].Size == 1 && hi-lo > 1 {
			continue
		}
		a.Ties = append(a.Ties, Tie{A: side(axis), B: whole, Outer: outer, Inner: inner})
	}
}

func expandAxes(a *Axes) { a.Broadcast(0) }

func whereAxes(a *Axes) { a.Broadcast(0, 1, 2) }

func tileAxes(a *Axes) {
	reps, _, known := a.constInput(1, 1, "")
	if !known || a.Version < 6 || len(reps) != len(a.Dims(0)) {
		a.FixAll("the repeats are not known")
		return
	}
	for axis, r := range reps {
		a.Ties = append(a.Ties, Tie{A: In(0, axis), B: Out(0, axis), Outer: r, Inner: 1})
	}
}

func padAxes(a *Axes) {
	attr := "pads"
	if a.Version == 1 && a.Node.Attr("pads") == nil {
		attr = "paddings"
	}
	pads, _, known := a.constInput(1, padInputs(&a.Call), attr)
	only, given, knownAxes := a.constInput(3, 1, "")
	if !given {
		only = nil
	}
	p, err := padAmounts(pads, only, len(a.Dims(0)))
	if !known || !knownAxes || err != nil {
		a.FixAll("the padding is not known")
		return
	}
	constant := a.Node.Str("mode", "constant") == "constant"
	for axis := range a.Dims(0) {
		begin, end := p.begin[axis], p.end[axis]
		switch {
		case begin == 0 && end == 0:
			a.Equal(In(0, axis), Out(0, axis))
		case constant && begin >= 0 && end >= 0:
			a.Ties = append(a.Ties, Tie{A: In(0, axis), B: Out(0, axis), Outer: 1, Inner: 1, Offset: begin})
		default:
			a.Fix(In(0, axis), "it is padded from its own elements or cut")
			a.Fix(Out(0, axis), "it is padded from its own elements or cut")
		}
	}
}

// blockAxes returns the rule of DepthToSpace (grow is set) or SpaceToDepth:
// each channel of the smaller number stands in blocksize*blocksize places.
func blockAxes(grow bool) func(*Axes) {
	return func(a *Axes) {
		if len(a.Dims(0)) != 4 || len(a.OutDims(0)) != 4 {
			return
		}
		b := int(a.Node.Int("blocksize", 1))
		a.Equal(In(0, 0), Out(0, 0))
		few, many := In(0, 1), Out(0, 1)
		if grow {
			few, many = many, few
		}
		t := Tie{A: few, B: many, Outer: b * b, Inner: 1}
		if a.Node.Str("mode", "DCR") == "CRD" {
			t.Outer, t.Inner = 1, b*b
		}
		a.Ties = append(a.Ties, t)
		for _, axis := range []int{2, 3} {
			a.Fix(In(0, axis), "it is cut into blocks")
			a.Fix(Out(0, axis), "it is cut into blocks")
		}
	}
}

func reverseSequenceAxes(a *Axes) {
	time := int(a.Node.Int("time_axis", 0))
	a.EqualAxes(0, 0, time)
	a.Fix(In(0, time), "it is reversed in part")
	a.Fix(Out(0, time), "it is reversed in part")
	a.Equal(In(1, 0), Out(0, int(a.Node.Int("batch_axis", 1))))
}

func triluAxes(a *Axes) {
	n := len(a.Dims(0))
	a.EqualAxes(0, 0, n-1, n-2)
	for _, axis := range []int{n - 2, n - 1} {
		if axis >= 0 {
			a.Fix(In(0, axis), "a diagonal runs through it")
			a.Fix(Out(0, axis), "a diagonal runs through it")
		}
	}
}
