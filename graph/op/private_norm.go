package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privateNormDefs are what gradients of normalizations are made of.
//
//	BatchNormalizationGrad (dy, x, scale)   gradients by x, scale and bias of
//	                                        BatchNormalization in training form
//	Standardize <axes, epsilon> (x)         u = (x-mean)/sqrt(variance+epsilon)
//	StandardizeGrad <axes, epsilon> (du, x) gradient by x from that by u
var privateNormDefs = []*Def{
	{Domain: PrivateDomain, Name: "BatchNormalizationGrad", Since: 1, Infer: inferBatchNormGrad, Cost: perInput(10),
		Eval: evalReal(0, evalBatchNormGrad[float32], evalBatchNormGrad[float64])},
	{Domain: PrivateDomain, Name: "Standardize", Since: 1, Infer: inferSame, Cost: perInput(6),
		Eval: evalReal(0, evalStandardize[float32], evalStandardize[float64])},
	{Domain: PrivateDomain, Name: "StandardizeGrad", Since: 1, Infer: inferSame, Cost: perInput(10),
		Eval: evalReal(0, evalStandardizeGrad[float32], evalStandardizeGrad[float64])},
}

func inferBatchNormGrad(c *Infer) error {
	c.SetOut(0, c.Elem(0), c.Shape(1))
	c.SetOut(1, c.Elem(0), c.Shape(2))
	c.SetOut(2, c.Elem(0), c.Shape(2))
	return nil
}

// evalBatchNormGrad: with u = (x-mean) r, r = 1/sqrt(var+eps), over the n
// elements of a channel, dbias = sum(dy), dscale = sum(dy u), and
// dx = scale r (dy - dbias/n - u dscale/n).
func evalBatchNormGrad[T real](e *Eval) error {
	dy, x, scale := realsOf[T](e, 0), realsOf[T](e, 1), realsOf[T](e, 2)
	s := e.Tensor(1).Shape()
	m := planes{1, 1, 1}
	switch len(s) {
	case 0:
		return e.Errorf(1, "want a batch axis")
	case 1:
		m.Batch = s[0]
	default:
		m = planes{s[0], s[1], volume(s[2:])}
	}
	switch {
	case !e.Tensor(0).Shape().Equal(s):
		return e.Errorf(0, "want the shape %v of the input", s)
	case len(scale) != m.Channels:
		return e.Errorf(2, "want an element for each of %d channels", m.Channels)
	}
	eps, k := float64(e.Node.Float("epsilon", 1e-5)), e.kernels()
	d, each := e.Tensor(0).DType(), tensor.Shape{m.Channels}
	dx, dscale, dbias := newResult[T](e, d, s), newResult[T](e, d, each), newResult[T](e, d, each)
	count := float64(max(1, m.Batch*m.Pixels))
	e.Parallel(m.Channels, 1, func(lo, hi int) {
		scratch := make([]T, m.Pixels)
		for c := lo; c < hi; c++ {
			mean, variance := momentsOf(k, m, x, c, scratch)
			r := 1 / math.Sqrt(float64(variance)+eps)
			sum, centred := 0.0, 0.0
			for n := range m.Batch {
				g := planeOf(m, dy, n, c)
				addScalar(k, scratch, planeOf(m, x, n, c), -mean)
				sum += float64(rowSum(k, g))
				centred += float64(rowDot(k, g, scratch))
			}
			dscale.Data[c], dbias.Data[c] = T(centred*r), T(sum)
			a := float64(scale[c]) * r
			for n := range m.Batch {
				dst := planeOf(m, dx.Data, n, c)
				addScalar(k, dst, planeOf(m, x, n, c), -mean)
				mulScalar(k, dst, dst, T(-a*r*r*centred/count))
				axpy(k, dst, planeOf(m, dy, n, c), T(a))
				addScalar(k, dst, dst, T(-a*sum/count))
			}
		}
	})
	for i, r := range []*result[T]{dx, dscale, dbias} {
		if err := setReal(e, i, r); err != nil {
			return err
		}
	}
	return nil
}

// standardLanes are the lanes that a Standardize runs over.
func standardLanes(e *Eval) (*lanes, float64, error) {
	s := e.Tensor(0).Shape()
	over, err := axes(toInts(e.Node.Ints("axes")), len(s))
	if err != nil {
		return nil, 0, e.Errorf(0, "%w", err)
	}
	return newLanes(s, over...), float64(e.Node.Float("epsilon", 1e-5)), nil
}

func evalStandardize[T real](e *Eval) error {
	l, eps, err := standardLanes(e)
	if err != nil {
		return err
	}
	y := newResult[T](e, e.Tensor(0).DType(), e.Tensor(0).Shape())
	mapLanes(e, l, y.Data, realsOf[T](e, 0), func(dst, src []T) { standardizeRow(e.kernels(), dst, src, eps) })
	return setReal(e, 0, y)
}

// standardizeRow sets dst to (src - mean) * r and returns r, the inverse of
// sqrt(variance + eps).
func standardizeRow[T real](k *kernel.Table, dst, src []T, eps float64) T {
	n := T(max(1, len(src)))
	addScalar(k, dst, src, -rowSum(k, src)/n)
	r := T(1 / math.Sqrt(float64(rowDot(k, dst, dst)/n)+eps))
	mulScalar(k, dst, dst, r)
	return r
}

// evalStandardizeGrad: dx = r (du - mean(du) - u mean(du u)).
func evalStandardizeGrad[T real](e *Eval) error {
	l, eps, err := standardLanes(e)
	if err != nil {
		return err
	}
	if !e.Tensor(1).Shape().Equal(e.Tensor(0).Shape()) {
		return e.Errorf(1, "want the shape %v of the gradient", e.Tensor(0).Shape())
	}
	du, x, k := realsOf[T](e, 0), realsOf[T](e, 1), e.kernels()
	dx := newResult[T](e, e.Tensor(0).DType(), e.Tensor(0).Shape())
	e.Parallel(l.count, l.laneGrain(), func(lo, hi int) {
		g, in, dst := make([]T, l.size), make([]T, l.size), make([]T, l.size)
		n := T(max(1, l.size))
		for i := lo; i < hi; i++ {
			grad := readLane(l, i, du, g)
			r := standardizeRow(k, dst, readLane(l, i, x, in), eps)
			mulScalar(k, dst, dst, -rowDot(k, grad, dst)/n)
			axpy(k, dst, grad, 1)
			addScalar(k, dst, dst, -rowSum(k, grad)/n)
			mulScalar(k, dst, dst, r)
			writeLane(l, i, dx.Data, dst)
		}
	})
	return setReal(e, 0, dx)
}
