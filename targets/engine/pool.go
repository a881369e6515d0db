package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// pool takes the maximum or the mean of a window of float32 images. Padding
// counts for neither, unless the mean is of whole windows.
type pool struct {
	window
	max     bool
	whole   bool // the mean divides by the window's size, padding included
	in, out halo
	into    *joined
	plans   cache[[3]int, *slide] // by height, width, channels
}

func (p *pool) name() string {
	if p.max {
		return "MaxPool"
	}
	return "AveragePool"
}

func (p *pool) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), p.in)
	if err != nil {
		return err
	}
	s, err := p.plans.get([3]int{x.h, x.w, x.c}, func() (*slide, error) { return p.slideOver(x.h, x.w, x.rowStep(), x.c) })
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y, t, err := newPart[float32](e, p.into, tensor.Float32, x.n, s.oh, s.ow, x.c, p.out, 0)
	if err != nil {
		return err
	}
	grain := unaryGrain/max(1, s.ow*x.c) + 1
	e.Parallel(x.n*s.oh, grain, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			p.row(e.Kernels, s.rows[i%s.oh], x.data[x.at(i/s.oh, 0):], y.row(i/s.oh, i%s.oh), x.c, y.step())
		}
	})
	e.SetOut(0, t)
	return nil
}

func (p *pool) row(k *kernel.Table, runs []slideRun, x, y []float32, channels, step int) {
	call := kernel.Pool{
		Window: kernel.Window{C: channels, InStep: p.stride[1] * channels, OutStep: step},
		Factor: 1,
	}
	reduce := k.PoolMax
	if !p.max {
		reduce = k.PoolSum
	}
	for _, r := range runs {
		call.In, call.Out = x[r.in:], y[r.x*step:]
		call.Taps, call.W = r.taps, r.w
		if !p.max {
			count := len(r.taps)
			if p.whole {
				count = p.kernel[0] * p.kernel[1]
			}
			call.Factor = 1 / float32(count)
		}
		reduce(&call)
	}
}

// globalPool takes the mean, or the maximum, of all pixels of float32 images.
type globalPool struct {
	max     bool
	in, out halo
	plans   cache[[3]int, []kernel.Tap] // by height, width, channels
}

func (p *globalPool) name() string {
	if p.max {
		return "GlobalMaxPool"
	}
	return "GlobalAveragePool"
}

func (p *globalPool) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), p.in)
	if err != nil {
		return err
	}
	taps, err := p.plans.get([3]int{x.h, x.w, x.c}, func() ([]kernel.Tap, error) {
		w := window{kernel: [2]int{x.h, x.w}, dilation: [2]int{1, 1}}
		return w.tapList([4]int{0, x.h, 0, x.w}, x.rowStep(), x.c), nil
	})
	if err != nil {
		return err
	}
	y, t := newImage[float32](e, tensor.Float32, x.n, 1, 1, x.c, p.out, 0)
	factor := 1 / float32(len(taps))
	reduce := e.Kernels.PoolSum
	if p.max {
		factor, reduce = 1, e.Kernels.PoolMax
	}
	const block = 64 // channels
	across := (x.c + block - 1) / block
	e.Parallel(x.n*across, unaryGrain/max(1, block*len(taps))+1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			n, c := i/across, i%across*block
			reduce(&kernel.Pool{
				Window: kernel.Window{Taps: taps, W: 1, C: min(block, x.c-c)},
				In:     x.data[x.at(n, 0)+c:], Out: y.row(n, 0)[c:], Factor: factor,
			})
		}
	})
	e.SetOut(0, t)
	return nil
}
