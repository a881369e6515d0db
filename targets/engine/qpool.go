package engine

import (
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// qmaxPool takes the maximum of a window of 8-bit images. Padding does not
// count.
type qmaxPool struct {
	window
	typ     tensor.DType // Uint8 or Int8
	zero    uint8        // in the halo of the result
	in, out halo
}

func (p *qmaxPool) name() string { return "QMaxPool" }

func (p *qmaxPool) eval(e *op.Eval) error {
	x, err := imageOf[uint8](e.Tensor(0), p.in)
	if err != nil {
		return err
	}
	oh, top, err := p.over(0, x.h)
	if err != nil {
		return e.Errorf(0, "height: %w", err)
	}
	ow, left, err := p.over(1, x.w)
	if err != nil {
		return e.Errorf(0, "width: %w", err)
	}
	y, t := newImage(e, p.typ, x.n, oh, ow, x.c, p.out, p.zero)
	rows(e, &y, func(n, lo, hi int) {
		s := byteBlocks.Get().(*[2][]uint8)
		for i := range s {
			if need := max(x.w, ow*p.stride[1]) * x.c; cap(s[i]) < need {
				s[i] = make([]uint8, need)
			}
		}
		for i := lo; i < hi; i++ {
			tallest := p.down(e.Kernels, s[0][:x.w*x.c], &x, n, i*p.stride[0]-top)
			p.along(e.Kernels, y.row(n, i), s[1], tallest, x.c, left)
		}
		byteBlocks.Put(s)
	})
	e.SetOut(0, t)
	return nil
}

// joins sets dst to the greater of a and b, byte by byte.
func (p *qmaxPool) joins(k *kernel.Table, dst, a, b []uint8) {
	if p.typ == tensor.Int8 {
		k.MaxS8(dst, a, b)
		return
	}
	k.MaxU8(dst, a, b)
}

// least fills dst with the least number.
func (p *qmaxPool) least(dst []uint8) {
	low := quantized{typ: p.typ}
	fill(dst, uint8(low.low()))
}

// byteBlocks lends scratch for rows of bytes.
var byteBlocks = sync.Pool{New: func() any { return new([2][]uint8) }}

// down returns the maximum, column by column, of the rows of the window that
// begins at row y, in dst if there are several.
func (p *qmaxPool) down(k *kernel.Table, dst []uint8, x *image[uint8], n, y int) []uint8 {
	var found []uint8
	for i := range p.kernel[0] {
		at := y + i*p.dilation[0]
		if at < 0 || at >= x.h {
			continue
		}
		row := x.row(n, at)
		if found == nil {
			found = row
			continue
		}
		p.joins(k, dst, found, row)
		found = dst
	}
	if found == nil {
		p.least(dst)
		return dst
	}
	return found
}

// along sets dst to the maximum of windows along a row, the first of which
// begins left pixels before it. Windows at every pixel are computed, in wide,
// and those of the stride taken.
func (p *qmaxPool) along(k *kernel.Table, dst, wide, row []uint8, c, left int) {
	stride, width := p.stride[1], len(row)/c
	count := len(dst) / c
	if stride == 1 {
		wide = dst
	}
	reach := (count-1)*stride + 1
	wide = wide[:reach*c]
	p.least(wide)
	for i := range p.kernel[1] {
		shift := i*p.dilation[1] - left
		lo, hi := max(0, -shift), min(reach, width-shift)
		if lo < hi {
			p.joins(k, wide[lo*c:hi*c], wide[lo*c:hi*c], row[(lo+shift)*c:])
		}
	}
	if stride > 1 {
		for i := range count {
			copy(dst[i*c:(i+1)*c], wide[i*stride*c:])
		}
	}
}

// qglobalPool takes the mean of all pixels of 8-bit images; the result is
// 8-bit, or float32 if the type of result is Undefined:
//
//	y = Quantize(GlobalAveragePool(Dequantize(x)))
type qglobalPool struct {
	x, result quantized
	in, out   halo
}

func (p *qglobalPool) name() string { return "QGlobalAveragePool" }

func (p *qglobalPool) eval(e *op.Eval) error {
	x, err := imageOf[uint8](e.Tensor(0), p.in)
	if err != nil {
		return err
	}
	mean, t := newImage[float32](e, tensor.Float32, x.n, 1, 1, x.c, halo{}, 0)
	e.Parallel(x.n, byteGrain/max(1, x.h*x.w*x.c)+1, func(lo, hi int) {
		counts := make([]int32, x.w*x.c)
		for n := lo; n < hi; n++ {
			p.means(e.Kernels, mean.row(n, 0), counts, &x, n)
		}
	})
	if p.result.typ == tensor.Undefined {
		e.SetOut(0, padded(e, mean, t, p.out))
		return nil
	}
	y, out := newImage(e, p.result.typ, x.n, 1, 1, x.c, p.out, uint8(p.result.zero))
	for n := range x.n {
		p.result.quantize(e.Kernels, y.row(n, 0), mean.row(n, 0))
	}
	e.SetOut(0, out)
	return nil
}

// padded returns an image with a halo of zeros.
func padded(e *op.Eval, x image[float32], t *tensor.Tensor, out halo) *tensor.Tensor {
	if out == (halo{}) {
		return t
	}
	y, t := newImage[float32](e, tensor.Float32, x.n, x.h, x.w, x.c, out, 0)
	for n := range x.n {
		for i := range x.h {
			copy(y.row(n, i), x.row(n, i))
		}
	}
	return t
}

// means sets dst to the mean of each channel of image n: rows are added to one
// row of sums, and its pixels to the first.
func (p *qglobalPool) means(k *kernel.Table, dst []float32, counts []int32, x *image[uint8], n int) {
	clear(counts)
	for y := range x.h {
		row := x.row(n, y)
		if p.x.typ == tensor.Int8 {
			for i, v := range signed(row) {
				counts[i] += int32(v)
			}
			continue
		}
		k.CountU8(counts, row)
	}
	pixels := x.h * x.w
	for c := range dst {
		sum := -p.x.zero * int32(pixels)
		for i := c; i < len(counts); i += x.c {
			sum += counts[i]
		}
		dst[c] = float32(float64(sum) * float64(p.x.scale) / float64(pixels))
	}
}
