package engine

import (
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// unaryGrain is how many elements of an activation are worth a thread.
const unaryGrain = 16 << 10

// unary applies an activation to every element of a float32 tensor.
type unary struct{ act activation }

func (u *unary) name() string { return u.act.name }

func (u *unary) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.DType() != tensor.Float32 {
		return e.Errorf(0, "want float")
	}
	y := e.New(tensor.Float32, x.Shape())
	src, dst := tensor.Data[float32](x), tensor.Data[float32](y)
	e.Parallel(len(src), unaryGrain, func(lo, hi int) {
		u.act.run(e.Kernels, dst[lo:hi], src[lo:hi])
	})
	e.SetOut(0, y)
	return nil
}

// unaryImage applies an activation to every pixel of an image.
type unaryImage struct {
	act     activation
	in, out halo
}

func (u *unaryImage) name() string { return u.act.name }

func (u *unaryImage) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), u.in)
	if err != nil {
		return err
	}
	y, t := newImage[float32](e, tensor.Float32, x.n, x.h, x.w, x.c, u.out, 0)
	rows(e, &x, func(n, lo, hi int) {
		for i := lo; i < hi; i++ {
			u.act.run(e.Kernels, y.row(n, i), x.row(n, i))
		}
	})
	e.SetOut(0, t)
	return nil
}

// rows runs f over ranges of rows of the images, of which a thread gets
// unaryGrain elements or more.
func rows[T tensor.Elem](e *op.Eval, im *image[T], f func(n, lo, hi int)) {
	grain := unaryGrain/max(1, im.w*im.c) + 1
	e.Parallel(im.n*im.h, grain, func(lo, hi int) {
		for lo < hi {
			n, y := lo/im.h, lo%im.h
			end := min(im.h, y+hi-lo)
			f(n, y, end)
			lo += end - y
		}
	})
}
