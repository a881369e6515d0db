package op

import "github.com/onnxpack/onnxpack/graph/tensor"

// privateLossDefs are gradients of losses:
//
//	NegativeLogLikelihoodGrad (dloss, labels, weights, shape of scores)
//
// with the attributes of NegativeLogLikelihoodLoss; weights may be omitted.
var privateLossDefs = []*Def{
	{Domain: PrivateDomain, Name: "NegativeLogLikelihoodGrad", Since: 1, Infer: inferShaped, Eval: evalLikelihoodGrad, Cost: perElement(1)},
}

// evalLikelihoodGrad gives each label's score minus its weight, times the
// gradient of its loss: of the sum, or of the mean over the weights.
func evalLikelihoodGrad(e *Eval) error {
	s, err := e.shapeOperand(3)
	if err != nil {
		return err
	}
	labels := e.Tensor(1)
	if len(s) < 2 || !labels.Shape().Equal(withoutAxes(s, []int{1})) {
		return e.Errorf(1, "labels have another shape than %v without axis 1", s)
	}
	weights, total, err := labelWeights(e, s[1])
	if err != nil {
		return err
	}
	dloss := tensor.Float64s(e.Tensor(0))
	reduction := e.Node.Str("reduction", "mean")
	if reduction != "none" && len(dloss) != 1 || reduction == "none" && len(dloss) != len(weights) {
		return e.Errorf(0, "does not fit reduction %q of %d labels", reduction, len(weights))
	}
	out := make([]float64, s.Len())
	d := s[2:].Len()
	for i, label := range tensor.Int64s(labels) {
		if weights[i] == 0 {
			continue
		}
		g := dloss[0]
		switch reduction {
		case "none":
			g = dloss[i]
		case "mean":
			g /= total
		}
		out[(i/d*s[1]+int(label))*d+i%d] = -weights[i] * g
	}
	e.SetOut(0, tensor.FromFloat64s(e.Tensor(0).DType(), s, out))
	return nil
}

// labelWeights returns the weight of every label, zero where it is ignored,
// and their sum.
func labelWeights(e *Eval, classes int) (weights []float64, total float64, err error) {
	var each []float64
	if w := e.Tensor(2); w != nil {
		if each = tensor.Float64s(w); len(each) != classes {
			return nil, 0, e.Errorf(2, "want one weight for each of %d classes", classes)
		}
	}
	ignored, ignores := e.Node.Int("ignore_index", 0), e.Node.Attr("ignore_index") != nil
	weights = make([]float64, e.Tensor(1).Len())
	for i, label := range tensor.Int64s(e.Tensor(1)) {
		if ignores && label == ignored {
			continue
		}
		if label < 0 || label >= int64(classes) {
			return nil, 0, e.Errorf(1, "label %d is outside [0,%d]", label, classes-1)
		}
		weights[i] = 1
		if each != nil {
			weights[i] = each[label]
		}
		total += weights[i]
	}
	return weights, total, nil
}
