package onnxgo

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph/tensor"
	gorgonia "gorgonia.org/tensor"
)

// FromGorgonia returns t as a tensor of ours. The elements are shared, unless
// they do not lie in row-major order, or are of Go's type int.
func FromGorgonia(t gorgonia.Tensor) (*tensor.Tensor, error) {
	d, ok := t.(*gorgonia.Dense)
	if !ok {
		return nil, fmt.Errorf("tensor is a %T, want a dense one", t)
	}
	if d.RequiresIterator() || d.DataOrder().IsColMajor() {
		if d, ok = d.Materialize().(*gorgonia.Dense); !ok || d.RequiresIterator() || d.DataOrder().IsColMajor() {
			return nil, fmt.Errorf("tensor of shape %v does not lie in row-major order", t.Shape())
		}
	}
	shape := tensor.Shape(d.Shape()).Clone()
	switch x := d.Data().(type) {
	case []float32:
		return shared(shape, x)
	case []float64:
		return shared(shape, x)
	case []int8:
		return shared(shape, x)
	case []int16:
		return shared(shape, x)
	case []int32:
		return shared(shape, x)
	case []int64:
		return shared(shape, x)
	case []uint8:
		return shared(shape, x)
	case []uint16:
		return shared(shape, x)
	case []uint32:
		return shared(shape, x)
	case []uint64:
		return shared(shape, x)
	case []bool:
		return shared(shape, x)
	case []complex64:
		return shared(shape, x)
	case []complex128:
		return shared(shape, x)
	case []int:
		wide := make([]int64, len(x))
		for i, n := range x {
			wide[i] = int64(n)
		}
		return shared(shape, wide)
	case []string:
		if len(x) != shape.Len() {
			return nil, countError(shape, len(x))
		}
		return tensor.OfStrings(shape, x), nil
	default:
		return fromScalar(shape, x)
	}
}

// fromScalar takes the element that gorgonia gives out in place of a slice.
func fromScalar(shape tensor.Shape, x any) (*tensor.Tensor, error) {
	switch x := x.(type) {
	case float32:
		return shared(shape, []float32{x})
	case float64:
		return shared(shape, []float64{x})
	case int8:
		return shared(shape, []int8{x})
	case int16:
		return shared(shape, []int16{x})
	case int32:
		return shared(shape, []int32{x})
	case int64:
		return shared(shape, []int64{x})
	case int:
		return shared(shape, []int64{int64(x)})
	case uint8:
		return shared(shape, []uint8{x})
	case uint16:
		return shared(shape, []uint16{x})
	case uint32:
		return shared(shape, []uint32{x})
	case uint64:
		return shared(shape, []uint64{x})
	case bool:
		return shared(shape, []bool{x})
	case complex64:
		return shared(shape, []complex64{x})
	case complex128:
		return shared(shape, []complex128{x})
	case string:
		return tensor.OfStrings(shape, []string{x}), nil
	}
	return nil, fmt.Errorf("elements are %T, which ONNX has no type for", x)
}

func shared[T tensor.Elem](shape tensor.Shape, x []T) (*tensor.Tensor, error) {
	if len(x) != shape.Len() {
		return nil, countError(shape, len(x))
	}
	return tensor.Of(shape, x), nil
}

func countError(shape tensor.Shape, n int) error {
	return fmt.Errorf("tensor of shape %v has %d elements, want %d", shape, n, shape.Len())
}

// ToGorgonia returns t as a tensor of gorgonia's over the same elements.
// Gorgonia has no half floats, eight-bit floats, or elements of less than a
// byte.
func ToGorgonia(t *tensor.Tensor) (*gorgonia.Dense, error) {
	switch t.DType() {
	case tensor.Float32:
		return dense(t, tensor.Data[float32](t)), nil
	case tensor.Float64:
		return dense(t, tensor.Data[float64](t)), nil
	case tensor.Int8:
		return dense(t, tensor.Data[int8](t)), nil
	case tensor.Int16:
		return dense(t, tensor.Data[int16](t)), nil
	case tensor.Int32:
		return dense(t, tensor.Data[int32](t)), nil
	case tensor.Int64:
		return dense(t, tensor.Data[int64](t)), nil
	case tensor.Uint8:
		return dense(t, tensor.Data[uint8](t)), nil
	case tensor.Uint16:
		return dense(t, tensor.Data[uint16](t)), nil
	case tensor.Uint32:
		return dense(t, tensor.Data[uint32](t)), nil
	case tensor.Uint64:
		return dense(t, tensor.Data[uint64](t)), nil
	case tensor.Bool:
		return dense(t, tensor.Data[bool](t)), nil
	case tensor.Complex64:
		return dense(t, tensor.Data[complex64](t)), nil
	case tensor.Complex128:
		return dense(t, tensor.Data[complex128](t)), nil
	case tensor.String:
		return dense(t, t.Strings()), nil
	}
	return nil, fmt.Errorf("%v has elements that gorgonia has no type for", t)
}

func dense[T any](t *tensor.Tensor, x []T) *gorgonia.Dense {
	if t.Rank() == 0 {
		return gorgonia.New(gorgonia.FromScalar(x[0]))
	}
	return gorgonia.New(gorgonia.WithShape(t.Shape()...), gorgonia.WithBacking(x))
}
