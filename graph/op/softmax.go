package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// softmaxDefs holds the normalizations of a lane to a distribution.
var softmaxDefs = []*Def{
	{Name: "Softmax", Since: 1, Infer: inferSame, Eval: evalSoftmax, Cost: perElement(12), Axes: axesSoftmax},
	{Name: "LogSoftmax", Since: 1, Infer: inferSame, Eval: evalLogSoftmax, Cost: perElement(12), Axes: axesSoftmax},
	{Name: "Hardmax", Since: 1, Infer: inferSame, Eval: evalHardmax, Cost: perElement(1), Axes: axesSoftmax},
}

var axesSoftmax = axesAlong(softmaxAxes, "its elements are normalized together")

// softmaxLanes returns the lanes that are normalized: along one axis, the last
// by default, or below version 13 along all axes from the given one, 1 by
// default.
func softmaxLanes(e *Eval) (*lanes, error) {
	s := e.Tensor(0).Shape()
	def := int64(-1)
	if e.Version < 13 {
		def = 1
	}
	axis := int(e.Node.Int("axis", def))
	if e.Version < 13 && axis == len(s) {
		return newLanes(s), nil
	}
	if len(s) == 0 && (axis == 0 || axis == -1) {
		return newLanes(s), nil
	}
	axis, err := tensor.Axis(axis, len(s))
	if err != nil {
		return nil, e.Errorf(0, "%v", err)
	}
	if e.Version >= 13 {
		return newLanes(s, axis), nil
	}
	var all []int
	for a := axis; a < len(s); a++ {
		all = append(all, a)
	}
	return newLanes(s, all...), nil
}

// laneMap evaluates a function of lanes in float32, or in float64 for Float64.
func laneMap(e *Eval, f32 func(dst, src []float32), f64 func(dst, src []float64)) error {
	l, err := softmaxLanes(e)
	if err != nil {
		return err
	}
	t := e.Tensor(0)
	x := widened(t)
	y := e.New(x.DType(), x.Shape())
	switch x.DType() {
	case tensor.Float32:
		mapLanes(e, l, tensor.Data[float32](y), tensor.Data[float32](x), f32)
	case tensor.Float64:
		mapLanes(e, l, tensor.Data[float64](y), tensor.Data[float64](x), f64)
	default:
		return e.Errorf(0, "elements of type %v are not served", t.DType())
	}
	e.SetOut(0, cast(y, t.DType()))
	return nil
}

func evalSoftmax(e *Eval) error {
	return laneMap(e, e.Kernels.Softmax, func(dst, src []float64) {
		top, total := maxOf(src), 0.0
		for i, x := range src {
			dst[i] = math.Exp(x - top)
			total += dst[i]
		}
		for i := range dst {
			dst[i] /= total
		}
	})
}

func evalLogSoftmax(e *Eval) error { return laneMap(e, logSoftmax[float32], logSoftmax[float64]) }

// logSoftmax is x - max - log(sum of e^(x-max)).
func logSoftmax[T float32 | float64](dst, src []T) {
	top, total := maxOf(src), 0.0
	for _, x := range src {
		total += math.Exp(float64(x - top))
	}
	log := T(math.Log(total))
	for i, x := range src {
		dst[i] = x - top - log
	}
}

func evalHardmax(e *Eval) error { return laneMap(e, hardmax[float32], hardmax[float64]) }

// hardmax is 1 for the first largest element and 0 for the others.
func hardmax[T float32 | float64](dst, src []T) {
	clear(dst)
	if len(src) == 0 {
		return
	}
	best := 0
	for i, x := range src {
		if x > src[best] || x != x && src[best] == src[best] {
			best = i
		}
	}
	dst[best] = 1
}

// maxOf returns the largest element, -Inf if there is none, NaN if there is
// one.
func maxOf[T float32 | float64](x []T) T {
	m := T(math.Inf(-1))
	for _, v := range x {
		m = max(m, v)
	}
	return m
}
