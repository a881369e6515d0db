package op

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// real is a type in which operators calculate: float64 for tensors of that
// type, float32 for all narrower ones, whose results are rounded at the end.
type real interface{ float32 | float64 }

// byReal runs the form of an operator that suits elements of type d.
func byReal(d tensor.DType, e *Eval, single, double func(*Eval) error) error {
	if d == tensor.Float64 {
		return double(e)
	}
	return single(e)
}

// evalReal makes a rule out of the two forms, chosen by the type of input i.
func evalReal(i int, single, double func(*Eval) error) func(*Eval) error {
	return func(e *Eval) error {
		return byReal(e.Tensor(i).DType(), e, single, double)
	}
}

// realsOf returns the elements of input i as reals, nil if it is omitted.
func realsOf[T real](e *Eval, i int) []T {
	if t := e.Tensor(i); t != nil {
		return reals[T](t)
	}
	return nil
}

// reals returns the elements of t as reals, shared with t if it has that type.
func reals[T real](t *tensor.Tensor) []T {
	var x []T
	switch p := any(&x).(type) {
	case *[]float32:
		*p = tensor.Float32s(t)
	case *[]float64:
		*p = tensor.Float64s(t)
	}
	return x
}

// result is a tensor in the making, calculated in Data.
type result[T real] struct {
	Data []T
	t    *tensor.Tensor
}

// newResult allocates a result whose elements are of type d.
func newResult[T real](e *Eval, d tensor.DType, s tensor.Shape) *result[T] {
	r := &result[T]{t: e.New(d, s)}
	if isReal[T](d) {
		r.Data = tensor.Data[T](r.t)
	} else {
		r.Data = make([]T, s.Len())
	}
	return r
}

// setReal hands over a result, rounded to its type.
func setReal[T real](e *Eval, i int, r *result[T]) error {
	if !isReal[T](r.t.DType()) {
		if err := tensor.ConvertTo(r.t, tensor.Of(r.t.Shape(), r.Data), true, tensor.RoundUp); err != nil {
			return err
		}
	}
	e.SetOut(i, r.t)
	return nil
}

func isReal[T real](d tensor.DType) bool {
	var x T
	switch any(x).(type) {
	case float32:
		return d == tensor.Float32
	default:
		return d == tensor.Float64
	}
}

// kernels returns the table that a call is to use.
func (e *Eval) kernels() *kernel.Table {
	if e.Kernels == nil || e.Kernels.GemmF32.Tile == nil {
		return kernel.Generic()
	}
	return e.Kernels
}
