package tensor

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Shape is the extent of a tensor along each axis; an empty shape is a scalar.
type Shape []int

// Len returns the number of elements. It panics if a dimension is negative
// or the product overflows; check shapes from outside with Check first.
func (s Shape) Len() int {
	n, err := s.check()
	if err != nil {
		panic("tensor: " + err.Error())
	}
	return n
}

// Check reports why s cannot be the shape of a tensor: a negative dimension,
// or more elements than an int can count.
func (s Shape) Check() error {
	_, err := s.check()
	return err
}

func (s Shape) check() (int, error) {
	n := 1
	empty := false
	for i, d := range s {
		switch {
		case d < 0:
			return 0, fmt.Errorf("shape %v: dimension %d is negative", s, i)
		case d == 0:
			empty = true
		case n > math.MaxInt/16/d:
			return 0, fmt.Errorf("shape %v has too many elements", s)
		default:
			n *= d
		}
	}
	if empty {
		return 0, nil
	}
	return n, nil
}

// Equal reports whether two shapes have the same rank and dimensions.
func (s Shape) Equal(t Shape) bool { return slices.Equal(s, t) }

// Clone returns a copy that shares nothing with s.
func (s Shape) Clone() Shape { return append(Shape{}, s...) }

// Strides returns the row-major distance, in elements, between neighbours
// along each axis.
func (s Shape) Strides() []int {
	st := make([]int, len(s))
	n := 1
	for i := len(s) - 1; i >= 0; i-- {
		st[i] = n
		n *= s[i]
	}
	return st
}

// String returns the dimensions as "[2,3,4]".
func (s Shape) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, d)
	}
	b.WriteByte(']')
	return b.String()
}

// Broadcast returns the shape that the given shapes broadcast to under
// NumPy's rules (ONNX docs/Broadcasting.md), or an error that names the two
// dimensions that disagree.
func Broadcast(shapes ...Shape) (Shape, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make(Shape, rank)
	for i := range out {
		out[i] = 1
	}
	for _, s := range shapes {
		for i, d := range s {
			o := &out[rank-len(s)+i]
			switch {
			case d == 1 || d == *o:
			case *o == 1:
				*o = d
			default:
				return nil, fmt.Errorf("shapes %v do not broadcast: %d against %d on axis %d", shapes, d, *o, rank-len(s)+i)
			}
		}
	}
	return out, nil
}

// Axis maps an axis that may be negative (counted from the end) to
// 0..rank-1, or returns an error that states the range.
func Axis(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("axis %d is outside [%d,%d] of a tensor with %d axes", axis, -rank, rank-1, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}
