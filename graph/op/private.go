package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privateDefs holds the operators of PrivateDomain.
var privateDefs = []*Def{
	// ReduceTo(x, shape) sums x over the axes that broadcasting shape to x's
	// shape would make or widen.
	{Domain: PrivateDomain, Name: "ReduceTo", Since: 1, Infer: inferReduceTo, Eval: evalReduceTo, Cost: perInput(1)},
}

func inferReduceTo(c *Infer) error {
	c.SetOut(0, c.Elem(0), c.Dims(1))
	return nil
}

func evalReduceTo(e *Eval) error {
	x, to := e.Tensor(0), e.Tensor(1)
	shape := make(tensor.Shape, 0, to.Len())
	for _, d := range tensor.Int64s(to) {
		shape = append(shape, int(d))
	}
	lead := x.Rank() - len(shape)
	if lead < 0 {
		return e.Errorf(0, "does not reduce to %v", shape)
	}
	var over []int
	for axis, d := range x.Shape() {
		switch {
		case axis < lead || shape[axis-lead] == 1 && d != 1:
			over = append(over, axis)
		case shape[axis-lead] != d:
			return e.Errorf(0, "does not reduce to %v", shape)
		}
	}
	y := x
	if len(over) > 0 {
		y = sumAxes(e, x, over)
	}
	if y.Len() != shape.Len() {
		return fmt.Errorf("%v does not reduce to %v", x, shape)
	}
	e.SetOut(0, y.Reshape(shape))
	return nil
}

// privateOpset is the version of PrivateDomain.
var privateOpset = graph.Opset{Domain: PrivateDomain, Version: 1}

// ImportPrivate lets m use the operators of PrivateDomain.
func ImportPrivate(m *graph.Model) { m.SetOpset(privateOpset.Domain, privateOpset.Version) }
