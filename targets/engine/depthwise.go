package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// depthwise is a convolution of each channel by itself, of float32 images,
// with bias and activation.
type depthwise struct {
	window
	weights []float32 // [kh, kw, channels]
	bias    []float32 // nil if none
	act     activation
	in, out halo
	plans   cache[[2]int, *slide] // by height, width
}

func (d *depthwise) name() string {
	if d.act.name != "" {
		return "Depthwise+" + d.act.name
	}
	return "Depthwise"
}

// newDepthwise takes weights [channels, 1, kh, kw].
func newDepthwise(w window, weights *tensor.Tensor, bias []float32, act activation) *depthwise {
	s := weights.Shape()
	taps := s[2] * s[3]
	flat := channelsLast(tensor.Data[float32](weights), 1, s[0], taps)
	return &depthwise{window: w, weights: flat, bias: bias, act: act}
}

func (d *depthwise) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), d.in)
	if err != nil {
		return err
	}
	if want := len(d.weights) / (d.kernel[0] * d.kernel[1]); x.c != want {
		return e.Errorf(0, "%v has %d channels, want %d", &x, x.c, want)
	}
	p, err := d.plans.get([2]int{x.h, x.w}, func() (*slide, error) { return d.slideOver(x.h, x.w, x.rowStep(), x.c) })
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y, t := newImage[float32](e, tensor.Float32, x.n, p.oh, p.ow, x.c, d.out, 0)
	grain := macsPerPiece/max(1, p.ow*len(d.weights)*4) + 1
	e.Parallel(x.n*p.oh, grain, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			d.row(e.Kernels, p.rows[i%p.oh], x.data[x.at(i/p.oh, 0):], 0, y.row(i/p.oh, i%p.oh), x.c)
		}
	})
	e.SetOut(0, t)
	return nil
}

// row computes a row of the result. x begins shift elements after the image's
// first pixel.
func (d *depthwise) row(k *kernel.Table, runs []slideRun, x []float32, shift int, y []float32, channels int) {
	call := kernel.DepthwiseF32{
		Weights: d.weights, Bias: d.bias,
		Window: kernel.Window{C: channels, InStep: d.stride[1] * channels, OutStep: channels},
	}
	call.Lo, call.Hi = d.act.limits()
	for _, r := range runs {
		call.In, call.Out = x[r.in-shift:], y[r.x*channels:]
		call.Taps, call.W = r.taps, r.w
		k.DepthwiseF32(&call)
	}
	if d.act.apply != nil {
		d.act.apply(k, y, y)
	}
}
