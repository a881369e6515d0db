package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// evalLpNorm divides each vector along axis by its norm of order p.
func evalLpNorm[T real](e *Eval) error {
	s := e.Tensor(0).Shape()
	axis, err := tensor.Axis(int(e.Node.Int("axis", -1)), len(s))
	if err != nil {
		return e.Errorf(0, "%v", err)
	}
	p := e.Node.Int("p", 2)
	if p != 1 && p != 2 {
		return fmt.Errorf("attribute p is %d, want 1 or 2", p)
	}
	norm := lp[T]{float64(p)}
	y := newResult[T](e, e.Tensor(0).DType(), s)
	mapLanes(e, newLanes(s, axis), y.Data, realsOf[T](e, 0), func(dst, src []T) {
		sum := T(0)
		for _, v := range src {
			sum += norm.term(v)
		}
		root := norm.root(sum)
		for i, v := range src {
			if dst[i] = 0; root != 0 {
				dst[i] = v / root
			}
		}
	})
	return setReal(e, 0, y)
}

// evalMeanVariance computes MeanVarianceNormalization over its axes (the
// batch and the spatial ones by default).
func evalMeanVariance[T real](e *Eval) error {
	s := e.Tensor(0).Shape()
	over, err := meanVarianceAxes(&e.Call, len(s))
	if err != nil {
		return e.Errorf(0, "%v", err)
	}
	slices.Sort(over)
	deviation := e.Version >= 9 || e.Node.Int("normalize_variance", 1) != 0
	y := newResult[T](e, e.Tensor(0).DType(), s)
	mapLanes(e, newLanes(s, over...), y.Data, realsOf[T](e, 0), func(dst, src []T) {
		var m moments
		for _, v := range src {
			m.add(float64(v))
		}
		const eps = 1e-9
		scale := 1.0
		if deviation {
			scale = 1 / (math.Sqrt(m.variance()) + eps)
		}
		for i, v := range src {
			dst[i] = T((float64(v) - m.mean) * scale)
		}
	})
	return setReal(e, 0, y)
}

func meanVarianceAxes(c *Call, rank int) ([]int, error) {
	if list := toInts(c.Node.Ints("axes")); len(list) > 0 {
		return axes(list, rank)
	}
	over := []int{0, 2, 3}
	if c.Version < 9 && c.Node.Int("across_channels", 0) != 0 {
		over = []int{0, 1, 2, 3}
	}
	return axes(over, rank)
}

// evalLRN divides each element by a power of the sum of squares of the
// channels around it.
func evalLRN[T real](e *Eval) error {
	m, err := newImage(e)
	if err != nil {
		return err
	}
	size := int(e.Node.Int("size", 0))
	if size < 1 {
		return fmt.Errorf("attribute size is %d, want at least 1", size)
	}
	alpha, beta := float64(e.Node.Float("alpha", 1e-4)), float64(e.Node.Float("beta", 0.75))
	bias := float64(e.Node.Float("bias", 1))
	x := realsOf[T](e, 0)
	y := newResult[T](e, e.Tensor(0).DType(), e.Tensor(0).Shape())
	m.each(e, func(c, from, to int) {
		first := max(0, c-(size-1)/2)
		last := min(m.Channels-1, c+size/2)
		for i := from; i < to; i++ {
			sum := 0.0
			for k := first; k <= last; k++ {
				v := float64(x[i+(k-c)*m.Pixels])
				sum += v * v
			}
			y.Data[i] = T(float64(x[i]) / math.Pow(bias+alpha/float64(size)*sum, beta))
		}
	})
	return setReal(e, 0, y)
}

func inferDropout(c *Infer) error {
	mask := tensor.Bool
	if c.Version < 10 {
		mask = c.Elem(0)
	}
	c.SetOut(1, mask, c.Shape(0))
	return inferSame(c)
}

// evalDropoutFixed computes the versions of Dropout that do not train.
func evalDropoutFixed(e *Eval) error {
	keepAll(e)
	return nil
}

// keepAll gives the input, and a mask that keeps every element.
func keepAll(e *Eval) {
	x := e.Tensor(0)
	e.SetOut(0, x)
	if !e.Wants(1) {
		return
	}
	if e.Version < 10 {
		ones := make([]float32, x.Len())
		fillWith(ones, 1)
		e.SetOut(1, tensor.FromFloat32s(x.DType(), x.Shape(), ones))
		return
	}
	mask := make([]bool, x.Len())
	fillWith(mask, true)
	e.SetOut(1, tensor.Of(x.Shape(), mask))
}

// evalDropout computes Dropout with ratio and training_mode as inputs: in
// training, elements are dropped with probability ratio and the others scaled
// by 1/(1-ratio).
func evalDropout(e *Eval) error {
	x := e.Tensor(0)
	ratio := 0.5
	if t := e.Tensor(1); t != nil {
		if t.Len() != 1 {
			return e.Errorf(1, "want one number")
		}
		ratio = tensor.Float64s(t)[0]
	}
	train := false
	if t := e.Tensor(2); t != nil {
		if t.Len() != 1 {
			return e.Errorf(2, "want one truth value")
		}
		train = tensor.Data[bool](t)[0]
	}
	if !train || ratio == 0 {
		keepAll(e)
		return nil
	}
	if !(ratio > 0 && ratio < 1) {
		return e.Errorf(1, "ratio is %v, want at least 0 and less than 1", ratio)
	}
	draw := dropoutSource(e)
	mask := make([]bool, x.Len())
	y := newResult[float64](e, x.DType(), x.Shape())
	for i, v := range tensor.Float64s(x) {
		mask[i] = draw.Float64() >= ratio
		y.Data[i] = 0
		if mask[i] {
			y.Data[i] = v / (1 - ratio)
		}
	}
	e.SetOut(1, tensor.Of(x.Shape(), mask))
	return setReal(e, 0, y)
}

// dropoutSource draws numbers of [0,1): from attribute seed where it is given,
// else from the source of the call.
func dropoutSource(e *Eval) interface{ Float64() float64 } {
	if e.Node.Attr("seed") != nil || e.Rand == nil {
		return newMersenne(uint32(e.Node.Int("seed", 0)))
	}
	return e.Rand
}
