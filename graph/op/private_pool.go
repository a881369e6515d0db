package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privatePoolDefs are the gradients of pools. They have the attributes of the
// pool; dy is the gradient by its result.
//
//	MaxPoolGrad (dy, x)                gradient by x of MaxPool
//	AveragePoolGrad (dy, shape of x)   the same of AveragePool
//	SumPoolGrad (dy, shape of x)       the same of a sum over the window
var privatePoolDefs = []*Def{
	{Domain: PrivateDomain, Name: "MaxPoolGrad", Since: 1, Cost: poolCost,
		Infer: func(c *Infer) error { c.SetOut(0, c.Elem(1), c.Shape(1)); return nil },
		Eval:  evalReal(0, evalMaxPoolGrad[float32], evalMaxPoolGrad[float64])},
	{Domain: PrivateDomain, Name: "AveragePoolGrad", Since: 1, Infer: inferShaped, Cost: poolCost,
		Eval: evalReal(0, evalSpread[float32](true), evalSpread[float64](true))},
	{Domain: PrivateDomain, Name: "SumPoolGrad", Since: 1, Infer: inferShaped, Cost: poolCost,
		Eval: evalReal(0, evalSpread[float32](false), evalSpread[float64](false))},
}

// gradPooling returns the pool of an image of shape xs whose result has the
// gradient dy, input 0.
func gradPooling(e *Eval, xs tensor.Shape) (*pooling, error) {
	p, err := poolingOf(&e.Call, xs)
	if err != nil {
		return nil, err
	}
	if !e.Tensor(0).Shape().Equal(p.shape) {
		return nil, e.Errorf(0, "want the shape %v of the pool's result", p.shape)
	}
	return p, nil
}

// evalMaxPoolGrad gives each gradient to the first greatest element of its
// window.
func evalMaxPoolGrad[T real](e *Eval) error {
	p, err := gradPooling(e, e.Tensor(1).Shape())
	if err != nil {
		return err
	}
	dy, x := realsOf[T](e, 0), realsOf[T](e, 1)
	dx := newResult[T](e, e.Tensor(1).DType(), e.Tensor(1).Shape())
	runs, step, pixels, plane := p.allRuns(), p.step(), p.pixels(), p.plane()
	p.each(e, func(in, out int) {
		best, places := make([]T, pixels), make([]int64, pixels)
		fillWith(best, T(math.Inf(-1)))
		fillWith(places, -1)
		for _, list := range runs {
			maxRunsIndexed(best, places, x[in:in+plane], list, step)
		}
		dst := dx.Data[in : in+plane]
		clear(dst)
		for i, at := range places {
			if at >= 0 {
				dst[at] += dy[out+i]
			}
		}
	})
	return setReal(e, 0, dx)
}

// evalSpread gives each gradient to all elements of its window, divided by
// their number for a mean.
func evalSpread[T real](mean bool) func(*Eval) error {
	return func(e *Eval) error {
		xs, err := e.shapeOperand(1)
		if err != nil {
			return err
		}
		p, err := gradPooling(e, xs)
		if err != nil {
			return err
		}
		dy := realsOf[T](e, 0)
		dx := newResult[T](e, e.Tensor(0).DType(), xs)
		runs, step, pixels, plane := p.allRuns(), p.step(), p.pixels(), p.plane()
		counts := p.counts(e.Node.Int("count_include_pad", 0) != 0)
		p.each(e, func(in, out int) {
			share := dy[out : out+pixels]
			if mean {
				share = make([]T, pixels)
				for i, n := range counts {
					share[i] = dy[out+i] / T(max(n, 1))
				}
			}
			dst := dx.Data[in : in+plane]
			clear(dst)
			for _, list := range runs {
				scatterRuns(dst, share, list, step)
			}
		})
		return setReal(e, 0, dx)
	}
}
