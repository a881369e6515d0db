package nodeprune

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// cutSet is the indices to cut from each axis.
type cutSet map[*axis][]int

// union joins the cuts of units.
func union(units []*Unit) cutSet {
	s := cutSet{}
	for _, u := range units {
		for x, list := range u.cuts {
			s[x] = append(s[x], list...)
		}
	}
	for x, list := range s {
		slices.Sort(list)
		s[x] = slices.Compact(list)
	}
	return s
}

// cutter is one cut of a model.
type cutter struct {
	web   *web
	facts *op.Inference
	cuts  cutSet
	want  map[*graph.Value]graph.Dims // of the values that get smaller
}

// Cut removes units from the model that was analyzed, whose types it infers
// anew. It returns an error, and leaves the model in between, if a node cannot
// follow: cut a copy (see [Groups.On]) where that matters. The groups are of
// no use afterwards.
func (g *Groups) Cut(units []*Unit) (*op.Inference, error) {
	c := &cutter{web: g.web, facts: g.facts, cuts: union(units), want: map[*graph.Value]graph.Dims{}}
	for x, list := range c.cuts {
		if len(list) >= x.n {
			return nil, fmt.Errorf("%v: all %d indices are cut, want one left", x, x.n)
		}
	}
	c.adaptBorder(g.model.Graph)
	c.expect()
	if err := c.rewriteNodes(g.model); err != nil {
		return nil, err
	}
	if err := c.cutConstants(); err != nil {
		return nil, err
	}
	c.forgetTypes()
	facts := op.InferModel(g.model, op.InferOptions{})
	return facts, c.check(facts)
}

// expect notes the shapes that values will have.
func (c *cutter) expect() {
	for x, list := range c.cuts {
		if x.value == nil {
			continue
		}
		d := c.want[x.value]
		if d == nil {
			d = slices.Clone(dimsOf(x.value))
			c.want[x.value] = d
		}
		d[x.at] = graph.Known(x.n - len(list))
	}
}

// wanted returns the shape that a value will have.
func (c *cutter) wanted(v *graph.Value) graph.Dims {
	if d := c.want[v]; d != nil {
		return d
	}
	return dimsOfAny(v)
}

// gone returns the indices that an axis of a value loses.
func (c *cutter) gone(v *graph.Value, at int) []int {
	return c.cuts[c.web.places[place{v, at}]]
}

// below counts the indices of a sorted list that are less than n.
func below(list []int, n int) int {
	k, _ := slices.BinarySearch(list, n)
	return k
}

// cutConstants cuts the weights themselves.
func (c *cutter) cutConstants() error {
	for _, v := range c.smaller() {
		t := constant(v)
		if t == nil {
			continue
		}
		for at := range dimsOf(v) {
			if list := c.gone(v, at); len(list) > 0 {
				t = without(t, at, list)
			}
		}
		setConstant(v, t)
	}
	return nil
}

// smaller returns the values that lose indices, in the order of the graph.
func (c *cutter) smaller() []*graph.Value {
	var list []*graph.Value
	for _, x := range c.web.axes {
		if x.value != nil && len(c.cuts[x]) > 0 && !slices.Contains(list, x.value) {
			list = append(list, x.value)
		}
	}
	return list
}

// setConstant gives a constant other contents. The result of a Constant
// becomes that of another with the same name.
func setConstant(v *graph.Value, t *tensor.Tensor) {
	if n := v.Producer(); n != nil {
		n.SetAttr(graph.TensorAttr("value", t))
	} else {
		v.Graph().SetInit(v, &graph.Literal{Tensor: t})
	}
	v.Type = graph.TensorOf(t.DType(), graph.DimsOf(t.Shape()))
}

// without returns t without some indices of an axis.
func without(t *tensor.Tensor, at int, gone []int) *tensor.Tensor {
	s := t.Shape().Clone()
	n := s[at]
	s[at] -= len(gone)
	y := tensor.New(t.DType(), s)
	inner := s[at+1:].Len()
	outer := s[:at].Len()
	if t.DType().Bits() < 8 {
		return withoutCodes(t, s, outer, n, inner, gone)
	}
	size := t.DType().Bytes(inner)
	src, dst := t.Bytes(), y.Bytes()
	for o := range outer {
		for i := range n {
			if _, cut := slices.BinarySearch(gone, i); !cut {
				from := (o*n + i) * size
				dst = dst[copy(dst, src[from:from+size]):]
			}
		}
	}
	return y
}

// withoutCodes is without for elements of less than a byte.
func withoutCodes(t *tensor.Tensor, s tensor.Shape, outer, n, inner int, gone []int) *tensor.Tensor {
	var kept []uint8
	codes := tensor.Codes(t)
	for o := range outer {
		for i := range n {
			if _, cut := slices.BinarySearch(gone, i); !cut {
				from := (o*n + i) * inner
				kept = append(kept, codes[from:from+inner]...)
			}
		}
	}
	return tensor.FromCodes(t.DType(), s, kept)
}

// forgetTypes gives the values that got smaller the types that are expected.
func (c *cutter) forgetTypes() {
	for v, d := range c.want {
		v.Type = graph.TensorOf(v.Type.Elem, d)
	}
}

// check holds what inference finds against what is expected.
func (c *cutter) check(facts *op.Inference) error {
	old := map[*graph.Node]bool{}
	for _, gap := range c.facts.Gaps {
		old[gap.Node] = true
	}
	for _, gap := range facts.Gaps {
		if old[gap.Node] {
			continue
		}
		for _, v := range gap.Node.Outs() {
			if c.want[v] != nil || c.reads(gap.Node) {
				return fmt.Errorf("%v does not follow: %w", gap.Node, gap.Err)
			}
		}
	}
	for v, d := range c.want {
		got := dimsOf(v)
		for at := range d {
			if len(got) != len(d) || d[at].IsKnown() && !got[at].Same(d[at]) {
				return fmt.Errorf("%q has shape %v after the cut, want %v", v.Name(), got, d)
			}
		}
	}
	return nil
}

func (c *cutter) reads(n *graph.Node) bool {
	return slices.ContainsFunc(n.Ins(), func(v *graph.Value) bool { return v != nil && c.want[v] != nil })
}
