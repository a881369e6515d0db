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

// weightScales returns the scales with which a weight is quantized
// symmetrically to int8, w = scale*q: one for each index of axis, or one for
// all if axis is -1. peaks are the largest magnitudes that have to be at most
// 127 in scale; floor, if not nil, bounds each scale from below.
func weightScales(peaks, floor []float64) []float32 {
	scales := make([]float32, len(peaks))
	for c, peak := range peaks {
		s := peak / 127
		if floor != nil {
			s = max(s, floor[c])
		}
		if scales[c] = float32(s); scales[c] < 1e-30 { // of nothing but zeros
			scales[c] = 1
		}
	}
	return scales
}

// quantizeWeight returns round(w/scale), within -127 and 127.
func quantizeWeight(w *tensor.Tensor, axis int, scales []float32) *tensor.Tensor {
	channel, _ := channelOf(w.Shape(), axis)
	x := tensor.Float64s(w)
	q := make([]int8, len(x))
	for i, v := range x {
		r := math.RoundToEven(v / float64(scales[channel(i)]))
		q[i] = int8(min(max(r, -127), 127))
	}
	return tensor.Of(w.Shape(), q)
}

// peaks returns the largest magnitude for each index of axis.
func peaks(w *tensor.Tensor, axis int) []float64 {
	channel, n := channelOf(w.Shape(), axis)
	p := make([]float64, n)
	for i, v := range tensor.Float64s(w) {
		c := channel(i)
		p[c] = max(p[c], math.Abs(v))
	}
	return p
}

// pairPeaks raises peaks to the largest sum of two neighbours of one sign, so
// that no two products with an uint8 exceed 16 bits when they are added:
// 255*(127+1) < 1<<15, rounding included. order lists the positions of one
// output channel's weights in the order in which a runtime may pair them.
func pairPeaks(p []float64, w *tensor.Tensor, order func(channel int) []int) {
	x := tensor.Float64s(w)
	for c := range p {
		at := order(c)
		for k := 1; k < len(at); k++ {
			a, b := x[at[k-1]], x[at[k]]
			if a*b > 0 {
				p[c] = max(p[c], math.Abs(a+b))
			}
		}
	}
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
