package op

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// mathDefs holds elementwise arithmetic and elementary functions.
var mathDefs = []*Def{
	unaryDef("Abs", absolute, 1),
	unaryDef("Neg", negative, 1),
	unaryDef("Sign", sign, 1),
	unaryDef("Ceil", unary{f64: math.Ceil}, 1),
	unaryDef("Floor", unary{f64: math.Floor}, 1),
	unaryDef("Round", unary{f64: math.RoundToEven}, 1),
	unaryDef("Reciprocal", unary{f32: func(x float32) float32 { return 1 / x }, f64: func(x float64) float64 { return 1 / x }}, 1),
	unaryDef("Sqrt", unary{row: func(k *kernel.Table) rowFunc { return k.Sqrt }, f64: math.Sqrt}, 1),
	unaryDef("Exp", unary{row: func(k *kernel.Table) rowFunc { return k.Exp }, f64: math.Exp}, 10),
	unaryDef("Log", unary{row: func(k *kernel.Table) rowFunc { return k.Log }, f64: math.Log}, 10),
	unaryDef("Erf", unary{row: func(k *kernel.Table) rowFunc { return k.Erf }, f64: math.Erf}, 10),
	unaryDef("Sin", unary{f64: math.Sin}, 10),
	unaryDef("Cos", unary{f64: math.Cos}, 10),
	unaryDef("Tan", unary{f64: math.Tan}, 10),
	unaryDef("Asin", unary{f64: math.Asin}, 10),
	unaryDef("Acos", unary{f64: math.Acos}, 10),
	unaryDef("Atan", unary{f64: math.Atan}, 10),
	unaryDef("Sinh", unary{f64: math.Sinh}, 10),
	unaryDef("Cosh", unary{f64: math.Cosh}, 10),
	unaryDef("Asinh", unary{f64: math.Asinh}, 10),
	unaryDef("Acosh", unary{f64: math.Acosh}, 10),
	unaryDef("Atanh", unary{f64: math.Atanh}, 10),

	binaryDef("Add", addition, &Quant{Class: QuantBinary, Weight: -1, Bias: -1}),
	binaryDef("Sub", subtraction, nil),
	binaryDef("Mul", multiplication, &Quant{Class: QuantBinary, Weight: -1, Bias: -1}),
	{Name: "Div", Since: 1, Infer: inferArithmetic, Eval: evalDiv, Cost: perElement(1), Axes: axesElementwise},
	{Name: "Mod", Since: 10, Infer: inferArithmetic, Eval: evalMod, Cost: perElement(1), Axes: axesElementwise},
	{Name: "Pow", Since: 1, Infer: inferLegacyBroadcast, Eval: evalPow, Cost: perElement(20), Axes: axesElementwise},

	{Name: "Sum", Since: 1, Infer: inferBroadcast, Eval: addition.fold(nil), Cost: perInputs, Axes: axesElementwise},
	{Name: "Mean", Since: 1, Infer: inferBroadcast, Eval: addition.fold(mean), Cost: perInputs, Axes: axesElementwise},
	{Name: "Max", Since: 1, Infer: inferBroadcast, Eval: maximum.fold(nil), Cost: perInputs, Axes: axesElementwise},
	{Name: "Min", Since: 1, Infer: inferBroadcast, Eval: minimum.fold(nil), Cost: perInputs, Axes: axesElementwise},
	{Name: "Clip", Since: 1, Infer: inferSame, Eval: evalClip, Cost: perElement(2), Quant: passes, Axes: axesFirst},
}

// rowFunc is a kernel over a row.
type rowFunc = func(dst, src []float32)

// passes marks operators whose results keep the scale of input 0.
var passes = &Quant{Class: QuantPass, Weight: -1, Bias: -1}

func unaryDef(name string, u unary, flops int64) *Def {
	return &Def{Name: name, Since: 1, Infer: inferSame, Eval: u.eval, Cost: perElement(flops), Axes: axesElementwise}
}

func binaryDef(name string, b binary, q *Quant) *Def {
	return &Def{Name: name, Since: 1, Infer: inferArithmetic, Eval: legacyBroadcast(b.eval), Cost: perElement(1), Quant: q, Axes: axesElementwise}
}

// perInputs is the Cost of an operator that folds its inputs elementwise.
func perInputs(c *Infer) Cost {
	return perElement(int64(max(1, len(c.In)-1)))(c)
}

var absolute = unary{
	f64: math.Abs,
	i64: func(x int64) int64 { return max(x, -x) },
	u64: func(x uint64) uint64 { return x },
}

var negative = unary{
	f64: func(x float64) float64 { return -x },
	i64: func(x int64) int64 { return -x },
	u64: func(x uint64) uint64 { return -x },
}

var sign = unary{
	f64: func(x float64) float64 {
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return x
	},
	i64: func(x int64) int64 { return int64(cmpZero(x)) },
	u64: func(x uint64) uint64 { return min(x, 1) },
}

func cmpZero(x int64) int {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

var addition = binary{
	row: func(k *kernel.Table) func(dst, a, b []float32) { return k.Add },
	f64: func(a, b float64) float64 { return a + b },
	i64: func(a, b int64) int64 { return a + b },
	u64: func(a, b uint64) uint64 { return a + b },
}

var subtraction = binary{
	row: func(k *kernel.Table) func(dst, a, b []float32) { return k.Sub },
	f64: func(a, b float64) float64 { return a - b },
	i64: func(a, b int64) int64 { return a - b },
	u64: func(a, b uint64) uint64 { return a - b },
}

var multiplication = binary{
	row: func(k *kernel.Table) func(dst, a, b []float32) { return k.Mul },
	f64: func(a, b float64) float64 { return a * b },
	i64: func(a, b int64) int64 { return a * b },
	u64: func(a, b uint64) uint64 { return a * b },
}

var maximum = binary{
	row: func(k *kernel.Table) func(dst, a, b []float32) { return k.Max },
	f64: func(a, b float64) float64 { return max(a, b) },
	i64: func(a, b int64) int64 { return max(a, b) },
	u64: func(a, b uint64) uint64 { return max(a, b) },
}

var minimum = binary{
	row: func(k *kernel.Table) func(dst, a, b []float32) { return k.Min },
	f64: func(a, b float64) float64 { return min(a, b) },
	i64: func(a, b int64) int64 { return min(a, b) },
	u64: func(a, b uint64) uint64 { return min(a, b) },
}

// division truncates integers toward zero; divisors are not zero.
var division = binary{
	row: func(k *kernel.Table) func(dst, a, b []float32) { return k.Div },
	f64: func(a, b float64) float64 { return a / b },
	i64: func(a, b int64) int64 { return a / b },
	u64: func(a, b uint64) uint64 { return a / b },
}

// floorMod is Python's %: the result has the sign of the divisor.
var floorMod = binary{
	f64: math.Mod,
	i64: func(a, b int64) int64 {
		m := a % b
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m
	},
	u64: func(a, b uint64) uint64 { return a % b },
}

// truncMod is C's fmod: the result has the sign of the dividend.
var truncMod = binary{
	f64: math.Mod,
	i64: func(a, b int64) int64 { return a % b },
	u64: func(a, b uint64) uint64 { return a % b },
}

// wholePow raises whole numbers; a negative exponent gives 0, or 1 over a
// base of 1 or -1.
var wholePow = binary{
	i64: func(a, b int64) int64 {
		if b < 0 {
			switch {
			case a == 1 || a == -1 && b&1 == 0:
				return 1
			case a == -1:
				return -1
			}
			return 0
		}
		return int64(powUint(uint64(a), uint64(b)))
	},
	u64: powUint,
}

// powUint is a to the b modulo 2^64, by repeated squaring.
func powUint(a, b uint64) uint64 {
	p := uint64(1)
	for range bits.Len64(b) {
		if b&1 == 1 {
			p *= a
		}
		a *= a
		b >>= 1
	}
	return p
}

var realPow = binary{
	f64: math.Pow,
	f32: func(a, b float32) float32 { return float32(math.Pow(float64(a), float64(b))) },
}

func mean(e *Eval, acc *tensor.Tensor) *tensor.Tensor {
	n := float64(len(e.In))
	u := unary{
		f32: func(x float32) float32 { return x / float32(n) },
		f64: func(x float64) float64 { return x / n },
		i64: func(x int64) int64 { return x / int64(n) },
		u64: func(x uint64) uint64 { return x / uint64(n) },
	}
	y, err := u.apply(&Eval{Call: e.Call, In: []tensor.Value{acc}, Kernels: e.Kernels, Alloc: e.Alloc, Split: e.Split}, 0)
	if err != nil {
		panic(fmt.Sprintf("op: mean of widened elements: %v", err))
	}
	return y
}

// legacyBroadcast wraps the Eval rule of a binary operator so that it follows
// the attributes broadcast and axis of versions below 7: the second operand's
// axes lie along those of the first from axis on, the last ones by default.
func legacyBroadcast(eval func(*Eval) error) func(*Eval) error {
	return func(e *Eval) error {
		if e.Version >= 7 || e.Node.Attr("axis") == nil {
			return eval(e)
		}
		x, y := e.Tensor(0), e.Tensor(1)
		pad, err := legacyPad(e.Node, x.Rank(), y.Rank())
		if err != nil {
			return e.Errorf(1, "%v", err)
		}
		shape := y.Shape().Clone()
		for range pad {
			shape = append(shape, 1)
		}
		old := *e
		old.In = []tensor.Value{x, y.Reshape(shape)}
		old.Out = e.Out
		return eval(&old)
	}
}

// legacyPad returns how many axes of length 1 follow those of the second
// operand for it to start at the first one's attribute axis.
func legacyPad(n *graph.Node, rankX, rankY int) (int, error) {
	axis, err := tensor.Axis(int(n.Int("axis", 0)), max(1, rankX))
	if err != nil {
		return 0, err
	}
	if axis+rankY > rankX {
		return 0, fmt.Errorf("%d axes from axis %d on exceed the other operand's %d", rankY, axis, rankX)
	}
	return rankX - rankY - axis, nil
}

// inferLegacyBroadcast is inferBroadcast, or the type of input 0 under the
// limited broadcasting of versions below 7.
func inferLegacyBroadcast(c *Infer) error {
	if c.Version < 7 {
		return inferSame(c)
	}
	return inferBroadcast(c)
}

func evalDiv(e *Eval) error {
	if err := wantNonZero(e); err != nil {
		return err
	}
	return legacyBroadcast(division.eval)(e)
}

// wantNonZero refuses a second operand of integers that holds a zero.
func wantNonZero(e *Eval) error {
	y := e.Tensor(1)
	if !y.DType().IsInteger() {
		return nil
	}
	for _, v := range tensor.Int64s(y) {
		if v == 0 {
			return e.Errorf(1, "integers are divided by zero")
		}
	}
	return nil
}

func evalMod(e *Eval) error {
	if err := wantNonZero(e); err != nil {
		return err
	}
	if e.Node.Int("fmod", 0) != 0 {
		return truncMod.eval(e)
	}
	return floorMod.eval(e)
}

func evalPow(e *Eval) error {
	return legacyBroadcast(func(e *Eval) error {
		x, y := e.Tensor(0), e.Tensor(1)
		d := wide(x.DType())
		var z *tensor.Tensor
		var err error
		switch {
		case x.DType().IsInteger() && y.DType().IsInteger():
			z, err = wholePow.apply(e, x, cast(y, d))
		case isSquare(x, y):
			z, err = multiplication.apply(e, x, x)
		case x.DType().IsInteger():
			z, err = realPow.apply(e, cast(x, tensor.Float64), cast(y, tensor.Float64))
		default:
			z, err = realPow.apply(e, x, cast(y, d))
		}
		if err != nil {
			return err
		}
		e.SetOut(0, cast(z, x.DType()))
		return nil
	})(e)
}

// isSquare reports whether x to the power of y is x times x, of float32.
func isSquare(x, y *tensor.Tensor) bool {
	return x.DType() == tensor.Float32 && y.DType() == tensor.Float32 && y.Len() == 1 && y.Rank() <= x.Rank() && tensor.Data[float32](y)[0] == 2
}

// evalClip takes its limits from attributes below version 11, else from
// inputs; an absent limit does not limit.
func evalClip(e *Eval) error {
	var lo, hi *tensor.Tensor
	if e.Version < 11 {
		lo = tensor.Scalar(e.Node.Float("min", -math.MaxFloat32))
		hi = tensor.Scalar(e.Node.Float("max", math.MaxFloat32))
	} else {
		lo, hi = e.Tensor(1), e.Tensor(2)
	}
	for i, t := range []*tensor.Tensor{lo, hi} {
		if t != nil && t.Len() != 1 {
			return e.Errorf(i+1, "want one element")
		}
	}
	switch wide(e.Tensor(0).DType()) {
	case tensor.Float64:
		return clipTo(lo, hi, tensor.Float64s, math.Inf(-1), math.Inf(1), func(a, b float64) unary {
			return unary{f64: func(x float64) float64 { return min(max(x, a), b) }}
		}).eval(e)
	case tensor.Int64:
		return clipTo(lo, hi, tensor.Int64s, math.MinInt64, math.MaxInt64, func(a, b int64) unary {
			return unary{i64: func(x int64) int64 { return min(max(x, a), b) }}
		}).eval(e)
	case tensor.Uint64:
		read := func(t *tensor.Tensor) []uint64 { return tensor.Data[uint64](cast(t, tensor.Uint64)) }
		return clipTo(lo, hi, read, 0, math.MaxUint64, func(a, b uint64) unary {
			return unary{u64: func(x uint64) uint64 { return min(max(x, a), b) }}
		}).eval(e)
	}
	inf := float32(math.Inf(1))
	return clipTo(lo, hi, tensor.Float32s, -inf, inf, func(a, b float32) unary {
		return unary{row: func(k *kernel.Table) rowFunc {
			return func(dst, src []float32) { k.Clamp(dst, src, a, b) }
		}}
	}).eval(e)
}

// clipTo makes the function that clips to the single elements of lo and hi,
// or to the ends of the type where they are nil.
func clipTo[T any](lo, hi *tensor.Tensor, read func(*tensor.Tensor) []T, least, most T, clip func(a, b T) unary) unary {
	if lo != nil {
		least = read(lo)[0]
	}
	if hi != nil {
		most = read(hi)[0]
	}
	return clip(least, most)
}

// inferArithmetic is inferLegacyBroadcast for operators on shapes: what is
// known of the contents of its operands is carried through.
func inferArithmetic(c *Infer) error {
	if err := inferLegacyBroadcast(c); err != nil {
		return err
	}
	inferContents(c)
	return nil
}
