package quantize

import (
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// params turn a real x into round(x/scale) + zero, an uint8.
type params struct {
	scale float32
	zero  uint8
}

// activationParams returns the parameters whose 256 levels cover [lo, hi],
// widened to hold zero. The scale is rounded up to seven bits, so that it does
// not depend on the last bits of the numbers observed, which differ between
// CPUs.
func activationParams(lo, hi float64) params {
	lo, hi = min(lo, 0), max(hi, 0)
	scale := roundUp((hi - lo) / 255)
	if scale == 0 {
		return params{scale: 1}
	}
	zero := math.RoundToEven(-lo / float64(scale))
	return params{scale, uint8(min(max(zero, 0), 255))}
}

// roundUp rounds a positive number up to seven significant bits.
func roundUp(x float64) float32 {
	f, e := math.Frexp(x)
	return float32(math.Ldexp(math.Ceil(f*128)/128, e))
}

// bounds returns the least and the largest number that p represents.
func (p params) bounds() (lo, hi float64) {
	return float64(p.scale) * -float64(p.zero), float64(p.scale) * (255 - float64(p.zero))
}

// quantize rounds x to a level, half to even.
func (p params) quantize(x float64) uint8 {
	return uint8(min(max(math.RoundToEven(x/float64(p.scale))+float64(p.zero), 0), 255))
}

// weightParams quantizes a weight symmetrically to int8: w = scale*q, one
// scale for each index of axis, or one for all if axis is -1. limit is the
// largest magnitude of q: 127, or 64 where two products with uint8 have to fit
// in 16 bits. floor bounds each scale from below.
func weightParams(w *tensor.Tensor, axis int, limit float64, floor []float64) (q *tensor.Tensor, scales []float32) {
	channel, n := channelOf(w.Shape(), axis)
	largest := make([]float64, n)
	x := tensor.Float64s(w)
	for i, v := range x {
		largest[channel(i)] = max(largest[channel(i)], math.Abs(v))
	}
	scales = make([]float32, n)
	for c := range scales {
		s := largest[c] / limit
		if floor != nil {
			s = max(s, floor[c])
		}
		if scales[c] = float32(s); scales[c] < 1e-30 { // of nothing but zeros
			scales[c] = 1
		}
	}
	out := make([]int8, len(x))
	for i, v := range x {
		r := math.RoundToEven(v / float64(scales[channel(i)]))
		out[i] = int8(min(max(r, -limit), limit))
	}
	return tensor.Of(w.Shape(), out), scales
}

// channelOf returns the function from an element's position to its index on
// axis, and the number of indices; a negative axis has one.
func channelOf(s tensor.Shape, axis int) (func(i int) int, int) {
	if axis < 0 {
		return func(int) int { return 0 }, 1
	}
	stride := s.Strides()[axis]
	return func(i int) int { return i / stride % s[axis] }, s[axis]
}

// biasParams quantizes a bias to int32 with the scales of the products that it
// is added to.
func biasParams(b []float64, scales []float32) *tensor.Tensor {
	q := make([]int32, len(b))
	for i, v := range b {
		r := math.RoundToEven(v / float64(scales[min(i, len(scales)-1)]))
		q[i] = int32(min(max(r, math.MinInt32), math.MaxInt32))
	}
	return tensor.Vector(q...)
}

// scaleFloor returns the least weight scales with which a bias fits in int32,
// with two bits to spare, when the input has the scale x.
func scaleFloor(b []float64, x float32) []float64 {
	floor := make([]float64, len(b))
	for i, v := range b {
		floor[i] = math.Abs(v) / (float64(x) * (1 << 29))
	}
	return floor
}
