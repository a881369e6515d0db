package engine

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// qdepthwise is a convolution of each channel by itself, of uint8 images, with
// uint8 result:
//
//	y = Quantize(act(Conv(Dequantize(x), Dequantize(w)) + bias))
//
// Every window has all its taps: the halo of x holds its zero point.
type qdepthwise struct {
	window
	x       quantized
	weights []int8 // [kh, kw, channels], twice if int8 is too narrow for them
	in, out halo
	plans   cache[[2]int, []kernel.Tap] // by distance of rows, channels
	requantization
}

func (d *qdepthwise) name() string     { return "QDepthwise" }
func (d *qdepthwise) zeroPoint() uint8 { return uint8(d.x.zero) }

// newQDepthwise takes weights [channels, 1, kh, kw].
func newQDepthwise(w window, weights quantWeights, x quantized, r func(sums []int32) requantization) *qdepthwise {
	s := weights.shape
	d := &qdepthwise{window: w, x: x, requantization: r(weights.sums())}
	weights.order(func(w []int8) []int8 { return bytesLast(w, 1, s[0], s[2]*s[3]) })
	d.weights = slices.Concat(weights.data, weights.rest)
	return d
}

func (d *qdepthwise) eval(e *op.Eval) error {
	x, err := imageOf[uint8](e.Tensor(0), d.in)
	if err != nil {
		return err
	}
	if want := len(d.scale); x.c != want {
		return e.Errorf(0, "%v has %d channels, want %d", &x, x.c, want)
	}
	oh, top, err := d.over(0, x.h)
	if err != nil {
		return e.Errorf(0, "height: %w", err)
	}
	ow, left, err := d.over(1, x.w)
	if err != nil {
		return e.Errorf(0, "width: %w", err)
	}
	taps, err := d.plans.get([2]int{x.rowStep(), x.c}, func() ([]kernel.Tap, error) {
		once := d.tapList([4]int{0, d.kernel[0], 0, d.kernel[1]}, x.rowStep(), x.c)
		taps := slices.Clone(once)
		for at := len(once) * x.c; at < len(d.weights); at += len(once) * x.c {
			for _, tap := range once {
				taps = append(taps, kernel.Tap{In: tap.In, W: tap.W + int32(at)})
			}
		}
		return taps, nil
	})
	if err != nil {
		return fmt.Errorf("taps: %w", err)
	}
	y, t := newImage(e, tensor.Uint8, x.n, oh, ow, x.c, d.out, uint8(d.made().zero))
	grain := macsPerPiece/max(1, ow*len(d.weights)*2) + 1
	e.Parallel(x.n*oh, grain, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			from := x.at(i/oh, i%oh*d.stride[0]-top) - left*x.c
			row := y.row(i/oh, i%oh)
			e.Kernels.DepthwiseU8S8(&kernel.DepthwiseU8S8{
				Window: kernel.Window{Taps: taps, W: ow, C: x.c, InStep: d.stride[1] * x.c, OutStep: x.c},
				In:     x.data[from:], Out: row, Weights: d.weights,
				Bias: d.bias, Scale: d.scale, Lo: d.lo, Hi: d.hi, Zero: d.result.zero,
			})
			if d.table != nil {
				e.Kernels.Lookup(row, row, &d.table.bytes)
			}
		}
	})
	e.SetOut(0, t)
	return nil
}
