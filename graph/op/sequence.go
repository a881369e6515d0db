package op

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// sequenceDefs holds operators over sequences.
var sequenceDefs = []*Def{
	{Name: "ConcatFromSequence", Since: 11, Infer: inferConcatFromSequence, Eval: evalConcatFromSequence, Cost: (*Infer).traffic},
	{Name: "SequenceAt", Since: 11, Infer: inferSequenceAt, Eval: evalSequenceAt, Cost: noWork},
	{Name: "SequenceConstruct", Since: 11, Infer: inferSequenceConstruct, Eval: evalSequenceConstruct, Cost: noWork},
	{Name: "SequenceEmpty", Since: 11, Infer: inferSequenceEmpty, Eval: evalSequenceEmpty, Cost: noWork},
	{Name: "SequenceErase", Since: 11, Infer: sameType, Eval: evalSequenceErase, Cost: noWork},
	{Name: "SequenceInsert", Since: 11, Infer: inferSequenceInsert, Eval: evalSequenceInsert, Cost: noWork},
	{Name: "SequenceLength", Since: 11, Infer: inferSequenceLength, Eval: evalSequenceLength, Cost: noWork},
	{Name: "SequenceMap", Since: 17, Infer: inferSequenceMap, Eval: evalSequenceMap},
	{Name: "SplitToSequence", Since: 11, Infer: inferSplitToSequence, Eval: evalSplitToSequence, Cost: (*Infer).traffic},
}

// seq returns input i, which must be a sequence.
func (e *Eval) seq(i int) (*tensor.Seq, error) {
	if i < len(e.In) {
		if s, ok := e.In[i].(*tensor.Seq); ok {
			return s, nil
		}
	}
	return nil, fmt.Errorf("input %d is no sequence", i)
}

// position returns the index into a sequence of n items, counted from the end
// if negative, that input i gives; beyond allows the place after the last.
func (e *Eval) position(i, n int, beyond bool) (int, error) {
	p, err := e.int(i, -1)
	if err != nil {
		return 0, err
	}
	if beyond && p == n {
		return p, nil
	}
	if p, err = wrapIndex(p, n); err != nil {
		return 0, e.Errorf(i, "%w", err)
	}
	return p, nil
}

func evalSequenceConstruct(e *Eval) error {
	s := &tensor.Seq{}
	for i := range e.In {
		t := e.Tensor(i)
		if t == nil {
			return e.Errorf(i, "want a tensor")
		}
		if t.DType() != e.Tensor(0).DType() {
			return e.Errorf(i, "want %v elements", e.Tensor(0).DType())
		}
		s.Items = append(s.Items, t)
	}
	e.SetOut(0, s)
	return nil
}

func evalSequenceEmpty(e *Eval) error {
	e.SetOut(0, &tensor.Seq{})
	return nil
}

func evalSequenceLength(e *Eval) error {
	s, err := e.seq(0)
	if err != nil {
		return err
	}
	e.SetOut(0, tensor.Scalar(int64(len(s.Items))))
	return nil
}

func evalSequenceAt(e *Eval) error {
	s, err := e.seq(0)
	if err != nil {
		return err
	}
	p, err := e.position(1, len(s.Items), false)
	if err != nil {
		return err
	}
	e.SetOut(0, s.Items[p])
	return nil
}

func evalSequenceErase(e *Eval) error {
	s, err := e.seq(0)
	if err != nil {
		return err
	}
	p, err := e.position(1, len(s.Items), false)
	if err != nil {
		return err
	}
	e.SetOut(0, &tensor.Seq{Items: slices.Delete(slices.Clone(s.Items), p, p+1)})
	return nil
}

func evalSequenceInsert(e *Eval) error {
	s, err := e.seq(0)
	if err != nil {
		return err
	}
	t := e.Tensor(1)
	if t == nil {
		return e.Errorf(1, "want a tensor")
	}
	if len(s.Items) > 0 {
		if first, ok := s.Items[0].(*tensor.Tensor); ok && first.DType() != t.DType() {
			return e.Errorf(1, "want %v elements", first.DType())
		}
	}
	p := len(s.Items)
	if e.Tensor(2) != nil {
		if p, err = e.position(2, len(s.Items), true); err != nil {
			return err
		}
	}
	e.SetOut(0, &tensor.Seq{Items: slices.Insert(slices.Clone(s.Items), p, tensor.Value(t))})
	return nil
}

func evalSplitToSequence(e *Eval) error {
	x := e.Tensor(0)
	axis, err := tensor.Axis(int(e.Node.Int("axis", 0)), x.Rank())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	n := x.Shape()[axis]
	sizes, err := sequenceSizes(e, n)
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	drop := e.Tensor(1) == nil && e.Node.Int("keepdims", 1) == 0
	s, at := &tensor.Seq{}, 0
	for _, size := range sizes {
		part := e.part(x, axis, at, size)
		if drop {
			part = part.Reshape(slices.Delete(part.Shape().Clone(), axis, axis+1))
		}
		s.Items = append(s.Items, part)
		at += size
	}
	e.SetOut(0, s)
	return nil
}

// sequenceSizes returns the lengths of the parts that SplitToSequence makes
// of an axis of length n.
func sequenceSizes(e *Eval, n int) ([]int, error) {
	split := e.Tensor(1)
	if split == nil {
		return slices.Repeat([]int{1}, n), nil
	}
	sizes, err := e.ints(1)
	if err != nil {
		return nil, err
	}
	if split.Rank() == 1 {
		return sizes, checkSplit(sizes, n, len(sizes))
	}
	size := sizes[0]
	if size < 1 {
		return nil, fmt.Errorf("is split into parts of length %d", size)
	}
	sizes = nil
	for at := 0; at < n; at += size {
		sizes = append(sizes, min(size, n-at))
	}
	return sizes, nil
}

// part is narrow for elements of any width.
func (e *Eval) part(x *tensor.Tensor, axis, at, size int) *tensor.Tensor {
	d := x.DType()
	if b := d.Bits(); b == 0 || b >= 8 {
		return e.narrow(x, axis, at, size)
	}
	y := e.narrow(tensor.Of(x.Shape(), tensor.Codes(x)), axis, at, size)
	return tensor.FromCodes(d, y.Shape(), y.Bytes())
}

func evalConcatFromSequence(e *Eval) error {
	s, err := e.seq(0)
	if err != nil {
		return err
	}
	parts, err := tensorsOf(s.Items)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return fmt.Errorf("the sequence is empty")
	}
	stack := e.Node.Int("new_axis", 0) != 0
	rank := parts[0].Rank()
	if stack {
		rank++
	}
	axis, err := tensor.Axis(int(e.Node.Int("axis", 0)), rank)
	if err != nil {
		return err
	}
	var y *tensor.Tensor
	if stack {
		y, err = e.stack(parts, axis)
	} else {
		y, err = e.join(parts, axis)
	}
	if err != nil {
		return err
	}
	e.SetOut(0, y)
	return nil
}

// tensorsOf returns values that must all be tensors.
func tensorsOf(vs []tensor.Value) ([]*tensor.Tensor, error) {
	out := make([]*tensor.Tensor, len(vs))
	for i, v := range vs {
		t, ok := v.(*tensor.Tensor)
		if !ok {
			return nil, fmt.Errorf("item %d is no tensor", i)
		}
		out[i] = t
	}
	return out, nil
}

// stack joins tensors of one shape along a new axis.
func (e *Eval) stack(parts []*tensor.Tensor, axis int) (*tensor.Tensor, error) {
	ones := make([]*tensor.Tensor, len(parts))
	for i, p := range parts {
		if axis > p.Rank() {
			return nil, fmt.Errorf("%v has no place for a new axis %d", p, axis)
		}
		ones[i] = p.Reshape(slices.Insert(p.Shape().Clone(), axis, 1))
	}
	return e.join(ones, axis)
}

// join is concat for elements of any width.
func (e *Eval) join(parts []*tensor.Tensor, axis int) (*tensor.Tensor, error) {
	d := parts[0].DType()
	if b := d.Bits(); b == 0 || b >= 8 {
		return e.concat(parts, axis)
	}
	wide := make([]*tensor.Tensor, len(parts))
	for i, p := range parts {
		if p.DType() != d {
			return nil, fmt.Errorf("%v is joined with %v", p, parts[0])
		}
		wide[i] = tensor.Of(p.Shape(), tensor.Codes(p))
	}
	y, err := e.concat(wide, axis)
	if err != nil {
		return nil, err
	}
	return tensor.FromCodes(d, y.Shape(), y.Bytes()), nil
}

// evalSequenceMap applies the body to the items of the first sequence, those
// at the same place of the others, and the tensors as they are.
func evalSequenceMap(e *Eval) error {
	body, err := e.subgraph("body")
	if err != nil {
		return err
	}
	first, err := e.seq(0)
	if err != nil {
		return err
	}
	outs := make([]*tensor.Seq, len(body.Outputs()))
	for k := range outs {
		outs[k] = &tensor.Seq{}
	}
	for i := range first.Items {
		args := slices.Clone(e.In)
		for j, v := range e.In {
			if s, ok := v.(*tensor.Seq); ok {
				if len(s.Items) != len(first.Items) {
					return fmt.Errorf("input %d has %d items, want %d", j, len(s.Items), len(first.Items))
				}
				args[j] = s.Items[i]
			}
		}
		res, err := e.Sub(body, args)
		if err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
		for k, v := range res {
			outs[k].Items = append(outs[k].Items, v)
		}
	}
	for k, s := range outs {
		e.SetOut(k, s)
	}
	return nil
}

// item returns the type of the items of input i, a sequence, nil if it is not
// known.
func (c *Infer) item(i int) *graph.Type {
	if i < len(c.In) && c.In[i] != nil && c.In[i].Kind == graph.KindSequence {
		return c.In[i].Item
	}
	return nil
}

func inferSequenceAt(c *Infer) error {
	if t := c.item(0); t != nil {
		c.SetType(0, t)
	}
	return nil
}

func inferSequenceConstruct(c *Infer) error {
	var t *graph.Type
	for i, in := range c.In {
		if in == nil {
			in = graph.TensorOf(c.Elem(0), nil)
		}
		if i == 0 {
			t = in
		} else {
			t = joinTypes(t, in)
		}
	}
	if t != nil {
		c.SetType(0, graph.SequenceOf(t))
	}
	return nil
}

func inferSequenceEmpty(c *Infer) error {
	d := tensor.DType(c.Node.Int("dtype", int64(tensor.Float32)))
	if !d.Valid() {
		return fmt.Errorf("attribute dtype is %d, want the number of a type", d)
	}
	c.SetType(0, graph.SequenceOf(graph.TensorOf(d, nil)))
	return nil
}

// inferSequenceInsert leaves the shape of the items open: the sequence may be
// empty, and its items of any shape.
func inferSequenceInsert(c *Infer) error {
	if t := c.item(0); t != nil && c.In[1] != nil {
		c.SetType(0, graph.SequenceOf(joinTypes(t, c.In[1])))
	} else if c.In[1] != nil {
		c.SetType(0, graph.SequenceOf(graph.TensorOf(c.Elem(1), nil)))
	}
	return nil
}

func inferSequenceLength(c *Infer) error {
	c.SetOut(0, tensor.Int64, graph.Dims{})
	return nil
}

func inferSequenceMap(c *Infer) error {
	body := subgraph(&c.Call, "body")
	if body == nil {
		return fmt.Errorf("attribute body is missing")
	}
	args := slices.Clone(c.In)
	for i := range args {
		if t := c.item(i); t != nil {
			args[i] = t
		}
	}
	types, err := c.Sub(body, args)
	if err != nil {
		return err
	}
	for i, t := range types {
		if t != nil {
			c.SetType(i, graph.SequenceOf(t))
		}
	}
	return nil
}

func inferSplitToSequence(c *Infer) error {
	in := c.Shape(0)
	if in == nil {
		c.SetType(0, graph.SequenceOf(graph.TensorOf(c.Elem(0), nil)))
		return nil
	}
	axis, err := tensor.Axis(int(c.Node.Int("axis", 0)), len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	out := slices.Clone(in)
	switch {
	case c.Has(1):
		out[axis] = graph.Unknown()
	case c.Node.Int("keepdims", 1) == 0:
		out = slices.Delete(out, axis, axis+1)
	default:
		out[axis] = graph.Known(1)
	}
	c.SetType(0, graph.SequenceOf(graph.TensorOf(c.Elem(0), out)))
	return nil
}

func inferConcatFromSequence(c *Infer) error {
	t := c.item(0)
	if t == nil || t.Kind != graph.KindTensor {
		return nil
	}
	c.SetOut(0, t.Elem, nil)
	if t.Shape == nil {
		return nil
	}
	stack := c.Node.Int("new_axis", 0) != 0
	rank := len(t.Shape)
	if stack {
		rank++
	}
	axis, err := tensor.Axis(int(c.Node.Int("axis", 0)), rank)
	if err != nil {
		return err
	}
	out := slices.Clone(t.Shape)
	if stack {
		out = slices.Insert(out, axis, graph.Unknown())
	} else {
		out[axis] = graph.Unknown()
	}
	c.SetOut(0, t.Elem, out)
	return nil
}

// joinTypes returns the narrowest type that admits what either of two does.
func joinTypes(a, b *graph.Type) *graph.Type {
	switch {
	case a == nil || b == nil:
		return nil
	case a.Equal(b):
		return a
	case b.Kind == graph.KindOptional && a.Kind != graph.KindOptional:
		return joinTypes(graph.OptionalOf(a), b)
	case a.Kind == graph.KindOptional && b.Kind != graph.KindOptional:
		return joinTypes(a, graph.OptionalOf(b))
	case a.Kind != b.Kind:
		return nil
	case a.Kind == graph.KindTensor && a.Elem == b.Elem:
		return graph.TensorOf(a.Elem, joinShapesOf(a.Shape, b.Shape))
	case a.Kind == graph.KindSequence || a.Kind == graph.KindOptional:
		if item := joinTypes(a.Item, b.Item); item != nil {
			return &graph.Type{Kind: a.Kind, Item: item}
		}
	}
	return nil
}

// joinShapesOf keeps the dimensions that two shapes share.
func joinShapesOf(a, b graph.Dims) graph.Dims {
	if a == nil || b == nil || len(a) != len(b) {
		return nil
	}
	out := slices.Clone(a)
	for i := range out {
		if out[i] != b[i] {
			out[i] = graph.Unknown()
		}
	}
	return out
}
