package nodeprune

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// rewriteNodes makes attributes and constant operands follow the cuts:
// numbers of groups, heads and units, targets of reshapes, bounds and sizes.
func (c *cutter) rewriteNodes(m *graph.Model) error {
	for _, x := range c.web.axes {
		if x.attr != "" && len(c.cuts[x]) > 0 && x.node.Attr(x.attr) != nil {
			x.node.SetAttr(graph.IntAttr(x.attr, int64(x.n-len(c.cuts[x]))))
		}
	}
	for n := range m.Nodes(graph.InMain | graph.InSubgraphs) {
		if !c.touches(n) {
			continue
		}
		if err := c.rewrite(n); err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
	}
	return nil
}

func (c *cutter) touches(n *graph.Node) bool {
	return c.reads(n) || slices.ContainsFunc(n.Outs(), func(v *graph.Value) bool { return v != nil && c.want[v] != nil })
}

func (c *cutter) rewrite(n *graph.Node) error {
	switch {
	case n.Is("Reshape"):
		return c.rewriteReshape(n)
	case n.Is("Expand"):
		return c.setTarget(n, 1, c.wanted(n.Out(0)))
	case n.Is("Resize") && n.In(3) != nil:
		return c.setTarget(n, 3, c.wanted(n.Out(0)))
	case n.Is("Split"):
		return c.rewriteSplit(n)
	case n.Is("Slice"):
		return c.rewriteSlice(n)
	case n.Is("Pad"):
		return c.rewritePad(n)
	case n.Is("Squeeze"):
		c.rewriteSqueeze(n)
	}
	return nil
}

// rewriteSqueeze states which axes go where that is told by their length, which
// others may have too after the cut.
func (c *cutter) rewriteSqueeze(n *graph.Node) {
	if n.In(1) != nil || n.Attr("axes") != nil {
		return
	}
	var ones []int64
	for at, d := range dimsOfAny(n.In(0)) {
		if d.Same(graph.Known(1)) {
			ones = append(ones, int64(at))
		}
	}
	if n.Opset() < 13 {
		n.SetAttr(graph.IntsAttr("axes", ones...))
		return
	}
	n.SetIn(1, n.Graph().AddInit(n.Out(0).Name()+"_axes", tensor.Vector(ones...)))
}

func (c *cutter) rewriteReshape(n *graph.Node) error {
	want := c.wanted(n.Out(0))
	if a := n.Attr("shape"); a != nil && n.In(1) == nil {
		n.SetAttr(graph.IntsAttr("shape", c.target(a.Ints, want, c.wanted(n.In(0)))...))
		return nil
	}
	return c.setTarget(n, 1, want)
}

// target returns a shape operand that gives the wanted dimensions: its numbers
// follow, its placeholders stay where they still give the right size.
func (c *cutter) target(old []int64, want, in graph.Dims) []int64 {
	list := slices.Clone(old)
	for i, x := range list {
		size, known := want[i].Number()
		copied := x == 0 && i < len(in) && in[i].Same(want[i])
		if known && x >= 0 && !copied && x != 1 {
			list[i] = int64(size)
		}
	}
	return list
}

// setTarget makes the shape operand of n follow the shape that its result
// will have.
func (c *cutter) setTarget(n *graph.Node, slot int, want graph.Dims) error {
	v := n.In(slot)
	if t := constant(v); t != nil {
		list := tensor.Int64s(t)
		if len(list) != len(want) {
			return nil
		}
		c.setInts(n, slot, c.target(list, want, c.wanted(n.In(0))))
		return nil
	}
	for i, d := range want {
		if size, ok := d.Number(); ok && !d.Same(dimsOfAny(n.Out(0))[i]) {
			var err error
			if v, err = c.withElement(n, v, i, int64(size)); err != nil {
				return err
			}
		}
	}
	n.SetIn(slot, v)
	return nil
}

// withElement returns v, the vector of integers that reader computes with,
// with x as its element i, where that is a constant joined to others; an
// element that is computed from shapes follows by itself.
func (c *cutter) withElement(reader *graph.Node, v *graph.Value, i int, x int64) (*graph.Value, error) {
	if t := constant(v); t != nil {
		list := slices.Clone(tensor.Int64s(t))
		if i >= len(list) || list[i] == x || list[i] == -1 || list[i] == 0 {
			return v, nil
		}
		list[i] = x
		return reader.Graph().AddInit(v.Name(), tensor.FromInt64s(t.DType(), t.Shape(), list)), nil
	}
	n := v.Producer()
	if n == nil || !n.Is("Concat", "Cast", "Identity", "Unsqueeze") {
		return v, nil
	}
	slot := 0
	if n.Is("Concat") {
		for ; slot < n.NumIn(); slot++ {
			d := dimsOfAny(n.In(slot))
			if len(d) != 1 || !d[0].IsKnown() {
				return v, nil
			}
			if i < d[0].Size {
				break
			}
			i -= d[0].Size
		}
	}
	part, err := c.withElement(n, n.In(slot), i, x)
	if err != nil || part == n.In(slot) {
		return v, err
	}
	ins := n.Ins()
	ins[slot] = part
	copied := n.Clone(ins)
	copied.Name = ""
	n.Graph().InsertAfter(n, copied)
	return copied.Out(0), nil
}

// setInts gives n an integer operand of its own.
func (c *cutter) setInts(n *graph.Node, slot int, list []int64) {
	old := n.In(slot)
	t := c.facts.Const(old)
	if slices.Equal(tensor.Int64s(t), list) {
		return
	}
	n.SetIn(slot, n.Graph().AddInit(old.Name(), tensor.FromInt64s(t.DType(), t.Shape(), list)))
	if old.IsConst() && !old.Used() {
		old.Graph().DropInit(old)
	}
}

// rewriteSplit states the sizes of the parts.
func (c *cutter) rewriteSplit(n *graph.Node) error {
	at, err := tensor.Axis(int(n.Int("axis", 0)), len(dimsOfAny(n.In(0))))
	if err != nil {
		return err
	}
	sizes := make([]int64, n.NumOut())
	changed := false
	for i, v := range n.Outs() {
		if v == nil {
			return fmt.Errorf("result %d is omitted, so that its size is not known", i)
		}
		d := c.wanted(v)[at]
		if !d.IsKnown() {
			return nil
		}
		sizes[i] = int64(d.Size)
		changed = changed || len(c.gone(v, at)) > 0
	}
	switch {
	case !changed:
	case n.Opset() < 13:
		n.SetAttr(graph.IntsAttr("split", sizes...))
	default:
		n.DropAttr("num_outputs")
		n.SetIn(1, n.Graph().AddInit(n.Out(0).Name()+"_split", tensor.Vector(sizes...)))
	}
	return nil
}

// rewriteSlice moves bounds that lie behind indices that are cut.
func (c *cutter) rewriteSlice(n *graph.Node) error {
	x := n.In(0)
	lists := [3][]int64{n.Ints("starts"), n.Ints("ends"), n.Ints("axes")}
	inputs := n.Opset() >= 10
	if inputs {
		for i := range lists {
			t := c.facts.Const(n.In(i + 1))
			if t == nil && n.In(i+1) != nil {
				return nil // what is sliced by unknown bounds is not cut
			}
			if t != nil {
				lists[i] = slices.Clone(tensor.Int64s(t))
			}
		}
	}
	starts, ends := slices.Clone(lists[0]), slices.Clone(lists[1])
	for i := range starts {
		at := i
		if lists[2] != nil {
			at = int(lists[2][i])
		}
		at, err := tensor.Axis(at, len(dimsOf(x)))
		if err != nil {
			return err
		}
		gone := c.gone(x, at)
		if len(gone) == 0 {
			continue
		}
		starts[i] = movedBound(starts[i], dimsOf(x)[at].Size, gone)
		ends[i] = movedBound(ends[i], dimsOf(x)[at].Size, gone)
	}
	if inputs {
		c.setInts(n, 1, starts)
		c.setInts(n, 2, ends)
		return nil
	}
	n.SetAttr(graph.IntsAttr("starts", starts...))
	n.SetAttr(graph.IntsAttr("ends", ends...))
	return nil
}

// movedBound returns a bound of a slice after indices of an axis of length n
// are gone.
func movedBound(bound int64, n int, gone []int) int64 {
	at := bound
	if at < 0 {
		at = max(at+int64(n), 0)
	}
	at = min(at, int64(n))
	return at - int64(below(gone, int(at)))
}

// rewritePad takes from the padding what is cut of it.
func (c *cutter) rewritePad(n *graph.Node) error {
	x, y := n.In(0), n.Out(0)
	rank := len(dimsOf(x))
	pads, attr := n.Ints("pads"), true
	if t := c.facts.Const(n.In(1)); t != nil && n.Opset() >= 11 {
		pads, attr = slices.Clone(tensor.Int64s(t)), false
	}
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = i
	}
	if t := c.facts.Const(n.In(3)); t != nil {
		axes = nil
		for _, at := range tensor.Int64s(t) {
			axes = append(axes, int(at+int64(rank))%rank)
		}
	}
	if len(pads) != 2*len(axes) {
		return nil
	}
	for i, at := range axes {
		gone := c.gone(y, at)
		if len(gone) == 0 {
			continue
		}
		begin, end := int(pads[i]), int(pads[len(axes)+i])
		pads[i] -= int64(below(gone, begin))
		pads[len(axes)+i] -= int64(len(gone) - below(gone, dimsOf(y)[at].Size-end))
	}
	if attr {
		n.SetAttr(graph.IntsAttr("pads", pads...))
		return nil
	}
	c.setInts(n, 1, pads)
	return nil
}
