package engine

import (
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// toImage lays a float32 tensor [N, C, H, W] out as an image.
type toImage struct{ out halo }

func (c *toImage) name() string { return "ToImage" }

func (c *toImage) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.Rank() != 4 || x.DType() != tensor.Float32 {
		return e.Errorf(0, "want float with 4 axes")
	}
	s := x.Shape()
	n, ch, h, w := s[0], s[1], s[2], s[3]
	if (ch == 1 || h*w == 1) && c.out == (halo{}) {
		e.SetOut(0, x.Reshape(tensor.Shape{n, h, w, ch}))
		return nil
	}
	y, t := newImage[float32](e, tensor.Float32, n, h, w, ch, c.out, 0)
	src := tensor.Data[float32](x)
	rows(e, &y, func(i, lo, hi int) {
		from := src[i*ch*h*w:]
		if y.halo == (halo{}) {
			e.Kernels.Transpose(y.data[y.at(i, lo):], ch, from[lo*w:], h*w, ch, (hi-lo)*w)
			return
		}
		for r := lo; r < hi; r++ {
			e.Kernels.Transpose(y.row(i, r), ch, from[r*w:], h*w, ch, w)
		}
	})
	e.SetOut(0, t)
	return nil
}

// fromImage lays an image out as a float32 tensor [N, C, H, W].
type fromImage struct{ in halo }

func (c *fromImage) name() string { return "FromImage" }

func (c *fromImage) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), c.in)
	if err != nil {
		return err
	}
	shape := tensor.Shape{x.n, x.c, x.h, x.w}
	if (x.c == 1 || x.h*x.w == 1) && c.in == (halo{}) {
		e.SetOut(0, e.Tensor(0).Reshape(shape))
		return nil
	}
	t := e.New(tensor.Float32, shape)
	dst := tensor.Data[float32](t)
	pixels := x.h * x.w
	rows(e, &x, func(i, lo, hi int) {
		to := dst[i*x.c*pixels:]
		if x.halo == (halo{}) {
			e.Kernels.Transpose(to[lo*x.w:], pixels, x.data[x.at(i, lo):], x.c, (hi-lo)*x.w, x.c)
			return
		}
		for r := lo; r < hi; r++ {
			e.Kernels.Transpose(to[r*x.w:], pixels, x.row(i, r), x.c, x.w, x.c)
		}
	})
	e.SetOut(0, t)
	return nil
}
