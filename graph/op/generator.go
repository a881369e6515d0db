package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// generatorDefs holds operators that make tensors from attributes and shapes.
var generatorDefs = []*Def{
	{Name: "Constant", Since: 1, Infer: inferConstant, Eval: evalConstant, Cost: perElement(0)},
	{Name: "ConstantOfShape", Since: 9, Infer: inferConstantOfShape, Eval: evalConstantOfShape, Cost: perElement(0)},
	{Name: "EyeLike", Since: 9, Infer: inferEyeLike, Eval: evalEyeLike, Cost: perElement(0)},
	{Name: "Range", Since: 11, Infer: inferRange, Eval: evalRange, Cost: perElement(2)},
}

// constantValue returns what a Constant node holds.
func constantValue(n *graph.Node) (tensor.Value, error) {
	for _, a := range n.Attrs() {
		switch a.Name {
		case "value", "sparse_value":
			if len(a.Literals) == 1 && a.Literals[0].Sparse != nil {
				return a.Literals[0].Sparse, nil
			}
			if len(a.Literals) == 1 && a.Literals[0].Tensor != nil {
				return a.Literals[0].Tensor, nil
			}
		case "value_float":
			if len(a.Floats) == 1 {
				return tensor.Scalar(a.Floats[0]), nil
			}
		case "value_floats":
			return tensor.Vector(a.Floats...), nil
		case "value_int":
			if len(a.Ints) == 1 {
				return tensor.Scalar(a.Ints[0]), nil
			}
		case "value_ints":
			return tensor.Vector(a.Ints...), nil
		case "value_string":
			if len(a.Strings) == 1 {
				return tensor.OfStrings(tensor.Shape{}, a.Strings), nil
			}
		case "value_strings":
			return tensor.OfStrings(tensor.Shape{len(a.Strings)}, a.Strings), nil
		}
	}
	return nil, fmt.Errorf("has no attribute value, or one that holds nothing")
}

func inferConstant(c *Infer) error {
	v, err := constantValue(c.Node)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *tensor.Tensor:
		c.SetOut(0, v.DType(), graph.DimsOf(v.Shape()))
	case *tensor.Sparse:
		c.SetType(0, &graph.Type{Kind: graph.KindSparse, Elem: v.Values.DType(), Shape: graph.DimsOf(v.Shape)})
	}
	return nil
}

func evalConstant(e *Eval) error {
	v, err := constantValue(e.Node)
	if err != nil {
		return err
	}
	if s, ok := v.(*tensor.Sparse); ok && e.Node.Attr("sparse_value") != nil {
		if v, err = s.Dense(); err != nil {
			return err
		}
	}
	e.SetOut(0, v)
	return nil
}

// fillValue returns the one-element tensor that ConstantOfShape repeats, zero
// in Float32 by default.
func fillValue(n *graph.Node) (*tensor.Tensor, error) {
	a := n.Attr("value")
	if a == nil {
		return tensor.Vector[float32](0), nil
	}
	if len(a.Literals) != 1 || a.Literals[0].Tensor == nil || a.Literals[0].Tensor.Len() != 1 {
		return nil, fmt.Errorf("attribute value: want a tensor with one element")
	}
	return a.Literals[0].Tensor, nil
}

func inferConstantOfShape(c *Infer) error {
	v, err := fillValue(c.Node)
	if err != nil {
		return err
	}
	s := c.Dims(0)
	if n := c.Shape(0); s == nil && len(n) == 1 && n[0].IsKnown() {
		s = unknownDims(n[0].Size)
	}
	c.SetOut(0, v.DType(), s)
	if len(s) == 1 && s[0].IsKnown() && s[0].Size <= maxContents && v.DType() == tensor.Int64 {
		d := make(graph.Dims, s[0].Size)
		for i := range d {
			d[i] = dimsOfInts(tensor.Data[int64](v))[0]
		}
		c.SetDims(0, d)
	}
	return nil
}

func evalConstantOfShape(e *Eval) error {
	v, err := fillValue(e.Node)
	if err != nil {
		return err
	}
	list, err := e.ints(0)
	if err != nil {
		return err
	}
	if err := tensor.Shape(list).Check(); err != nil {
		return e.Errorf(0, "%v", err)
	}
	if d := v.DType(); d.Bits() > 0 && d.Bits() < 8 {
		codes := tensor.New(tensor.Uint8, list)
		fill(codes, tensor.Of(v.Shape(), tensor.Codes(v)))
		e.SetOut(0, tensor.FromCodes(d, list, codes.Bytes()))
		return nil
	}
	y := e.New(v.DType(), list)
	fill(y, v)
	e.SetOut(0, y)
	return nil
}

// eyeType is the type of EyeLike's result.
func eyeType(n *graph.Node, in tensor.DType) tensor.DType {
	return tensor.DType(n.Int("dtype", int64(in)))
}

func inferEyeLike(c *Infer) error {
	if s := c.Shape(0); s != nil && len(s) != 2 {
		return c.Errorf(0, "has %d axes, want 2", len(s))
	}
	c.SetOut(0, eyeType(c.Node, c.Elem(0)), c.Shape(0))
	return nil
}

// evalEyeLike puts ones on the k-th diagonal above the main one.
func evalEyeLike(e *Eval) error {
	t := e.Tensor(0)
	if t.Rank() != 2 {
		return e.Errorf(0, "has %d axes, want 2", t.Rank())
	}
	d := eyeType(e.Node, t.DType())
	if !d.Valid() || d == tensor.String {
		return fmt.Errorf("attribute dtype is %v, want a numeric type", d)
	}
	rows, cols := t.Shape()[0], t.Shape()[1]
	k := int(e.Node.Int("k", 0))
	x := make([]float32, rows*cols)
	for i := range rows {
		if j := i + k; j >= 0 && j < cols {
			x[i*cols+j] = 1
		}
	}
	e.SetOut(0, tensor.FromFloat32s(d, t.Shape(), x))
	return nil
}

func inferRange(c *Infer) error {
	n := graph.Unknown()
	if start, limit, delta := c.Const(0), c.Const(1), c.Const(2); start != nil && limit != nil && delta != nil {
		size, err := rangeLen(start, limit, delta)
		if err != nil {
			return err
		}
		n = graph.Known(size)
	} else if s, l, d := c.Dims(0), c.Dims(1), c.Dims(2); len(s) == 1 && len(l) == 1 && len(d) == 1 &&
		s[0] == graph.Known(0) && d[0] == graph.Known(1) {
		n = l[0]
	}
	c.SetOut(0, c.Elem(0), graph.Dims{n})
	return nil
}

// rangeLen returns max(ceil((limit-start)/delta), 0).
func rangeLen(start, limit, delta *tensor.Tensor) (int, error) {
	for _, t := range []*tensor.Tensor{start, limit, delta} {
		if t.Len() != 1 {
			return 0, fmt.Errorf("operand %v of a range, want one element", t)
		}
	}
	s, l, d := tensor.Float64s(start)[0], tensor.Float64s(limit)[0], tensor.Float64s(delta)[0]
	if d == 0 {
		return 0, fmt.Errorf("a range has step 0")
	}
	n := math.Ceil((l - s) / d)
	if !(n < 1<<48) {
		return 0, fmt.Errorf("a range from %v to %v by %v has too many elements", s, l, d)
	}
	return max(0, int(n)), nil
}

func evalRange(e *Eval) error {
	start, delta := e.Tensor(0), e.Tensor(2)
	n, err := rangeLen(start, e.Tensor(1), delta)
	if err != nil {
		return err
	}
	d := start.DType()
	y := e.New(wide(d), tensor.Shape{n})
	switch wide(d) {
	case tensor.Float32:
		ramp[float32](y, start, delta)
	case tensor.Float64:
		ramp[float64](y, start, delta)
	case tensor.Int64:
		ramp[int64](y, start, delta)
	default:
		ramp[uint64](y, start, delta)
	}
	e.SetOut(0, cast(y, d))
	return nil
}

func ramp[T float32 | float64 | int64 | uint64](y, start, delta *tensor.Tensor) {
	s, d := tensor.Data[T](widened(start))[0], tensor.Data[T](widened(delta))[0]
	for i, dst := 0, tensor.Data[T](y); i < len(dst); i++ {
		dst[i] = s + T(i)*d
	}
}
