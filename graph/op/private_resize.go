package op

import "github.com/onnxpack/onnxpack/graph/tensor"

// privateResizeDefs holds the gradient of Resize:
//
//	ResizeGrad (x, roi, scales, sizes, dy)
//
// with the attributes of Resize; only the shape of x matters.
var privateResizeDefs = []*Def{
	{Domain: PrivateDomain, Name: "ResizeGrad", Since: 1, Infer: inferSame, Cost: perElement(8),
		Eval: evalReal(0, evalResizeGrad[float32], evalResizeGrad[float64])},
}

// evalResizeGrad gives each gradient to the elements that made its result, by
// their weights, one axis after the other.
func evalResizeGrad[T real](e *Eval) error {
	call := *e
	call.Version = 19 // where arguments stand, and what attributes mean
	r, err := readResize(&call)
	if err != nil {
		return err
	}
	x, dy := e.Tensor(0), e.Tensor(4)
	shape := tensor.Shape(r.sizes).Clone()
	if !dy.Shape().Equal(shape) {
		return e.Errorf(4, "want the shape %v of the result", shape)
	}
	data := reals[T](dy)
	for axis, n := range x.Shape() {
		if n == shape[axis] && r.scales[axis] == 1 {
			continue
		}
		list, err := r.axisTaps(axis, n)
		if err != nil {
			return err
		}
		data = spreadAxis(e, data, list, volume(shape[:axis]), n, volume(shape[axis+1:]))
		shape[axis] = n
	}
	dx := newResult[T](e, x.DType(), x.Shape())
	copy(dx.Data, data)
	return setReal(e, 0, dx)
}

// spreadAxis is the transpose of resampling the middle axis of a tensor
// [before, n, after] to one position for each of the taps.
func spreadAxis[T real](e *Eval, src []T, list []taps, before, n, after int) []T {
	dst := make([]T, before*n*after)
	k := e.kernels()
	e.Parallel(before, max(1, grain/max(1, n*after)), func(lo, hi int) {
		for b := lo; b < hi; b++ {
			for o, t := range list {
				from := src[(b*len(list)+o)*after:][:after]
				for i, at := range t.at {
					axpy(k, dst[(b*n+at)*after:][:after], from, T(t.weights[i]))
				}
			}
		}
	})
	return dst
}
