package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// toImage lays a tensor [N, C, H, W] or [N, C, W] of float32 or 8-bit integers
// out as an image. The halo holds 0, or the given zero point of integers.
type toImage struct {
	axes int // of the tensor
	out  halo
	zero uint8
}

func (c *toImage) name() string { return "ToImage" }

func (c *toImage) eval(e *op.Eval) error {
	x := e.Tensor(0)
	switch {
	case x == nil || x.Rank() != c.axes:
		return e.Errorf(0, "want %d axes", c.axes)
	case x.DType() == tensor.Float32:
		e.SetOut(0, interleave(e, x, c.out, 0, e.Kernels.Transpose))
	case x.DType().Bits() == 8:
		e.SetOut(0, interleave(e, x, c.out, c.zero, kernel.TransposeBytes))
	default:
		return e.Errorf(0, "want float or 8-bit integers")
	}
	return nil
}

// transposer writes dst[c*ldd+r] = src[r*lds+c] for rows x cols elements.
type transposer[T any] func(dst []T, ldd int, src []T, lds, rows, cols int)

// transposeBlock is how many pixels are transposed at once, so that what is
// written in several passes stays in the cache.
const transposeBlock = 256

// interleave returns a tensor [N, C, H, W] or [N, C, W] as an image.
func interleave[T tensor.Elem](e *op.Eval, x *tensor.Tensor, out halo, border T, transpose transposer[T]) *tensor.Tensor {
	s := withRows(x.Shape())
	n, ch, h, w := s[0], s[1], s[2], s[3]
	if (ch == 1 || h*w == 1) && out == (halo{}) {
		return x.Reshape(tensor.Shape{n, h, w, ch})
	}
	y, t := newImage(e, x.DType(), n, h, w, ch, out, border)
	src := tensor.Data[T](x)
	rows(e, &y, func(i, lo, hi int) {
		from := src[i*ch*h*w:]
		if out == (halo{}) {
			spread(transpose, y.data[y.at(i, lo):], ch, from[lo*w:], h*w, (hi-lo)*w)
			return
		}
		for r := lo; r < hi; r++ {
			spread(transpose, y.row(i, r), ch, from[r*w:], h*w, w)
		}
	})
	return t
}

// spread interleaves ch planes of the given number of pixels each. For the
// three planes of a colour image a plain loop is faster than a transposition
// made for squares.
func spread[T any](transpose transposer[T], dst []T, ch int, src []T, plane, pixels int) {
	if ch != 3 {
		for at := 0; at < pixels; at += transposeBlock {
			transpose(dst[at*ch:], ch, src[at:], plane, ch, min(transposeBlock, pixels-at))
		}
		return
	}
	r, g, b := src[:pixels], src[plane:][:pixels], src[2*plane:][:pixels]
	dst = dst[:3*pixels]
	for i, v := range r {
		p := dst[3*i : 3*i+3 : 3*i+3]
		p[0], p[1], p[2] = v, g[i], b[i]
	}
}

// fromImage lays an image of float32 or 8-bit integers out as a tensor
// [N, C, H, W], or one of a single row as [N, C, W].
type fromImage struct {
	axes int // of the tensor
	in   halo
}

func (c *fromImage) name() string { return "FromImage" }

func (c *fromImage) eval(e *op.Eval) error {
	t, err := (*tensor.Tensor)(nil), error(nil)
	if x := e.Tensor(0); x != nil && x.DType().Bits() == 8 {
		t, err = separate(e, x, c.axes, c.in, kernel.TransposeBytes)
	} else {
		t, err = separate(e, x, c.axes, c.in, transposer[float32](e.Kernels.Transpose))
	}
	if err == nil {
		e.SetOut(0, t)
	}
	return err
}

// separate returns an image as a tensor [N, C, H, W], or, if axes is 3 and it
// has one row, [N, C, W].
func separate[T tensor.Elem](e *op.Eval, im *tensor.Tensor, axes int, in halo, transpose transposer[T]) (*tensor.Tensor, error) {
	x, err := imageOf[T](im, in)
	if err != nil {
		return nil, err
	}
	shape := tensor.Shape{x.n, x.c, x.h, x.w}
	if axes == 3 && x.h == 1 {
		shape = tensor.Shape{x.n, x.c, x.w}
	}
	if (x.c == 1 || x.h*x.w == 1) && in == (halo{}) {
		return im.Reshape(shape), nil
	}
	t := e.New(im.DType(), shape)
	dst := tensor.Data[T](t)
	pixels := x.h * x.w
	rows(e, &x, func(i, lo, hi int) {
		to := dst[i*x.c*pixels:]
		if in == (halo{}) {
			transpose(to[lo*x.w:], pixels, x.data[x.at(i, lo):], x.c, (hi-lo)*x.w, x.c)
			return
		}
		for r := lo; r < hi; r++ {
			transpose(to[r*x.w:], pixels, x.row(i, r), x.c, x.w, x.c)
		}
	})
	return t, nil
}
