package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
)

// combineAttention makes one operator of
//
//	s = MatMul(q, kt)  d = Div(s, c)  a = Add(d, mask)
//	p = Softmax(a)     m = MatMul(p, v)  y = Transpose(m)
//
// with Div, or Mul, Add and Transpose there or not, and of the Transpose nodes
// in front of the operands.
func (o *optimizer) combineAttention() {
	for n := range o.graph.Nodes() {
		if n.Is("Softmax") {
			o.attentionAround(n)
		}
	}
}

// attentionChain is the attention around a Softmax while it is found.
type attentionChain struct {
	machine attention
	nodes   []*graph.Node // in order
	mask    *graph.Value
}

func (o *optimizer) attentionAround(softmax *graph.Node) {
	values, i := next(softmax)
	if values == nil || !values.Is("MatMul") || i != 0 {
		return
	}
	if !o.isStack(values.In(1)) || !o.isStack(softmax.In(0)) || !overLastAxis(softmax) {
		o.note(softmax, "no attention: want Softmax over the last of 4 axes of float")
		return
	}
	c := &attentionChain{machine: attention{scale: 1, y: headAxes{0, 1, 2, 3}}}
	scores := o.scoresBehind(c, softmax)
	if scores == nil {
		o.note(softmax, "no attention: its operand is no product, scaled by a constant, plus a mask")
		return
	}
	q, k, v := scores.In(0), scores.In(1), values.In(1)
	if !o.isStack(q) || !o.isStack(k) {
		o.note(softmax, "no attention: queries and keys have not 4 axes")
		return
	}
	c.nodes = append(c.nodes, softmax, values)
	q, c.machine.q = behindTransposes(q, headAxes{0, 1, 2, 3}, featureAxis)
	k, c.machine.k = behindTransposes(k, headAxes{0, 1, 3, 2}, featureAxis, positionAxis)
	v, c.machine.v = behindTransposes(v, headAxes{0, 1, 2, 3}, featureAxis, positionAxis)
	if t, _ := next(values); t != nil && t.Is("Transpose") {
		if perm := permutation(t); perm != nil && c.machine.y.past(perm)[featureAxis] == 3 {
			c.machine.y = c.machine.y.past(perm)
			c.nodes = append(c.nodes, t)
		}
	}
	ins := []*graph.Value{q, k, v}
	if c.machine.masked {
		ins = append(ins, c.mask)
	}
	o.replace(o.insert(c.nodes[len(c.nodes)-1], &c.machine, softmax, ins...), c.nodes...)
}

// scoresBehind returns the product that a Softmax normalizes, and notes what
// stands between the two, nil if that is something else.
func (o *optimizer) scoresBehind(c *attentionChain, softmax *graph.Node) *graph.Node {
	n := soleProducer(softmax.In(0))
	var between []*graph.Node
	if n != nil && n.Is("Add") && n.Opset() >= 7 {
		add := n
		for i := range 2 {
			if n = o.scaledProduct(soleProducer(add.In(i))); n != nil {
				c.mask = add.In(1 - i)
				break
			}
		}
		if n == nil || !o.isFloat32(c.mask) || c.mask.Type.Shape == nil || len(c.mask.Type.Shape) > 4 {
			return nil
		}
		c.machine.masked = true
		between = append(between, add)
	}
	if n = o.scaledProduct(n); n == nil {
		return nil
	}
	product := n
	if !n.Is("MatMul") {
		x, scale, _ := o.scaling(n)
		c.machine.scale, product = scale, x.Producer()
		between = append([]*graph.Node{n}, between...)
	}
	c.nodes = append([]*graph.Node{product}, between...)
	return product
}

// scaledProduct returns n if it is a product, or a scaling of one.
func (o *optimizer) scaledProduct(n *graph.Node) *graph.Node {
	if n == nil || n.Is("MatMul") {
		return n
	}
	x, _, ok := o.scaling(n)
	if !ok {
		return nil
	}
	if p := soleProducer(x); p == nil || !p.Is("MatMul") {
		return nil
	}
	return n
}

// scaling returns what n multiplies by one constant number, and the number.
func (o *optimizer) scaling(n *graph.Node) (x *graph.Value, factor float32, ok bool) {
	if !n.Is("Mul", "Div") || n.Opset() < 7 {
		return nil, 0, false
	}
	if c, ok := o.scalar(n.In(1)); ok {
		if n.Op == "Div" {
			c = 1 / c
		}
		return n.In(0), c, true
	}
	if c, ok := o.scalar(n.In(0)); ok && n.Op == "Mul" {
		return n.In(1), c, true
	}
	return nil, 0, false
}

// soleProducer returns the node whose only result is v, if v has one reader.
func soleProducer(v *graph.Value) *graph.Node {
	if v == nil || v.Producer() == nil {
		return nil
	}
	if user, _ := next(v.Producer()); user == nil {
		return nil
	}
	return v.Producer()
}

// isStack reports whether v is a float32 tensor with 4 axes.
func (o *optimizer) isStack(v *graph.Value) bool {
	return o.isFloat32(v) && len(v.Type.Shape) == 4
}

// overLastAxis reports whether a Softmax over 4 axes normalizes the last only.
func overLastAxis(softmax *graph.Node) bool {
	byDefault := int64(-1)
	if softmax.Opset() < 13 {
		byDefault = 1
	}
	return modulo(int(softmax.Int("axis", byDefault)), 4) == 3
}

// behindTransposes returns the operand of the Transpose nodes that make v,
// and its axes, as far as one of the given axes stays the contiguous one.
func behindTransposes(v *graph.Value, axes headAxes, contiguous ...int) (*graph.Value, headAxes) {
	best, bestAxes := v, axes
	for n := v.Producer(); n != nil && n.Is("Transpose") && n.Graph() == v.Graph(); n = n.In(0).Producer() {
		perm := permutation(n)
		if perm == nil {
			break
		}
		axes = axes.through(perm)
		for _, a := range contiguous {
			if axes[a] == 3 {
				best, bestAxes = n.In(0), axes
			}
		}
	}
	return best, bestAxes
}

// permutation returns the permutation of a Transpose of 4 axes, nil if it is
// none.
func permutation(n *graph.Node) []int64 {
	perm := n.Ints("perm")
	if perm == nil {
		return []int64{3, 2, 1, 0}
	}
	if sorted := slices.Sorted(slices.Values(perm)); !slices.Equal(sorted, []int64{0, 1, 2, 3}) {
		return nil
	}
	return perm
}
