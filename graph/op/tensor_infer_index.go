package op

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Types of the results of operators that choose elements (tensor_index.go,
// tensor_scatter.go).

func joinDims(parts ...graph.Dims) graph.Dims {
	out := graph.Dims{}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func inferGather(c *Infer) error {
	in, at := c.Shape(0), c.Shape(1)
	c.SetOut(0, c.Elem(0), nil)
	if in == nil {
		return nil
	}
	axis, err := tensor.Axis(int(c.Node.Int("axis", 0)), len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	if at == nil {
		return nil
	}
	c.SetOut(0, c.Elem(0), joinDims(in[:axis], at, in[axis+1:]))
	return c.gatherContents(at)
}

// gatherContents picks entries of a list.
func (c *Infer) gatherContents(at graph.Dims) error {
	list := c.Dims(0)
	if list == nil || len(c.Shape(0)) != 1 || len(at) > 1 || c.Const(1) == nil {
		return nil
	}
	idx, err := indices(c.Const(1), len(list))
	if err != nil {
		return c.Errorf(1, "%w", err)
	}
	out := make(graph.Dims, len(idx))
	for i, k := range idx {
		out[i] = list[k]
	}
	c.SetDims(0, out)
	return nil
}

// inferShapeOf returns the rule of operators whose result has the elements of
// input 0 and the shape of input i.
func inferShapeOf(i int) func(*Infer) error {
	return func(c *Infer) error {
		c.SetOut(0, c.Elem(0), c.Shape(i))
		return nil
	}
}

func inferGatherND(c *Infer) error {
	in, at := c.Shape(0), c.Shape(1)
	c.SetOut(0, c.Elem(0), nil)
	if in == nil || len(at) == 0 || !at[len(at)-1].IsKnown() {
		return nil
	}
	batch, k := int(c.Node.Int("batch_dims", 0)), at[len(at)-1].Size
	if batch < 0 || batch >= len(at) || batch+k > len(in) {
		return c.Errorf(1, "tuples of %d indices after %d batch axes into %v", k, batch, in)
	}
	c.SetOut(0, c.Elem(0), joinDims(at[:len(at)-1], in[batch+k:]))
	return nil
}

func inferCompress(c *Infer) error {
	in := c.Shape(0)
	if c.Node.Attr("axis") == nil {
		c.SetOut(0, c.Elem(0), unknownDims(1))
		return nil
	}
	if in == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	axis, err := tensor.Axis(int(c.Node.Int("axis", 0)), len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	out := slices.Clone(in)
	out[axis] = graph.Unknown()
	c.SetOut(0, c.Elem(0), out)
	return nil
}

func inferNonZero(c *Infer) error {
	rank := graph.Unknown()
	if in := c.Shape(0); in != nil {
		rank = graph.Known(len(in))
	}
	c.SetOut(0, tensor.Int64, graph.Dims{rank, graph.Unknown()})
	return nil
}

func inferWhere(c *Infer) error {
	elem := c.Elem(1)
	if elem == tensor.Undefined {
		elem = c.Elem(2)
	}
	cond, x, y := c.Shape(0), c.Shape(1), c.Shape(2)
	if cond == nil || x == nil || y == nil {
		c.SetOut(0, elem, nil)
		return nil
	}
	out, err := broadcastDims(cond, x, y)
	if err != nil {
		return err
	}
	c.SetOut(0, elem, out)
	c.whereContents(out)
	return nil
}

// whereContents chooses between lists under a known condition.
func (c *Infer) whereContents(out graph.Dims) {
	cond, x, y := c.Const(0), c.Dims(1), c.Dims(2)
	s, ok := out.Static()
	if cond == nil || x == nil || y == nil || !ok || len(s) > 1 {
		return
	}
	list := make(graph.Dims, s.Len())
	for i := range list {
		list[i] = y[i%len(y)]
		if tensor.Data[bool](cond)[i%cond.Len()] {
			list[i] = x[i%len(x)]
		}
	}
	c.SetDims(0, list)
}

func inferOneHot(c *Infer) error {
	at := c.Shape(0)
	if at == nil {
		c.SetOut(0, c.Elem(2), nil)
		return nil
	}
	axis, err := tensor.Axis(int(c.Node.Int("axis", -1)), len(at)+1)
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	depth := graph.Unknown()
	if d := c.Dims(1); len(d) == 1 {
		depth = d[0]
	} else if t := c.Const(1); t != nil && t.Len() == 1 && t.DType().IsFloat() {
		depth = graph.Known(int(max(0, tensor.Int64s(t)[0])))
	}
	c.SetOut(0, c.Elem(2), joinDims(at[:axis], graph.Dims{depth}, at[axis:]))
	return nil
}

func inferUnique(c *Infer) error {
	in := c.Shape(0)
	out := unknownDims(1)
	if c.Node.Attr("axis") != nil {
		out = slices.Clone(in)
		if in != nil {
			axis, err := tensor.Axis(int(c.Node.Int("axis", 0)), len(in))
			if err != nil {
				return c.Errorf(0, "%w", err)
			}
			out[axis] = graph.Unknown()
		}
	}
	c.SetOut(0, c.Elem(0), out)
	for i := 1; i < len(c.Out); i++ {
		c.SetOut(i, tensor.Int64, unknownDims(1))
	}
	return nil
}
