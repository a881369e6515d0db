package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privateDefs holds the operators of PrivateDomain.
var privateDefs = []*Def{
	// ReduceTo(x, shape) sums x over the axes that broadcasting shape to x's
	// shape would make or widen.
	{Domain: PrivateDomain, Name: "ReduceTo", Since: 1, Infer: inferReduceTo, Eval: evalReduceTo, Cost: perInput(1)},
	// ReluGrad(dy, y) is dy where y > 0, and zero elsewhere.
	{Domain: PrivateDomain, Name: "ReluGrad", Since: 1, Infer: inferSame, Cost: perElement(1),
		Eval: evalReal(0, evalReluGrad[float32], evalReluGrad[float64])},
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

// ImportPrivate lets m use the operators that gradients are made of: those of
// PrivateDomain and of com.microsoft.
func ImportPrivate(m *graph.Model) {
	m.SetOpset(privateOpset.Domain, privateOpset.Version)
	if m.Opset(microsoft) == 0 {
		m.SetOpset(microsoft, 1)
	}
}

func evalReluGrad[T real](e *Eval) error {
	if !e.Tensor(1).Shape().Equal(e.Tensor(0).Shape()) {
		return e.Errorf(1, "want the shape %v of the gradient", e.Tensor(0).Shape())
	}
	dy, y := realsOf[T](e, 0), realsOf[T](e, 1)
	dx := newResult[T](e, e.Tensor(0).DType(), e.Tensor(0).Shape())
	e.Parallel(len(dy), grain, func(lo, hi int) { keepPositive(dx.Data[lo:hi], dy[lo:hi], y[lo:hi]) })
	return setReal(e, 0, dx)
}

// keepPositive sets dst to dy where y > 0, else to zero; in float32 without
// branches, which activations would make unforeseeable.
func keepPositive[T real](dst, dy, y []T) {
	if d, ok := any(dst).([]float32); ok {
		g, v := any(dy).([]float32)[:len(d)], any(y).([]float32)[:len(d)]
		for i := range d {
			bits := int32(math.Float32bits(v[i]))
			d[i] = math.Float32frombits(math.Float32bits(g[i]) & uint32(-bits>>31&^(bits>>31)))
		}
		return
	}
	for i, v := range y {
		if dst[i] = 0; v > 0 {
			dst[i] = dy[i]
		}
	}
}
