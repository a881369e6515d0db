package op

import (
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privateSelectDefs are the gradients of operators that select elements.
//
//	ScatterSum (dy, places, shape)       a tensor of zeros, to which dy[i] is
//	                                     added at the row-major place places[i],
//	                                     counted from 1; 0 is nowhere
//	GatherGrad <axis> (dy, indices, shape of data)
var privateSelectDefs = []*Def{
	{Domain: PrivateDomain, Name: "ScatterSum", Since: 1, Infer: inferShaped, Cost: perInput(1),
		Eval: evalReal(0, evalScatterSum[float32], evalScatterSum[float64])},
	{Domain: PrivateDomain, Name: "GatherGrad", Since: 1, Infer: inferShaped, Cost: perInput(1),
		Eval: evalReal(0, evalGatherGrad[float32], evalGatherGrad[float64])},
}

func evalScatterSum[T real](e *Eval) error {
	s, err := e.shapeOperand(2)
	if err != nil {
		return err
	}
	places := e.Tensor(1)
	if places.DType() != tensor.Int64 || places.Len() != e.Tensor(0).Len() {
		return e.Errorf(1, "want a place for each of %d elements", e.Tensor(0).Len())
	}
	dy := realsOf[T](e, 0)
	dx := newResult[T](e, e.Tensor(0).DType(), s)
	clear(dx.Data)
	for i, p := range tensor.Data[int64](places) {
		switch {
		case p < 0 || p > int64(len(dx.Data)):
			return e.Errorf(1, "place %d is outside [0,%d]", p, len(dx.Data))
		case p > 0:
			dx.Data[p-1] += dy[i]
		}
	}
	return setReal(e, 0, dx)
}

// evalGatherGrad adds the rows of dy, in order, to those that the indices
// select.
func evalGatherGrad[T real](e *Eval) error {
	s, err := e.shapeOperand(2)
	if err != nil {
		return err
	}
	axis, err := tensor.Axis(int(e.Node.Int("axis", 0)), len(s))
	if err != nil {
		return e.Errorf(2, "%w", err)
	}
	list, err := indices(e.Tensor(1), s[axis])
	if err != nil {
		return e.Errorf(1, "%w", err)
	}
	before, row := volume(s[:axis]), volume(s[axis+1:])
	dy := realsOf[T](e, 0)
	if len(dy) != before*len(list)*row {
		return e.Errorf(0, "want %d elements", before*len(list)*row)
	}
	dx := newResult[T](e, e.Tensor(0).DType(), s)
	clear(dx.Data)
	k := e.kernels()
	for b := range before {
		for j, at := range list {
			axpy(k, dx.Data[(b*s[axis]+at)*row:][:row], dy[(b*len(list)+j)*row:][:row], 1)
		}
	}
	return setReal(e, 0, dx)
}
