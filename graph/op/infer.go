package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Infer is one call while the types of its results are derived. What is not
// known stays so: a rule that lacks a shape sets what it can (at least the
// element type) and returns nil. An error means that the call is wrong.
type Infer struct {
	Call
	In  []*graph.Type // nil where omitted or unknown
	Out []*graph.Type // one for each result of the node

	// Consts are the inputs whose contents are known, nil otherwise.
	Consts []*tensor.Tensor
	// InDims are the contents of integer inputs of at most one axis that are
	// known in part, as computations on shapes make them; nil otherwise. A
	// known constant is here too.
	InDims []graph.Dims
	// OutDims are the contents of such results, where the rule knows them.
	OutDims []graph.Dims
	// Sub derives the result types of a subgraph from those of its inputs.
	Sub func(g *graph.Graph, args []*graph.Type) ([]*graph.Type, error)
}

// Elem returns the element type of input i, Undefined if it is not known.
func (c *Infer) Elem(i int) tensor.DType {
	if i >= 0 && i < len(c.In) && c.In[i] != nil && c.In[i].Kind == graph.KindTensor {
		return c.In[i].Elem
	}
	return tensor.Undefined
}

// Shape returns the shape of input i, nil if its rank is not known.
func (c *Infer) Shape(i int) graph.Dims {
	if i >= 0 && i < len(c.In) && c.In[i] != nil && c.In[i].Kind == graph.KindTensor {
		return c.In[i].Shape
	}
	return nil
}

// Const returns the contents of input i if they are known, or nil.
func (c *Infer) Const(i int) *tensor.Tensor {
	if i >= 0 && i < len(c.Consts) {
		return c.Consts[i]
	}
	return nil
}

// Dims returns the contents of input i as far as they are known, or nil.
func (c *Infer) Dims(i int) graph.Dims {
	if i >= 0 && i < len(c.InDims) {
		return c.InDims[i]
	}
	return nil
}

// SetOut states that result i is a tensor of the given elements and shape
// (nil if the rank is not known).
func (c *Infer) SetOut(i int, elem tensor.DType, shape graph.Dims) {
	c.SetType(i, graph.TensorOf(elem, shape))
}

// SetType states the type of result i.
func (c *Infer) SetType(i int, t *graph.Type) {
	if i < len(c.Out) {
		c.Out[i] = t
	}
}

// SetDims states the contents of result i, an integer tensor of at most one
// axis, as far as they are known.
func (c *Infer) SetDims(i int, d graph.Dims) {
	if i < len(c.OutDims) {
		c.OutDims[i] = d
	}
}

// Errorf returns an error about input i that states its type; the caller
// puts the node in front.
func (c *Infer) Errorf(i int, format string, args ...any) error {
	var t *graph.Type
	if i < len(c.In) {
		t = c.In[i]
	}
	return fmt.Errorf("input %d %s: %w", i, t, fmt.Errorf(format, args...))
}
