package op

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Types of the results of operators that place elements anew (tensor_move.go,
// tensor_pad.go).

func inferTranspose(c *Infer) error {
	in := c.Shape(0)
	if in == nil {
		var rank graph.Dims
		if p := c.Node.Ints("perm"); p != nil {
			rank = unknownDims(len(p))
		}
		c.SetOut(0, c.Elem(0), rank)
		return nil
	}
	perm, err := permutation(&c.Call, len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	out := make(graph.Dims, len(in))
	for i, p := range perm {
		out[i] = in[p]
	}
	c.SetOut(0, c.Elem(0), out)
	if len(out) <= 1 {
		c.SetDims(0, c.Dims(0))
	}
	return nil
}

func inferConcat(c *Infer) error {
	elem, rank := tensor.Undefined, -1
	for i := range c.In {
		if elem == tensor.Undefined {
			elem = c.Elem(i)
		}
		if s := c.Shape(i); s != nil {
			if rank >= 0 && rank != len(s) {
				return c.Errorf(i, "want %d axes", rank)
			}
			rank = len(s)
		}
	}
	if rank < 0 {
		c.SetOut(0, elem, nil)
		return nil
	}
	axis, err := concatAxis(&c.Call, rank)
	if err != nil {
		return err
	}
	out, err := c.concatDims(axis, rank)
	if err != nil {
		return err
	}
	c.SetOut(0, elem, out)
	if rank == 1 {
		c.SetDims(0, c.concatContents())
	}
	return nil
}

// concatDims joins the shapes of all inputs along an axis.
func (c *Infer) concatDims(axis, rank int) (graph.Dims, error) {
	out := unknownDims(rank)
	out[axis] = graph.Known(0)
	for i := range c.In {
		s := c.Shape(i)
		if s == nil {
			out[axis] = graph.Unknown()
			continue
		}
		for a, d := range s {
			if a == axis {
				out[a] = out[a].Plus(d)
				continue
			}
			m, ok := sameDim(out[a], d)
			if !ok {
				return nil, c.Errorf(i, "axis %d does not fit %v", a, out)
			}
			out[a] = m
		}
	}
	return out, nil
}

// sameDim joins what is known of one dimension from two sides; ok is false if
// they disagree.
func sameDim(a, b graph.Dim) (d graph.Dim, ok bool) {
	switch {
	case a.IsUnknown():
		return b, true
	case b.IsUnknown():
		return a, true
	case a.IsKnown() && b.IsKnown():
		return a, a.Size == b.Size
	case b.IsKnown():
		return b, true
	}
	return a, true
}

// concatContents joins lists; one that is not known but of known length
// counts as unknown dimensions.
func (c *Infer) concatContents() graph.Dims {
	out := graph.Dims{}
	for i := range c.In {
		part := c.Dims(i)
		if part == nil {
			if part = c.listLen(i); part == nil {
				return nil
			}
		}
		out = append(out, part...)
	}
	return out
}

// listLen returns as many unknown dimensions as input i, a short list of
// integers, has elements.
func (c *Infer) listLen(i int) graph.Dims {
	const maxRank = 64
	s, ok := c.Shape(i).Static()
	if e := c.Elem(i); !ok || len(s) != 1 || s[0] > maxRank || e != tensor.Int64 && e != tensor.Int32 {
		return nil
	}
	return unknownDims(s[0])
}

func inferSplit(c *Infer) error {
	in := c.Shape(0)
	for i := range c.Out {
		c.SetOut(i, c.Elem(0), nil)
	}
	if in == nil {
		return nil
	}
	axis, err := tensor.Axis(int(c.Node.Int("axis", 0)), len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	sizes, err := c.splitSizes(in[axis])
	if err != nil {
		return c.Errorf(0, "axis %d: %w", axis, err)
	}
	list, at := c.Dims(0), 0
	for i := range c.Out {
		s := slices.Clone(in)
		s[axis] = sizes[i]
		c.SetOut(i, c.Elem(0), s)
		if list == nil || !sizes[i].IsKnown() || at+sizes[i].Size > len(list) {
			list = nil
			continue
		}
		c.SetDims(i, list[at:at+sizes[i].Size])
		at += sizes[i].Size
	}
	return nil
}

// splitSizes returns the sizes of the parts of an axis that Split makes.
func (c *Infer) splitSizes(n graph.Dim) (graph.Dims, error) {
	since := int64(13)
	if c.Version == 1 && c.Node.Attr("split") == nil {
		since = 0
	}
	list, given := c.list(1, since, "split")
	parts := len(c.Out)
	switch {
	case given && list == nil:
		return unknownDims(parts), nil
	case given:
		if len(list) != parts {
			return nil, fmt.Errorf("%d sizes for %d results", len(list), parts)
		}
		if sizes, ok := constDims(list); ok && n.IsKnown() {
			return list, checkSplit(sizes, n.Size, parts)
		}
		return list, nil
	case !n.IsKnown():
		return c.symbolicParts(n), nil
	}
	sizes, err := equalParts(&c.Call, n.Size)
	if err == nil {
		err = checkSplit(sizes, n.Size, parts)
	}
	return graph.DimsOf(sizes), err
}

// symbolicParts is equalParts for an axis whose length is not known.
func (c *Infer) symbolicParts(n graph.Dim) graph.Dims {
	parts := len(c.Out)
	if parts == 1 {
		return graph.Dims{n}
	}
	if c.Version < 18 {
		return slices.Repeat(graph.Dims{n.FloorDiv(graph.Known(parts))}, parts)
	}
	size := n.CeilDiv(graph.Known(parts))
	sizes := make(graph.Dims, parts)
	for i := range sizes {
		rest := n.Minus(size.Times(graph.Known(i)))
		sizes[i] = rest.Min(size).Max(graph.Known(0))
	}
	sizes[0] = size
	return sizes
}

func inferSlice(c *Infer) error {
	in := c.Shape(0)
	c.SetOut(0, c.Elem(0), nil)
	if in == nil {
		return nil
	}
	b, known, err := c.sliceBounds(len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	if !known {
		c.SetOut(0, c.Elem(0), unknownDims(len(in)))
		return nil
	}
	out := slices.Clone(in)
	for i, a := range b.axes {
		if out[a], err = sliceDim(in[a], b.starts[i], b.ends[i], b.steps[i]); err != nil {
			return c.Errorf(0, "axis %d: %w", a, err)
		}
	}
	c.SetOut(0, c.Elem(0), out)
	c.sliceContents(b)
	return nil
}

// inferBounds is sliceBounds with starts and ends known in part; the axes and
// steps of a slice are known, or nothing is.
type inferBounds struct {
	axes, steps  []int
	starts, ends graph.Dims
}

func (c *Infer) sliceBounds(rank int) (b inferBounds, known bool, err error) {
	b.starts, _ = c.list(1, 10, "starts")
	b.ends, _ = c.list(2, 10, "ends")
	ax, given, knownAxes := c.consts(3, 10, "axes")
	steps, stepped, knownSteps := c.consts(4, 10, "steps")
	n := max(len(b.starts), len(b.ends), len(ax))
	if list := c.Shape(1); n == 0 && c.Version >= 10 {
		if len(list) != 1 || !list[0].IsKnown() {
			return b, false, nil
		}
		n = list[0].Size
	}
	if !knownAxes {
		return b, false, nil
	}
	if !given {
		ax = firstAxes(n)
	}
	if b.starts == nil {
		b.starts = unknownDims(n)
	}
	if b.ends == nil {
		b.ends = unknownDims(n)
	}
	switch {
	case !knownSteps:
		steps = make([]int, n) // 0 stands for an unknown step
	case !stepped || c.Version < 10:
		steps = slices.Repeat([]int{1}, n)
	}
	check := sliceBounds{axes: ax, starts: make([]int, len(b.starts)), ends: make([]int, len(b.ends)), steps: steps}
	if err := check.check(rank); err != nil {
		return b, false, err
	}
	b.axes, b.steps = check.axes, check.steps
	return b, true, nil
}

// sliceDim returns the length of a slice of an axis of length n, as far as
// the bounds tell.
func sliceDim(n, start, end graph.Dim, step int) (graph.Dim, error) {
	lo, okLo := start.Number()
	hi, okHi := end.Number()
	switch {
	case step == 0:
		return graph.Unknown(), nil
	case okLo && okHi && n.IsKnown():
		s, err := slice(lo, hi, step, n.Size)
		return graph.Known(s.n), err
	case step == 1 && okLo && okHi:
		return sliceSymbolic(n, lo, hi), nil
	case step == 1 && okLo && lo >= 0 && !end.IsUnknown():
		// An end that is computed is taken to lie within the axis.
		return end.Minus(graph.Known(lo)), nil
	}
	return graph.Unknown(), nil
}

// sliceSymbolic is sliceDim for an axis of unknown length and constant bounds.
func sliceSymbolic(n graph.Dim, lo, hi int) graph.Dim {
	const far = 1<<31 - 1 // what exporters write for "to the end"
	switch {
	case lo >= 0 && hi >= far:
		return n.Minus(graph.Known(lo))
	case lo < 0 && hi >= far: // the last -lo, if there are as many
		return graph.Unknown()
	case lo >= 0 && hi < 0:
		return n.Minus(graph.Known(lo - hi))
	}
	return graph.Unknown()
}

// sliceContents slices the contents of a list.
func (c *Infer) sliceContents(b inferBounds) {
	list := c.Dims(0)
	if list == nil || len(c.Shape(0)) != 1 || len(b.axes) != 1 {
		return
	}
	lo, okLo := b.starts[0].Number()
	hi, okHi := b.ends[0].Number()
	if !okLo || !okHi {
		return
	}
	s, err := slice(lo, hi, b.steps[0], len(list))
	if err != nil {
		return
	}
	out := make(graph.Dims, s.n)
	for i := range out {
		out[i] = list[s.start+i*s.step]
	}
	c.SetDims(0, out)
}

func inferExpand(c *Infer) error {
	target := c.Dims(1)
	if target == nil {
		if target = c.listRank(1); target == nil {
			c.SetOut(0, c.Elem(0), nil)
			return nil
		}
	}
	in := c.Shape(0)
	if in == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	out, err := broadcastDims(in, target)
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	c.SetOut(0, c.Elem(0), out)
	c.repeatContents(out)
	return nil
}

// repeatContents states the contents of a list made by repeating one number.
func (c *Infer) repeatContents(out graph.Dims) {
	const maxRank = 64
	s, ok := out.Static()
	if list := c.Dims(0); ok && len(s) <= 1 && s.Len() <= maxRank && len(list) == 1 {
		c.SetDims(0, slices.Repeat(list, s.Len()))
	}
}

func inferTile(c *Infer) error {
	in := c.Shape(0)
	if in == nil || c.Version < 6 {
		var rank graph.Dims
		if in != nil {
			rank = unknownDims(len(in))
		}
		c.SetOut(0, c.Elem(0), rank)
		return nil
	}
	reps := c.Dims(1)
	if reps == nil {
		c.SetOut(0, c.Elem(0), unknownDims(len(in)))
		return nil
	}
	if len(reps) != len(in) {
		return c.Errorf(1, "%d repeats for %d axes", len(reps), len(in))
	}
	out := make(graph.Dims, len(in))
	for i, d := range in {
		out[i] = d.Times(reps[i])
	}
	c.SetOut(0, c.Elem(0), out)
	c.repeatContents(out)
	return nil
}

func inferPad(c *Infer) error {
	in := c.Shape(0)
	c.SetOut(0, c.Elem(0), nil)
	if in == nil {
		return nil
	}
	c.SetOut(0, c.Elem(0), unknownDims(len(in)))
	attr := "pads"
	if c.Version == 1 && c.Node.Attr("pads") == nil {
		attr = "paddings"
	}
	pads, _ := c.list(1, padInputs(&c.Call), attr)
	only, given, known := c.consts(3, 1, "")
	if pads == nil || !known {
		return nil
	}
	if !given {
		only = firstAxes(len(in))
	}
	ax, err := axes(only, len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	if len(pads) != 2*len(ax) {
		return c.Errorf(0, "%d pads for %d axes, want two for each", len(pads), len(ax))
	}
	out := slices.Clone(in)
	for i, a := range ax {
		out[a] = out[a].Plus(pads[i]).Plus(pads[len(ax)+i])
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

func inferCenterCropPad(c *Infer) error {
	in := c.Shape(0)
	if in == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	ax, err := centerAxes(&c.Call, len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	want := c.Dims(1)
	if want == nil {
		want = unknownDims(len(ax))
	}
	if len(want) != len(ax) {
		return c.Errorf(1, "%d lengths for %d axes", len(want), len(ax))
	}
	out := slices.Clone(in)
	for i, a := range ax {
		out[a] = want[i]
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// inferBlocks returns the rule of DepthToSpace (grow is set) or SpaceToDepth.
func inferBlocks(grow bool) func(*Infer) error {
	return func(c *Infer) error {
		in := c.Shape(0)
		if in == nil {
			c.SetOut(0, c.Elem(0), unknownDims(4))
			return nil
		}
		b := int(c.Node.Int("blocksize", 0))
		if len(in) != 4 || b < 1 {
			return c.Errorf(0, "want 4 axes and a blocksize above 0")
		}
		side, area := graph.Known(b), graph.Known(b*b)
		more, less := graph.Dim.Times, graph.Dim.FloorDiv
		if grow {
			more, less = less, more
		}
		c.SetOut(0, c.Elem(0), graph.Dims{in[0], more(in[1], area), less(in[2], side), less(in[3], side)})
		return nil
	}
}
