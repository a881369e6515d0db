package op

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Types of the results of operators that rename elements (tensor_shape.go).

// sameType gives result 0 the type and contents of input 0.
func sameType(c *Infer) error {
	if c.In[0] != nil {
		c.SetType(0, c.In[0])
	}
	c.SetDims(0, c.Dims(0))
	return nil
}

func inferCast(c *Infer) error {
	to, err := castType(&c.Call)
	if err != nil {
		return err
	}
	c.castTo(to)
	return nil
}

func inferCastLike(c *Infer) error {
	if to := c.Elem(1); to != tensor.Undefined {
		c.castTo(to)
	}
	return nil
}

func (c *Infer) castTo(to tensor.DType) {
	c.SetOut(0, to, c.Shape(0))
	if to == tensor.Int64 || to == tensor.Int32 {
		c.SetDims(0, c.Dims(0))
	}
}

func inferBitCast(c *Infer) error {
	to, err := castType(&c.Call)
	if err != nil {
		return err
	}
	if from := c.Elem(0); from != tensor.Undefined && from.Bits() != to.Bits() {
		return c.Errorf(0, "has elements of %d bits, %v has %d", from.Bits(), to, to.Bits())
	}
	c.SetOut(0, to, c.Shape(0))
	return nil
}

func inferReshape(c *Infer) error {
	target, _ := c.list(1, 5, "shape")
	if target == nil {
		c.SetOut(0, c.Elem(0), c.listRank(1))
		return nil
	}
	out, err := reshapeDims(c.Shape(0), target, c.Node.Int("allowzero", 0) != 0)
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	c.SetOut(0, c.Elem(0), out)
	if len(out) <= 1 {
		c.SetDims(0, c.Dims(0))
	}
	return nil
}

// listRank returns unknown dimensions, as many as input i, a list, has
// elements; nil if that is not known.
func (c *Infer) listRank(i int) graph.Dims {
	if s, ok := c.Shape(i).Static(); ok && len(s) == 1 {
		return unknownDims(s[0])
	}
	return nil
}

func unknownDims(n int) graph.Dims {
	return slices.Repeat(graph.Dims{graph.Unknown()}, n)
}

// reshapeDims resolves a Reshape target that may be known in part; in may be
// nil. An unknown dimension is solved for like a -1, which it may be.
func reshapeDims(in, target graph.Dims, allowZero bool) (graph.Dims, error) {
	if s, ok := in.Static(); ok {
		if t, ok := constDims(target); ok {
			out, err := reshapeTo(s, t, allowZero)
			return graph.DimsOf(out), err
		}
	}
	out := slices.Clone(target)
	free := -1 // the one dimension that is not told, -2 if there are more
	for i, d := range target {
		switch {
		case d.IsKnown() && d.Size == 0 && !allowZero:
			if in != nil && i >= len(in) {
				return nil, fmt.Errorf("target %v keeps dimension %d of %d", target, i, len(in))
			}
			out[i] = graph.Unknown()
			if in != nil {
				out[i] = in[i]
			}
		case d.IsUnknown() || isMinusOne(d):
			out[i] = graph.Unknown()
			if free == -1 {
				free = i
			} else {
				free = -2
			}
		}
	}
	if free >= 0 && in != nil {
		rest := slices.Delete(slices.Clone(out), free, free+1)
		out[free] = dimsQuotient(in, rest)
	}
	return out, nil
}

func isMinusOne(d graph.Dim) bool {
	n, ok := d.Number()
	return ok && n == -1
}

// constDims returns list as integers if all of it is known.
func constDims(list graph.Dims) ([]int, bool) {
	out := make([]int, len(list))
	for i, d := range list {
		n, ok := d.Number()
		if !ok {
			return nil, false
		}
		out[i] = n
	}
	return out, list != nil
}

// dimsQuotient returns the product of a over that of b, unknown if it cannot
// be told: factors that stand on both sides cancel.
func dimsQuotient(a, b graph.Dims) graph.Dim {
	a = slices.Clone(a)
	den := graph.Known(1)
	for _, d := range b {
		if i := slices.Index(a, d); i >= 0 && !d.IsUnknown() {
			a = slices.Delete(a, i, i+1)
		} else {
			den = den.Times(d)
		}
	}
	return a.Len().FloorDiv(den)
}

func inferSqueeze(c *Infer) error {
	in := c.Shape(0)
	list, given, known := c.consts(1, 13, "axes")
	c.SetOut(0, c.Elem(0), nil)
	c.SetDims(0, c.Dims(0))
	if in == nil || !known {
		if n := c.listRank(1); in != nil && n != nil && len(n) <= len(in) {
			c.SetOut(0, c.Elem(0), unknownDims(len(in)-len(n)))
		}
		return nil
	}
	drop, err := squeezed(in, list, given)
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	if drop == nil {
		return nil
	}
	out := graph.Dims{}
	for i, d := range in {
		if !drop[i] {
			out = append(out, d)
		}
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// squeezed tells which dimensions Squeeze drops, nil if that depends on a
// dimension that is not known.
func squeezed(in graph.Dims, list []int, given bool) ([]bool, error) {
	drop := make([]bool, len(in))
	if !given {
		for i, d := range in {
			if !d.IsKnown() {
				return nil, nil
			}
			drop[i] = d.Size == 1
		}
		return drop, nil
	}
	ax, err := axes(list, len(in))
	if err != nil {
		return nil, err
	}
	for _, a := range ax {
		if in[a].IsKnown() && in[a].Size != 1 {
			return nil, fmt.Errorf("axis %d has length %d, want 1", a, in[a].Size)
		}
		drop[a] = true
	}
	return drop, nil
}

func inferUnsqueeze(c *Infer) error {
	in := c.Shape(0)
	list, given, known := c.consts(1, 13, "axes")
	c.SetOut(0, c.Elem(0), nil)
	if known && !given {
		return fmt.Errorf("no axes are given")
	}
	if in == nil || !known {
		if n := c.listRank(1); in != nil && n != nil {
			c.SetOut(0, c.Elem(0), unknownDims(len(in)+len(n)))
		}
		return nil
	}
	out := make(graph.Dims, len(in)+len(list))
	ax, err := axes(list, len(out))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	insertOnes(out, in, ax, graph.Known(1))
	c.SetOut(0, c.Elem(0), out)
	if len(out) <= 1 {
		c.SetDims(0, c.Dims(0))
	}
	return nil
}

func inferFlatten(c *Infer) error {
	in := c.Shape(0)
	if in == nil {
		c.SetOut(0, c.Elem(0), unknownDims(2))
		return nil
	}
	axis, err := flattenAxis(&c.Call, len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	c.SetOut(0, c.Elem(0), graph.Dims{in[:axis].Len(), in[axis:].Len()})
	return nil
}

func inferShape(c *Infer) error {
	in := c.Shape(0)
	if in == nil {
		c.SetOut(0, tensor.Int64, unknownDims(1))
		return nil
	}
	start, end := shapeRange(&c.Call, len(in))
	c.SetOut(0, tensor.Int64, graph.Dims{graph.Known(end - start)})
	c.SetDims(0, in[start:end])
	return nil
}

func inferSize(c *Infer) error {
	c.SetOut(0, tensor.Int64, graph.Dims{})
	if in := c.Shape(0); in != nil {
		c.SetDims(0, graph.Dims{in.Len()})
	}
	return nil
}
