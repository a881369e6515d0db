package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// lossDefs holds losses of classification.
var lossDefs = []*Def{
	{Name: "NegativeLogLikelihoodLoss", Since: 12, Infer: inferLoss, Cost: perInput(2),
		Eval: func(e *Eval) error { return evalLoss(e, tensor.Float64s(e.Tensor(0))) }},
	{Name: "SoftmaxCrossEntropyLoss", Since: 12, Infer: inferCrossEntropy, Eval: evalCrossEntropy, Cost: perInput(14)},
}

// lossDims checks the scores' shape [N,C,d1,…] and returns N, C and the
// product of the others.
func lossDims(e *Eval) (n, c, d int, err error) {
	s := e.Tensor(0).Shape()
	if len(s) < 2 {
		return 0, 0, 0, e.Errorf(0, "has %d axes, want at least 2", len(s))
	}
	if want := withoutAxes(s, []int{1}); !e.Tensor(1).Shape().Equal(want) {
		return 0, 0, 0, e.Errorf(1, "labels have another shape than %v", want)
	}
	if w := e.Tensor(2); w != nil && w.Len() != s[1] {
		return 0, 0, 0, e.Errorf(2, "want one weight for each of %d classes", s[1])
	}
	return s[0], s[1], s[2:].Len(), nil
}

// evalLoss sets result 0 to the loss -w[t]*logp[t] of every label t, or to
// its sum or weighted mean. Labels equal to ignore_index do not count.
func evalLoss(e *Eval, logp []float64) error {
	n, c, d, err := lossDims(e)
	if err != nil {
		return err
	}
	var classes []float64
	if w := e.Tensor(2); w != nil {
		classes = tensor.Float64s(w)
	}
	ignored, ignores := int64(0), false
	if e.Node.Attr("ignore_index") != nil {
		ignored, ignores = e.Node.Int("ignore_index", 0), true
	}
	losses := make([]float64, n*d)
	total, weight := 0.0, 0.0
	for i, label := range tensor.Int64s(e.Tensor(1)) {
		if ignores && label == ignored {
			continue
		}
		if label < 0 || label >= int64(c) {
			return e.Errorf(1, "label %d is outside [0,%d]", label, c-1)
		}
		w := 1.0
		if classes != nil {
			w = classes[label]
		}
		losses[i] = -w * logp[(i/d*c+int(label))*d+i%d]
		total += losses[i]
		weight += w
	}
	dt := e.Tensor(0).DType()
	switch r := e.Node.Str("reduction", "mean"); r {
	case "none":
		e.SetOut(0, tensor.FromFloat64s(dt, e.Tensor(1).Shape(), losses))
	case "sum":
		e.SetOut(0, tensor.FromFloat64s(dt, tensor.Shape{}, []float64{total}))
	case "mean":
		e.SetOut(0, tensor.FromFloat64s(dt, tensor.Shape{}, []float64{total / weight}))
	default:
		return fmt.Errorf("attribute reduction is %q, want none, sum or mean", r)
	}
	return nil
}

// evalCrossEntropy is the loss of the logarithm of the softmax over axis 1,
// which is result 1.
func evalCrossEntropy(e *Eval) error {
	if _, _, _, err := lossDims(e); err != nil {
		return err
	}
	t := e.Tensor(0)
	logp := tensor.New(tensor.Float64, t.Shape())
	mapLanes(e, newLanes(t.Shape(), 1), tensor.Data[float64](logp), tensor.Float64s(t), func(dst, src []float64) {
		lse := logSumExp(src)
		for i, x := range src {
			dst[i] = x - lse
		}
		if math.IsInf(lse, 0) {
			logSoftmax(dst, src)
		}
	})
	e.SetOut(1, cast(logp, t.DType()))
	return evalLoss(e, tensor.Data[float64](logp))
}

func inferLoss(c *Infer) error {
	var s graph.Dims
	switch {
	case c.Node.Str("reduction", "mean") != "none":
		s = graph.Dims{}
	case c.Shape(1) != nil:
		s = c.Shape(1)
	case len(c.Shape(0)) >= 2:
		s = withoutAxes(c.Shape(0), []int{1})
	}
	c.SetOut(0, c.Elem(0), s)
	return nil
}

func inferCrossEntropy(c *Infer) error {
	c.SetOut(1, c.Elem(0), c.Shape(0))
	return inferLoss(c)
}
