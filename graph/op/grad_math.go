package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// slope makes the gradient of an elementwise function of input 0: its
// derivative at x, where the result is y, times dy.
func slope(f func(g *Grad, x, y *graph.Value) *graph.Value) func(*Grad) error {
	return func(g *Grad) error {
		g.Set(0, g.Op("Mul", g.DOut[0], f(g, g.In[0], g.Out[0])))
		return nil
	}
}

// noSlope is the gradient of step functions, which is zero where it exists.
func noSlope(*Grad) error { return nil }

var gradMathRules = map[opName]func(*Grad) error{
	std("Abs"):   slope(func(g *Grad, x, _ *graph.Value) *graph.Value { return g.Op("Sign", x) }),
	std("Neg"):   func(g *Grad) error { g.Set(0, g.Op("Neg", g.DOut[0])); return nil },
	std("Sign"):  noSlope,
	std("Ceil"):  noSlope,
	std("Floor"): noSlope,
	std("Round"): noSlope,
	std("Reciprocal"): slope(func(g *Grad, _, y *graph.Value) *graph.Value {
		return g.Op("Neg", g.Op("Mul", y, y))
	}),
	std("Sqrt"): slope(func(g *Grad, _, y *graph.Value) *graph.Value { return g.Op("Div", g.Number(0.5), y) }),
	std("Exp"):  slope(func(_ *Grad, _, y *graph.Value) *graph.Value { return y }),
	std("Log"):  slope(func(g *Grad, x, _ *graph.Value) *graph.Value { return g.Op("Reciprocal", x) }),
	std("Erf"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		return g.Op("Mul", g.Number(2/math.Sqrt(math.Pi)), g.Op("Exp", g.Op("Neg", g.Op("Mul", x, x))))
	}),
	std("Sin"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value { return g.Op("Cos", x) }),
	std("Cos"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value { return g.Op("Neg", g.Op("Sin", x)) }),
	std("Tan"): slope(func(g *Grad, _, y *graph.Value) *graph.Value {
		return g.Op("Add", g.Number(1), g.Op("Mul", y, y))
	}),
	std("Asin"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		return g.Op("Reciprocal", g.Op("Sqrt", g.oneMinusSquare(x)))
	}),
	std("Acos"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		return g.Op("Neg", g.Op("Reciprocal", g.Op("Sqrt", g.oneMinusSquare(x))))
	}),
	std("Atan"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		return g.Op("Reciprocal", g.Op("Add", g.Number(1), g.Op("Mul", x, x)))
	}),
	std("Sinh"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value { return g.Op("Cosh", x) }),
	std("Cosh"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value { return g.Op("Sinh", x) }),
	std("Asinh"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		return g.Op("Reciprocal", g.Op("Sqrt", g.Op("Add", g.Op("Mul", x, x), g.Number(1))))
	}),
	std("Acosh"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value {
		return g.Op("Reciprocal", g.Op("Sqrt", g.Op("Sub", g.Op("Mul", x, x), g.Number(1))))
	}),
	std("Atanh"): slope(func(g *Grad, x, _ *graph.Value) *graph.Value { return g.Op("Reciprocal", g.oneMinusSquare(x)) }),

	std("Add"): gradAdd,
	std("Sub"): gradSub,
	std("Mul"): gradMul,
	std("Div"): gradDiv,
	std("Pow"): gradPow,
	std("Sum"): gradSum,
	std("Mean"): func(g *Grad) error {
		dy := g.Op("Mul", g.DOut[0], g.Number(1/float64(len(g.In))))
		for i, x := range g.In {
			g.Set(i, g.Like(dy, x, g.Out[0]))
		}
		return nil
	},
	std("Max"):  gradExtreme,
	std("Min"):  gradExtreme,
	std("Clip"): gradClip,
	std("Mod"):  gradMod,
	std("Where"): func(g *Grad) error {
		zero := g.Zeros(g.DOut[0])
		if g.Wanted(1) {
			g.Set(1, g.Like(g.Op("Where", g.In[0], g.DOut[0], zero), g.In[1], g.Out[0]))
		}
		if g.Wanted(2) {
			g.Set(2, g.Like(g.Op("Where", g.In[0], zero, g.DOut[0]), g.In[2], g.Out[0]))
		}
		return nil
	},
}

// oneMinusSquare is 1 - x^2.
func (g *Grad) oneMinusSquare(x *graph.Value) *graph.Value {
	return g.Op("Sub", g.Number(1), g.Op("Mul", x, x))
}

func gradAdd(g *Grad) error {
	for i := range 2 {
		if g.Wanted(i) {
			g.Set(i, g.Like(g.DOut[0], g.In[i], g.Out[0]))
		}
	}
	return nil
}

func gradSub(g *Grad) error {
	if g.Wanted(0) {
		g.Set(0, g.Like(g.DOut[0], g.In[0], g.Out[0]))
	}
	if g.Wanted(1) {
		g.Set(1, g.Like(g.Op("Neg", g.DOut[0]), g.In[1], g.Out[0]))
	}
	return nil
}

func gradMul(g *Grad) error {
	for i := range 2 {
		if g.Wanted(i) {
			g.Set(i, g.Like(g.Op("Mul", g.DOut[0], g.In[1-i]), g.In[i], g.Out[0]))
		}
	}
	return nil
}

// gradDiv: y = a/b gives da = dy/b and db = -dy y/b.
func gradDiv(g *Grad) error {
	da := g.Op("Div", g.DOut[0], g.In[1])
	if g.Wanted(0) {
		g.Set(0, g.Like(da, g.In[0], g.Out[0]))
	}
	if g.Wanted(1) {
		g.Set(1, g.Like(g.Op("Neg", g.Op("Mul", da, g.Out[0])), g.In[1], g.Out[0]))
	}
	return nil
}

// gradPow: y = x^p gives dx = dy p x^(p-1) and dp = dy y log x.
func gradPow(g *Grad) error {
	if g.Wanted(0) {
		p := g.B.OpAttrs("Cast", []*graph.Attr{graph.IntAttr("to", int64(g.Elem(0)))}, g.In[1])
		d := g.Op("Mul", p, g.Op("Pow", g.In[0], g.Op("Sub", p, g.Number(1))))
		g.Set(0, g.Like(g.Op("Mul", g.DOut[0], d), g.In[0], g.Out[0]))
	}
	if g.Wanted(1) {
		d := g.Op("Mul", g.Op("Mul", g.DOut[0], g.Out[0]), g.Op("Log", g.In[0]))
		g.Set(1, g.Like(d, g.In[1], g.Out[0]))
	}
	return nil
}

func gradSum(g *Grad) error {
	for i, x := range g.In {
		if g.Wanted(i) {
			g.Set(i, g.Like(g.DOut[0], x, g.Out[0]))
		}
	}
	return nil
}

// gradExtreme gives the gradient of Max and Min to the operands that reach
// the result, in equal shares.
func gradExtreme(g *Grad) error {
	masks := make([]*graph.Value, len(g.In))
	for i, x := range g.In {
		masks[i] = g.Mask(g.Op("Equal", x, g.Out[0]))
	}
	share := g.DOut[0]
	if len(masks) > 1 {
		share = g.Op("Div", share, g.Op("Sum", masks...))
	}
	for i, x := range g.In {
		if g.Wanted(i) {
			g.Set(i, g.Like(g.Op("Mul", share, masks[i]), x, g.Out[0]))
		}
	}
	return nil
}

// gradClip gives the gradient to x where it was within the bounds, and to the
// bound elsewhere: the upper one where they contradict each other.
func gradClip(g *Grad) error {
	x, y, dy := g.In[0], g.Out[0], g.DOut[0]
	inside := g.Op("Equal", x, y)
	g.Set(0, g.Op("Where", inside, dy, g.like(x, 0)))
	if !g.Wanted(1) && !g.Wanted(2) {
		return nil
	}
	rest := g.Op("Where", inside, g.like(x, 0), dy)
	at := g.B.Const("c", tensor.Of(tensor.Shape{}, []bool{false}))
	if g.Has(2) {
		at = g.Op("Equal", y, g.In[2])
	}
	if g.Wanted(1) {
		g.Set(1, g.Private("ReduceTo", nil, g.Op("Where", at, g.like(x, 0), rest), g.ShapeOf(g.In[1])))
	}
	if g.Wanted(2) {
		g.Set(2, g.Private("ReduceTo", nil, g.Op("Where", at, rest, g.like(x, 0)), g.ShapeOf(g.In[2])))
	}
	return nil
}

// gradMod: y = a - b n with a whole number n gives da = dy and db = -dy n.
func gradMod(g *Grad) error {
	dy := g.DOut[0]
	if g.Wanted(0) {
		g.Set(0, g.Like(dy, g.In[0], g.Out[0]))
	}
	if g.Wanted(1) {
		n := g.Op("Round", g.Op("Div", g.Op("Sub", g.In[0], g.Out[0]), g.In[1]))
		g.Set(1, g.Like(g.Op("Neg", g.Op("Mul", dy, n)), g.In[1], g.Out[0]))
	}
	return nil
}
