package engine

import (
	"math"
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// pool takes the maximum or the mean of a window of float32 images. Padding
// counts for neither, unless the mean is of whole windows.
//
// The maximum is taken down the columns of the window first, of whole rows of
// the image, and then along the row of what was found: a window of 5x5 pixels
// takes 10 steps, not 25, and memory is read in its order.
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
	oh, top, err := p.over(0, x.h)
	if err != nil {
		return e.Errorf(0, "height: %w", err)
	}
	s, err := p.plans.get([3]int{x.h, x.w, x.c}, func() (*slide, error) { return p.slideOver(x.h, x.w, x.rowStep(), x.c) })
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y, t, err := newPart[float32](e, p.into, tensor.Float32, x.n, oh, s.ow, x.c, p.out, 0)
	if err != nil {
		return err
	}
	grain := unaryGrain/max(1, s.ow*x.c) + 1
	e.Parallel(x.n*oh, grain, func(lo, hi int) {
		if p.max {
			p.maxima(e.Kernels, s, &x, &y, top, lo, hi)
			return
		}
		for i := lo; i < hi; i++ {
			p.row(e.Kernels, s.rows[i%oh], x.data[x.at(i/oh, 0):], y.row(i/oh, i%oh), x.c, y.step())
		}
	})
	e.SetOut(0, t)
	return nil
}

// slideOver is that of the window, or for a maximum of its rows.
func (p *pool) slideOver(h, w, step, c int) (*slide, error) {
	window := p.window
	if p.max {
		window.kernel[0], h = 1, 1
		window.stride[0], window.before[0], window.after[0] = 1, 0, 0
	}
	return window.slideOver(h, w, step, c)
}

// rowScratch lends rows of float32.
var rowScratch = sync.Pool{New: func() any { return new([]float32) }}

// maxima computes the rows [lo, hi) of all of y's.
func (p *pool) maxima(k *kernel.Table, s *slide, x, y *image[float32], top, lo, hi int) {
	buf := rowScratch.Get().(*[]float32)
	if len(*buf) < x.w*x.c {
		var mem slab
		*buf = mem.floats(x.w * x.c)
	}
	for i := lo; i < hi; i++ {
		n, row := i/y.h, i%y.h
		first := row*p.stride[0] - top
		from, to := p.inside(0, first, x.h)
		tallest := (*buf)[:x.w*x.c]
		switch to - from {
		case 0:
			fill(tallest, float32(math.Inf(-1)))
		case 1:
			tallest = x.row(n, first+from*p.dilation[0])
		default:
			k.Max(tallest, x.row(n, first+from*p.dilation[0]), x.row(n, first+(from+1)*p.dilation[0]))
			for at := from + 2; at < to; at++ {
				k.Max(tallest, tallest, x.row(n, first+at*p.dilation[0]))
			}
		}
		p.row(k, s.rows[0], tallest, y.row(n, row), x.c, y.step())
	}
	rowScratch.Put(buf)
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
