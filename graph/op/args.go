package op

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// ints returns the elements of an Int32 or Int64 tensor (and those of other
// integer types, which some operators allow for counts and indices).
func ints(t *tensor.Tensor) ([]int, error) {
	switch t.DType() {
	case tensor.Int64:
		return toInts(tensor.Data[int64](t)), nil
	case tensor.Int32:
		return toInts(tensor.Data[int32](t)), nil
	case tensor.Int16:
		return toInts(tensor.Data[int16](t)), nil
	case tensor.Int8:
		return toInts(tensor.Data[int8](t)), nil
	case tensor.Uint8:
		return toInts(tensor.Data[uint8](t)), nil
	case tensor.Uint16:
		return toInts(tensor.Data[uint16](t)), nil
	case tensor.Uint32:
		return toInts(tensor.Data[uint32](t)), nil
	case tensor.Uint64:
		return toInts(tensor.Data[uint64](t)), nil
	}
	return nil, fmt.Errorf("%v where integers are wanted", t)
}

func toInts[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](x []T) []int {
	out := make([]int, len(x))
	for i, v := range x {
		out[i] = int(v)
	}
	return out
}

// ints returns the elements of input i, a list or a single integer.
func (e *Eval) ints(i int) ([]int, error) {
	t := e.Tensor(i)
	if t == nil {
		return nil, e.Errorf(i, "a list of integers is wanted")
	}
	if t.Rank() > 1 {
		return nil, e.Errorf(i, "has %d axes, want at most 1", t.Rank())
	}
	if d := t.DType(); d != tensor.Int64 && d != tensor.Int32 {
		return nil, e.Errorf(i, "want int64 or int32")
	}
	return ints(t)
}

// int returns the only element of input i, or def if the input is omitted.
func (e *Eval) int(i, def int) (int, error) {
	t := e.Tensor(i)
	if t == nil {
		return def, nil
	}
	if d := t.DType(); t.Len() != 1 || d != tensor.Int64 && d != tensor.Int32 {
		return 0, e.Errorf(i, "want one int64 or int32")
	}
	list, err := ints(t)
	if err != nil {
		return 0, e.Errorf(i, "%w", err)
	}
	return list[0], nil
}

// list returns the integers that a call gives as input slot or, before
// version since of the operator, as the attribute attr; given is false if it
// gives none.
func (e *Eval) list(slot int, since int64, attr string) (list []int, given bool, err error) {
	if e.Version < since {
		a := e.Node.Attr(attr)
		return toInts(e.Node.Ints(attr)), a != nil, nil
	}
	if e.Tensor(slot) == nil {
		return nil, false, nil
	}
	list, err = e.ints(slot)
	return list, true, err
}

// list is that of Eval: the dimensions or indices that a call gives, nil if
// they are given but not known.
func (c *Infer) list(slot int, since int64, attr string) (list graph.Dims, given bool) {
	if c.Version < since {
		a := c.Node.Attr(attr)
		return dimsOfInts(c.Node.Ints(attr)), a != nil
	}
	if !c.Has(slot) {
		return nil, false
	}
	return c.Dims(slot), true
}

// consts returns what a call gives as list does, if all of it is known.
func (c *Infer) consts(slot int, since int64, attr string) (list []int, given, known bool) {
	if c.Version < since {
		a := c.Node.Attr(attr)
		return toInts(c.Node.Ints(attr)), a != nil, true
	}
	if !c.Has(slot) {
		return nil, false, true
	}
	if t := c.Const(slot); t != nil {
		if l, err := ints(t); err == nil {
			return l, true, true
		}
	}
	return nil, true, false
}

// axes maps axes that may be negative to 0..rank-1 and refuses those outside
// and those given twice.
func axes(list []int, rank int) ([]int, error) {
	out := make([]int, len(list))
	for i, a := range list {
		x, err := tensor.Axis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out[:i], x) {
			return nil, fmt.Errorf("axis %d is given twice", a)
		}
		out[i] = x
	}
	return out, nil
}

// wrapIndex maps an index that may be negative to 0..n-1.
func wrapIndex(i, n int) (int, error) {
	if i < -n || i >= n {
		return 0, fmt.Errorf("index %d is outside [%d,%d]", i, -n, n-1)
	}
	if i < 0 {
		i += n
	}
	return i, nil
}

// indices maps the elements of t, indices of an axis of length n that may be
// negative, to 0..n-1.
func indices(t *tensor.Tensor, n int) ([]int, error) {
	list, err := ints(t)
	if err != nil {
		return nil, err
	}
	for i, x := range list {
		if list[i], err = wrapIndex(x, n); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// dimsOfInts returns integers as dimensions.
func dimsOfInts(list []int64) graph.Dims {
	d := make(graph.Dims, len(list))
	for i, n := range list {
		d[i] = graph.Number(int(n))
	}
	return d
}
