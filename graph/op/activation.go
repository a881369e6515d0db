package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// activationDefs holds elementwise activations.
var activationDefs = []*Def{
	{Name: "Relu", Since: 1, Infer: inferSame, Eval: relu.eval, Cost: perElement(1), Quant: passes, Axes: axesElementwise},
	activationDef("Sigmoid", 1, 10, unaries, func(*graph.Node, int64) unary {
		return unary{row: func(k *kernel.Table) rowFunc { return k.Sigmoid }, f64: logistic}
	}),
	activationDef("Tanh", 1, 10, nil, func(*graph.Node, int64) unary {
		return unary{row: func(k *kernel.Table) rowFunc { return k.Tanh }, f64: math.Tanh}
	}),
	activationDef("LeakyRelu", 1, 2, unaries, leakyRelu),
	activationDef("Elu", 1, 10, nil, elu),
	activationDef("Selu", 1, 10, nil, selu),
	activationDef("Celu", 12, 10, nil, celu),
	activationDef("Gelu", 20, 20, nil, gelu),
	activationDef("Mish", 18, 20, nil, func(*graph.Node, int64) unary { return unary{f64: mish} }),
	activationDef("Swish", 24, 10, nil, swish),
	activationDef("HardSigmoid", 1, 3, nil, hardSigmoid),
	activationDef("HardSwish", 14, 4, nil, func(*graph.Node, int64) unary {
		return unary{row: func(k *kernel.Table) rowFunc { return k.HardSwish }, f64: hardSwish}
	}),
	activationDef("Softplus", 1, 20, nil, func(*graph.Node, int64) unary { return unary{f64: softplus} }),
	activationDef("Softsign", 1, 2, nil, func(*graph.Node, int64) unary { return unary{f64: softsign} }),
	activationDef("ThresholdedRelu", 1, 1, nil, thresholdedRelu),
	activationDef("Shrink", 9, 2, nil, shrink),
	{Name: "PRelu", Since: 1, Axes: preluAxes, Infer: inferSame, Eval: evalPRelu, Cost: perElement(2)},
	{Name: "SwiGLU", Since: 28, Infer: inferSame, Cost: perElement(11), Axes: axesElementwise, Body: swiGLU},
}

const swiGLU = `<domain: "", opset_import: []> SwiGLU <alpha> (a, b) => (y) {
   gate = Swish <alpha: float = @alpha> (a)
   y = Mul (gate, b)
}`

// unaries marks operators with an integer kernel over one activation.
var unaries = &Quant{Class: QuantUnary, Weight: -1, Bias: -1}

// activationDef defines an activation whose function depends on the node's
// attributes and the version in force.
func activationDef(name string, since, flops int64, q *Quant, f func(n *graph.Node, version int64) unary) *Def {
	return &Def{
		Name: name, Since: since, Infer: inferSame, Cost: perElement(flops), Quant: q, Axes: axesElementwise,
		Eval: func(e *Eval) error { return f(e.Node, e.Version).eval(e) },
	}
}

var relu = unary{
	row: func(k *kernel.Table) rowFunc {
		return func(dst, src []float32) { k.Clamp(dst, src, 0, float32(math.Inf(1))) }
	},
	f64: func(x float64) float64 { return max(x, 0) },
	i64: func(x int64) int64 { return max(x, 0) },
	u64: func(x uint64) uint64 { return x },
}

// softplus is log(1+e^x), written so that e^x does not overflow.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func logistic(x float64) float64  { return 1 / (1 + math.Exp(-x)) }
func softsign(x float64) float64  { return x / (1 + math.Abs(x)) }
func mish(x float64) float64      { return x * math.Tanh(softplus(x)) }
func hardSwish(x float64) float64 { return x * min(max(x/6+0.5, 0), 1) }

func leakyRelu(n *graph.Node, _ int64) unary {
	slope := n.Float("alpha", 0.01)
	return unary{
		row: func(k *kernel.Table) rowFunc {
			return func(dst, src []float32) { k.LeakyRelu(dst, src, slope) }
		},
		f64: func(x float64) float64 {
			if x < 0 {
				return x * float64(slope)
			}
			return x
		},
	}
}

func elu(n *graph.Node, _ int64) unary {
	alpha := float64(n.Float("alpha", 1))
	return unary{f64: func(x float64) float64 {
		if x < 0 {
			return alpha * math.Expm1(x)
		}
		return x
	}}
}

func selu(n *graph.Node, version int64) unary {
	alpha, gamma := float32(1.67326319217681884765625), float32(1.05070102214813232421875)
	if version < 6 {
		alpha, gamma = 1.6732, 1.0507
	}
	a, g := float64(n.Float("alpha", alpha)), float64(n.Float("gamma", gamma))
	return unary{f64: func(x float64) float64 {
		if x <= 0 {
			return g * a * math.Expm1(x)
		}
		return g * x
	}}
}

func celu(n *graph.Node, _ int64) unary {
	alpha := float64(n.Float("alpha", 1))
	return unary{f64: func(x float64) float64 {
		return max(0, x) + min(0, alpha*math.Expm1(x/alpha))
	}}
}

func gelu(n *graph.Node, _ int64) unary {
	if n.Str("approximate", "none") == "tanh" {
		return unary{row: func(k *kernel.Table) rowFunc { return k.GeluTanh }, f64: func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}}
	}
	return unary{row: func(k *kernel.Table) rowFunc { return k.Gelu }, f64: func(x float64) float64 {
		return x / 2 * math.Erfc(-x/math.Sqrt2)
	}}
}

func swish(n *graph.Node, _ int64) unary {
	alpha := float64(n.Float("alpha", 1))
	if alpha == 1 {
		return unary{row: func(k *kernel.Table) rowFunc { return k.Silu }, f64: func(x float64) float64 { return x * logistic(x) }}
	}
	return unary{f64: func(x float64) float64 { return x * logistic(alpha*x) }}
}

func hardSigmoid(n *graph.Node, _ int64) unary {
	alpha, beta := n.Float("alpha", 0.2), n.Float("beta", 0.5)
	return unary{
		row: func(k *kernel.Table) rowFunc {
			return func(dst, src []float32) { k.HardSigmoid(dst, src, alpha, beta) }
		},
		f64: func(x float64) float64 { return min(max(float64(alpha)*x+float64(beta), 0), 1) },
	}
}

func thresholdedRelu(n *graph.Node, _ int64) unary {
	alpha := float64(n.Float("alpha", 1))
	return unary{f64: func(x float64) float64 {
		if x > alpha {
			return x
		}
		return 0
	}}
}

func shrink(n *graph.Node, _ int64) unary {
	bias, lambda := float64(n.Float("bias", 0)), float64(n.Float("lambd", 0.5))
	f := func(x float64) float64 {
		switch {
		case x < -lambda:
			return x + bias
		case x > lambda:
			return x - bias
		}
		return 0
	}
	return unary{
		f64: f,
		i64: func(x int64) int64 { return int64(f(float64(x))) },
		u64: func(x uint64) uint64 { return uint64(f(float64(x))) },
	}
}

var preluFunc = binary{
	f32: func(x, slope float32) float32 {
		if x < 0 {
			return x * slope
		}
		return x
	},
	f64: func(x, slope float64) float64 {
		if x < 0 {
			return x * slope
		}
		return x
	},
	i64: func(x, slope int64) int64 {
		if x < 0 {
			return x * slope
		}
		return x
	},
	u64: func(x, _ uint64) uint64 { return x },
}

// evalPRelu broadcasts the slopes to the input; below version 7 a list of
// slopes is one for each channel, axis 1.
func evalPRelu(e *Eval) error {
	x, slope := e.Tensor(0), e.Tensor(1)
	if e.Version < 7 && slope.Rank() == 1 && slope.Len() > 1 && x.Rank() > 1 {
		shape := tensor.Shape{slope.Len()}
		for range x.Rank() - 2 {
			shape = append(shape, 1)
		}
		slope = slope.Reshape(shape)
	}
	y, err := preluFunc.apply(e, x, slope)
	if err != nil {
		return err
	}
	if !y.Shape().Equal(x.Shape()) {
		return e.Errorf(1, "slopes do not broadcast to the input's shape %v", x.Shape())
	}
	e.SetOut(0, cast(y, x.DType()))
	return nil
}
