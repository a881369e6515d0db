package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privateConvDefs are the gradients of convolutions. They have the attributes
// of the convolution; dy is the gradient by its result.
//
//	ConvGradInput (dy, w, shape of x)            gradient by the image of Conv
//	ConvGradWeight (dy, x, shape of w)           gradient by the weight of Conv
//	ConvTransposeGradInput (dy, w, shape of x)   the same of ConvTranspose
//	ConvTransposeGradWeight (dy, x, shape of w)
var privateConvDefs = []*Def{
	{Domain: PrivateDomain, Name: "ConvGradInput", Since: 1, Infer: inferShaped, Cost: convGradInputCost,
		Eval: evalReal(0, evalConvGradInput[float32], evalConvGradInput[float64])},
	{Domain: PrivateDomain, Name: "ConvGradWeight", Since: 1, Infer: inferShaped, Cost: convGradWeightCost,
		Eval: evalReal(0, evalConvGradWeight[float32], evalConvGradWeight[float64])},
	{Domain: PrivateDomain, Name: "ConvTransposeGradInput", Since: 1, Infer: inferShaped, Cost: convGradInputCost,
		Eval: evalReal(0, evalConvTransposeGradInput[float32], evalConvTransposeGradInput[float64])},
	{Domain: PrivateDomain, Name: "ConvTransposeGradWeight", Since: 1, Infer: inferShaped, Cost: convGradWeightCost,
		Eval: evalReal(0, evalConvTransposeGradWeight[float32], evalConvTransposeGradWeight[float64])},
}

// inferShaped types a result whose shape is the last input.
func inferShaped(c *Infer) error {
	c.SetOut(0, c.Elem(0), c.Dims(len(c.In)-1))
	return nil
}

func convGradInputCost(c *Infer) Cost { return convGradCost(c, c.Shape(0), c.Shape(1)) }

func convGradWeightCost(c *Infer) Cost { return convGradCost(c, c.Shape(0), c.Dims(2)) }

// convGradCost is the cost of a convolution with result dy and weight w, which
// those of its gradients equal.
func convGradCost(c *Infer, dy, w interface{ Static() (tensor.Shape, bool) }) Cost {
	s, okS := dy.Static()
	f, okF := w.Static()
	if !okS || !okF || len(f) < 2 {
		return Cost{}
	}
	return matrixCost(c, int64(s.Len())*int64(volume(f[1:])))
}

// shapeOperand returns input i, a vector of sizes, as a shape.
func (e *Eval) shapeOperand(i int) (tensor.Shape, error) {
	list, err := e.ints(i)
	if err != nil {
		return nil, err
	}
	s := tensor.Shape(list)
	return s, s.Check()
}

// gradConvolution returns the convolution whose gradients a call computes, of
// an image of shape xs and a weight of shape ws with result dy, input 0.
func gradConvolution(e *Eval, xs, ws tensor.Shape) (*convolution, error) {
	c, err := convolutionOf(&e.Call, xs, ws)
	if err != nil {
		return nil, err
	}
	if !e.Tensor(0).Shape().Equal(c.shape()) {
		return nil, e.Errorf(0, "want the shape %v of the convolution's result", c.shape())
	}
	return c, nil
}

func evalConvGradInput[T real](e *Eval) error {
	xs, err := e.shapeOperand(2)
	if err != nil {
		return err
	}
	c, err := gradConvolution(e, xs, e.Tensor(1).Shape())
	if err != nil {
		return err
	}
	dx := newResult[T](e, e.Tensor(0).DType(), xs)
	convGradInput(e, c, realsOf[T](e, 0), realsOf[T](e, 1), dx.Data)
	return setReal(e, 0, dx)
}

func evalConvGradWeight[T real](e *Eval) error {
	ws, err := e.shapeOperand(2)
	if err != nil {
		return err
	}
	c, err := gradConvolution(e, e.Tensor(1).Shape(), ws)
	if err != nil {
		return err
	}
	dw := newResult[T](e, e.Tensor(0).DType(), ws)
	convGradWeight(e, c, realsOf[T](e, 0), realsOf[T](e, 1), dw.Data)
	return setReal(e, 0, dw)
}

// transposedGrad returns the convolution that a ConvTranspose with image xs,
// weight ws and result dy, input 0, transposes: dy is its image, and the image
// its result.
func transposedGrad(e *Eval, xs, ws tensor.Shape) (*convolution, error) {
	ys := e.Tensor(0).Shape()
	if len(xs) < 3 || len(ws) != len(xs) || len(ys) != len(xs) {
		return nil, fmt.Errorf("image %v, weight %v and result %v, want as many axes, at least 3", xs, ws, ys)
	}
	w, err := transposedWindow(&e.Call, ws[2:], xs[2:])
	if err != nil {
		return nil, err
	}
	c := &convolution{window: w, Batch: xs[0], Channels: ys[1], Filters: ws[0], Group: int(e.Node.Int("group", 1))}
	want := append(tensor.Shape{xs[0], ws[1] * c.Group}, w.In...)
	if c.Group < 1 || xs[1] != ws[0] || ws[0]%c.Group != 0 || !ys.Equal(want) {
		return nil, e.Errorf(0, "want the shape %v for an image %v and a weight %v in %d groups", want, xs, ws, c.Group)
	}
	return c, nil
}

func evalConvTransposeGradInput[T real](e *Eval) error {
	xs, err := e.shapeOperand(2)
	if err != nil {
		return err
	}
	c, err := transposedGrad(e, xs, e.Tensor(1).Shape())
	if err != nil {
		return err
	}
	dx := newResult[T](e, e.Tensor(0).DType(), xs)
	convolve(e, c, realsOf[T](e, 0), realsOf[T](e, 1), nil, dx.Data)
	return setReal(e, 0, dx)
}

func evalConvTransposeGradWeight[T real](e *Eval) error {
	ws, err := e.shapeOperand(2)
	if err != nil {
		return err
	}
	c, err := transposedGrad(e, e.Tensor(1).Shape(), ws)
	if err != nil {
		return err
	}
	dw := newResult[T](e, e.Tensor(0).DType(), ws)
	convGradWeight(e, c, realsOf[T](e, 1), realsOf[T](e, 0), dw.Data)
	return setReal(e, 0, dw)
}
