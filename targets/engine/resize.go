package engine

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// resizeImage repeats every pixel of an image a whole number of times along
// either axis.
type resizeImage struct {
	times   [2]int // height, width
	bytes   bool   // uint8 or int8, not float32
	zero    uint8  // in the halo of an 8-bit result
	in, out halo
	into    *joined
}

func (r *resizeImage) name() string { return "Resize" }

// resize returns the operator for a Resize or Upsample of an image to a
// multiple of its size by nearest pixels, nil if n is none.
func (l *layout) resize(n *graph.Node) *resizeImage {
	if n.Str("mode", "nearest") != "nearest" || n.Ints("axes") != nil {
		return nil
	}
	var scales []float32
	if v := n.In(n.NumIn() - 1); n.Op == "Upsample" && n.NumIn() < 2 {
		scales = n.Floats("scales")
	} else if s, ok := l.floats(v); ok && (n.NumIn() == 2 || n.NumIn() == 3) {
		scales = s[0]
	}
	if len(scales) != 4 || scales[0] != 1 || scales[1] != 1 {
		return nil
	}
	r := &resizeImage{}
	for i := range r.times {
		r.times[i] = int(scales[i+2])
		if r.times[i] < 1 || float32(r.times[i]) != scales[i+2] {
			return nil
		}
	}
	if !repeatsPixels(n, max(r.times[0], r.times[1])) {
		return nil
	}
	return r
}

// repeatsPixels reports whether resizing by a whole number of up to times
// takes pixel i/times for pixel i.
func repeatsPixels(n *graph.Node, times int) bool {
	if n.Op == "Upsample" || n.Opset() < 11 {
		return true
	}
	rounding := n.Str("nearest_mode", "round_prefer_floor")
	switch n.Str("coordinate_transformation_mode", "half_pixel") {
	case "asymmetric":
		return rounding == "floor" || times <= 2 && rounding == "round_prefer_floor"
	case "half_pixel":
		return rounding == "round_prefer_floor" || rounding == "round_prefer_ceil"
	}
	return false
}

func (r *resizeImage) eval(e *op.Eval) error {
	if r.bytes {
		return resizePixels(e, r, r.zero)
	}
	return resizePixels[float32](e, r, 0)
}

func resizePixels[T tensor.Elem](e *op.Eval, r *resizeImage, border T) error {
	x, err := imageOf[T](e.Tensor(0), r.in)
	if err != nil {
		return err
	}
	y, t, err := newPart(e, r.into, e.Tensor(0).DType(), x.n, x.h*r.times[0], x.w*r.times[1], x.c, r.out, border)
	if err != nil {
		return err
	}
	rows(e, &x, func(n, lo, hi int) {
		for i := lo; i < hi; i++ {
			first := y.row(n, i*r.times[0])
			repeatPixels(e.Kernels, first, x.row(n, i), x.c, y.step(), r.times[1])
			for k := 1; k < r.times[0]; k++ {
				to := y.row(n, i*r.times[0]+k)
				if y.gap == 0 {
					copy(to, first)
				} else {
					repeatPixels(e.Kernels, to, x.row(n, i), x.c, y.step(), r.times[1])
				}
			}
		}
	})
	e.SetOut(0, t)
	return nil
}

// repeatPixels repeats each of the pixels of c channels that src holds, to pixels
// that are step apart.
func repeatPixels[T tensor.Elem](k *kernel.Table, dst, src []T, c, step, times int) {
	if len(src) == 0 {
		return
	}
	if times == 1 && step == c {
		copy(dst, src)
		return
	}
	for i := range times {
		copyPixels(k, dst[i*step:], times*step, src, c)
	}
}
