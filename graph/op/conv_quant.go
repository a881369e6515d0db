package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// centered returns the integers of input i less their zero point, input zero:
// none, one for all, or one for each index of an axis.
func centered(e *Eval, i, zero, axis int) ([]int32, error) {
	t := e.Tensor(i)
	q := int32s(t)
	z := e.Tensor(zero)
	if z == nil {
		return q, nil
	}
	zeros := int32s(z)
	if len(zeros) == 1 {
		if zeros[0] != 0 {
			for j := range q {
				q[j] -= zeros[0]
			}
		}
		return q, nil
	}
	axis, err := tensor.Axis(axis, t.Rank())
	if err != nil || len(zeros) != t.Shape()[axis] {
		return nil, e.Errorf(zero, "zero point does not fit axis %d of %v", axis, t.Shape())
	}
	inner := volume(t.Shape()[axis+1:])
	for j := range q {
		q[j] -= zeros[j/inner%len(zeros)]
	}
	return q, nil
}

// int32s returns a copy of integer elements.
func int32s(t *tensor.Tensor) []int32 {
	switch t.DType() {
	case tensor.Uint8:
		return widenInts(tensor.Data[uint8](t))
	case tensor.Int8:
		return widenInts(tensor.Data[int8](t))
	case tensor.Uint16:
		return widenInts(tensor.Data[uint16](t))
	case tensor.Int16:
		return widenInts(tensor.Data[int16](t))
	}
	return widenInts(tensor.Int64s(t))
}

func widenInts[T uint8 | int8 | uint16 | int16 | int64](x []T) []int32 {
	out := make([]int32, len(x))
	for i, v := range x {
		out[i] = int32(v)
	}
	return out
}

// evalConvInteger computes ConvInteger.
func evalConvInteger(e *Eval) error {
	c, err := newConvolution(e, 1)
	if err != nil {
		return err
	}
	x, err := centered(e, 0, 2, 0)
	if err != nil {
		return err
	}
	w, err := centered(e, 1, 3, 0)
	if err != nil {
		return err
	}
	y := e.New(tensor.Int32, c.shape())
	convolve(e, c, x, w, nil, tensor.Data[int32](y))
	e.SetOut(0, y)
	return nil
}

// evalQLinearConv computes QLinearConv: inputs x, its scale and zero point, w
// likewise, scale and zero point of y, and an int32 bias of scale x*w.
func evalQLinearConv(e *Eval) error {
	c, err := newConvolution(e, 3)
	if err != nil {
		return err
	}
	x, err := centered(e, 0, 2, 1)
	if err != nil {
		return err
	}
	w, err := centered(e, 3, 5, 0)
	if err != nil {
		return err
	}
	var bias []int32
	if b := e.Tensor(8); b != nil {
		if bias = int32s(b); len(bias) != c.Filters {
			return e.Errorf(8, "bias has %d elements, want %d", len(bias), c.Filters)
		}
	}
	sums := make([]int32, c.shape().Len())
	convolve(e, c, x, w, bias, sums)
	r, err := newRequantizer(e, 1, 4, 6, 7, c.Filters)
	if err != nil {
		return err
	}
	y := e.New(e.Tensor(7).DType(), c.shape())
	pixels := c.pixels()
	e.Parallel(c.Batch*c.Filters, max(1, 1<<15/max(1, pixels)), func(lo, hi int) {
		for u := lo; u < hi; u++ {
			r.put(y, u*pixels, sums[u*pixels:][:pixels], u%c.Filters)
		}
	})
	e.SetOut(0, y)
	return nil
}

// requantizer turns int32 sums of products of quantized operands into
// quantized results: round(sum*Scale) + Zero, rounding half to even and
// saturating.
type requantizer struct {
	Scale []float32 // one, or one per channel
	Zero  int32
	clip  func(dst *tensor.Tensor, at int, src []int32, scale float32, zero int32)
}

// newRequantizer reads the scales of both operands and the result (inputs a, b
// and y) and the result's zero point. b may have a scale for each of some
// channels.
func newRequantizer(e *Eval, a, b, y, zero, channels int) (*requantizer, error) {
	sa, sb, sy := tensor.Float32s(e.Tensor(a)), tensor.Float32s(e.Tensor(b)), tensor.Float32s(e.Tensor(y))
	if len(sa) != 1 {
		return nil, e.Errorf(a, "scale has %d elements, want 1", len(sa))
	}
	if len(sy) != 1 {
		return nil, e.Errorf(y, "scale has %d elements, want 1", len(sy))
	}
	if len(sb) != 1 && len(sb) != channels {
		return nil, e.Errorf(b, "scale has %d elements, want 1 or %d", len(sb), channels)
	}
	r := &requantizer{Scale: make([]float32, len(sb))}
	for i, s := range sb {
		r.Scale[i] = sa[0] * s / sy[0]
	}
	z := e.Tensor(zero)
	if z == nil || z.Len() != 1 {
		return nil, e.Errorf(zero, "want one zero point")
	}
	r.Zero = int32s(z)[0]
	if z.DType() == tensor.Int8 {
		r.clip = requantize[int8]
	} else {
		r.clip = requantize[uint8]
	}
	return r, nil
}

// put requantizes the sums of one channel into dst from element at on.
func (r *requantizer) put(dst *tensor.Tensor, at int, sums []int32, channel int) {
	r.clip(dst, at, sums, r.Scale[channel%len(r.Scale)], r.Zero)
}

func requantize[Q int8 | uint8](dst *tensor.Tensor, at int, src []int32, scale float32, zero int32) {
	lo, hi := quantRange[Q]()
	out := tensor.Data[Q](dst)[at : at+len(src)]
	for i, v := range src {
		q := float32(math.RoundToEven(float64(float32(v)*scale))) + float32(zero)
		out[i] = Q(min(max(q, lo), hi))
	}
}

func quantRange[Q int8 | uint8]() (lo, hi float32) {
	if ^Q(0) > 0 {
		return 0, 255
	}
	return -128, 127
}
