package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
)

var gradActivationRules = map[opName]func(*Grad) error{
	std("Relu"): func(g *Grad) error {
		g.Set(0, g.Private("ReluGrad", nil, g.DOut[0], g.Out[0]))
		return nil
	},
	std("Sigmoid"): slope(func(g *Grad, _, y *graph.Value) *graph.Value {
		return g.Op("Mul", y, g.Op("Sub", g.Number(1), y))
	}),
	std("Tanh"): slope(func(g *Grad, _, y *graph.Value) *graph.Value { return g.oneMinusSquare(y) }),
	std("LeakyRelu"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		return g.piecewise(x, g.Number(float64(g.Node.Float("alpha", 0.01))), g.Number(1))
	}),
	// Elu for x < 0 is alpha (e^x - 1), whose derivative is y + alpha.
	std("Elu"): slope(func(g *Grad, x, y *graph.Value) *graph.Value {
		return g.piecewise(x, g.Op("Add", y, g.Number(float64(g.Node.Float("alpha", 1)))), g.Number(1))
	}),
	std("Selu"): slope(func(g *Grad, x, y *graph.Value) *graph.Value {
		alpha, gamma := float64(g.Node.Float("alpha", 1.6732632)), float64(g.Node.Float("gamma", 1.050701))
		return g.piecewise(x, g.Op("Add", y, g.Number(alpha*gamma)), g.Number(gamma))
	}),
	std("Celu"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		alpha := float64(g.Node.Float("alpha", 1))
		return g.piecewise(x, g.Op("Exp", g.Op("Mul", x, g.Number(1/alpha))), g.Number(1))
	}),
	std("Softplus"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value { return g.Op("Sigmoid", x) }),
	std("Softsign"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		d := g.Op("Add", g.Number(1), g.Op("Abs", x))
		return g.Op("Reciprocal", g.Op("Mul", d, d))
	}),
	std("HardSigmoid"): slope(func(g *Grad, _, y *graph.Value) *graph.Value {
		inside := g.Op("And", g.Op("Greater", y, g.Number(0)), g.Op("Less", y, g.Number(1)))
		return g.Op("Mul", g.Mask(inside), g.Number(float64(g.Node.Float("alpha", 0.2))))
	}),
	// HardSwish is x min(max(x/6 + 1/2, 0), 1).
	std("HardSwish"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		ramp := g.Op("Add", g.Op("Mul", x, g.Number(1.0/3)), g.Number(0.5))
		above := g.Mask(g.Op("Greater", x, g.Number(3)))
		inside := g.Mask(g.Op("Less", g.Op("Abs", x), g.Number(3)))
		return g.Op("Add", g.Op("Mul", inside, ramp), above)
	}),
	std("Swish"): slope(func(g *Grad, x, y *graph.Value) *graph.Value {
		alpha := g.Number(float64(g.Node.Float("alpha", 1)))
		s := g.Op("Sigmoid", g.Op("Mul", alpha, x))
		ay := g.Op("Mul", alpha, y)
		return g.Op("Add", g.Op("Mul", s, g.Op("Sub", g.Number(1), ay)), ay)
	}),
	std("Mish"): slope(slopeMish),
	std("Gelu"): slope(slopeGelu),
	std("ThresholdedRelu"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		return g.Mask(g.Op("Greater", x, g.Number(float64(g.Node.Float("alpha", 1)))))
	}),
	std("Shrink"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		return g.Mask(g.Op("Greater", g.Op("Abs", x), g.Number(float64(g.Node.Float("lambd", 0.5)))))
	}),
	std("PRelu"): gradPRelu,

	std("Softmax"):    gradSoftmax,
	std("LogSoftmax"): gradLogSoftmax,
}

// piecewise is below where x < 0 and above elsewhere.
func (g *Grad) piecewise(x, below, above *graph.Value) *graph.Value {
	return g.Op("Where", g.Op("Less", x, g.Number(0)), below, above)
}

// slopeMish is the derivative of x tanh(softplus x): t + x sigmoid(x) (1-t^2)
// with t the tanh.
func slopeMish(g *Grad, x, _ *graph.Value) *graph.Value {
	t := g.Op("Tanh", g.Op("Softplus", x))
	return g.Op("Add", t, g.Op("Mul", g.Op("Mul", x, g.Op("Sigmoid", x)), g.oneMinusSquare(t)))
}

// slopeGelu is the derivative of x Phi(x), that is Phi(x) + x phi(x), or of
// its tanh approximation.
func slopeGelu(g *Grad, x, _ *graph.Value) *graph.Value {
	half := g.Number(0.5)
	if g.Node.Str("approximate", "none") == "tanh" {
		c := math.Sqrt(2 / math.Pi)
		xx := g.Op("Mul", x, x)
		inner := g.Op("Mul", g.Op("Mul", g.Number(c), x), g.Op("Add", g.Number(1), g.Op("Mul", g.Number(0.044715), xx)))
		t := g.Op("Tanh", inner)
		dInner := g.Op("Mul", g.Number(c), g.Op("Add", g.Number(1), g.Op("Mul", g.Number(3*0.044715), xx)))
		left := g.Op("Mul", half, g.Op("Add", g.Number(1), t))
		right := g.Op("Mul", g.Op("Mul", half, x), g.Op("Mul", g.oneMinusSquare(t), dInner))
		return g.Op("Add", left, right)
	}
	cdf := g.Op("Mul", half, g.Op("Add", g.Number(1), g.Op("Erf", g.Op("Mul", x, g.Number(math.Sqrt(0.5))))))
	pdf := g.Op("Mul", g.Number(1/math.Sqrt(2*math.Pi)), g.Op("Exp", g.Op("Mul", g.Number(-0.5), g.Op("Mul", x, x))))
	return g.Op("Add", cdf, g.Op("Mul", x, pdf))
}

func gradPRelu(g *Grad) error {
	negative := g.Op("Less", g.In[0], g.Number(0))
	if g.Wanted(0) {
		g.Set(0, g.Op("Mul", g.DOut[0], g.Op("Where", negative, g.In[1], g.Number(1))))
	}
	if g.Wanted(1) {
		d := g.Op("Mul", g.DOut[0], g.Op("Where", negative, g.In[0], g.Number(0)))
		g.Set(1, g.Like(d, g.In[1], g.Out[0]))
	}
	return nil
}

// softmaxAxes returns the axes that a softmax runs over: one from version 13
// on, before that all from axis on.
func (g *Grad) softmaxAxes() ([]int64, error) {
	rank, err := g.Rank(0)
	if err != nil {
		return nil, err
	}
	if g.Version >= 13 {
		return []int64{g.Node.Int("axis", -1)}, nil
	}
	axis := g.Node.Int("axis", 1)
	if axis < 0 {
		axis += int64(rank)
	}
	var axes []int64
	for a := axis; a < int64(rank); a++ {
		axes = append(axes, a)
	}
	return axes, nil
}

// gradSoftmax: dx = y (dy - sum(y dy)).
func gradSoftmax(g *Grad) error {
	axes, err := g.softmaxAxes()
	if err != nil {
		return err
	}
	ydy := g.Op("Mul", g.Out[0], g.DOut[0])
	g.Set(0, g.Op("Sub", ydy, g.Op("Mul", g.Out[0], g.Sum(ydy, true, axes...))))
	return nil
}

// gradLogSoftmax: dx = dy - exp(y) sum(dy).
func gradLogSoftmax(g *Grad) error {
	axes, err := g.softmaxAxes()
	if err != nil {
		return err
	}
	g.Set(0, g.Op("Sub", g.DOut[0], g.Op("Mul", g.Op("Exp", g.Out[0]), g.Sum(g.DOut[0], true, axes...))))
	return nil
}
