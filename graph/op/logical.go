package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// logicalDefs holds comparisons, and logic on bools and bits.
var logicalDefs = []*Def{
	comparisonDef("Equal", 1, comparison{
		f32: func(a, b float32) bool { return a == b }, f64: func(a, b float64) bool { return a == b },
		i64: func(a, b int64) bool { return a == b }, u64: func(a, b uint64) bool { return a == b },
		str: func(a, b string) bool { return a == b },
	}),
	comparisonDef("Greater", 1, comparison{
		f32: func(a, b float32) bool { return a > b }, f64: func(a, b float64) bool { return a > b },
		i64: func(a, b int64) bool { return a > b }, u64: func(a, b uint64) bool { return a > b },
	}),
	comparisonDef("GreaterOrEqual", 12, comparison{
		f32: func(a, b float32) bool { return a >= b }, f64: func(a, b float64) bool { return a >= b },
		i64: func(a, b int64) bool { return a >= b }, u64: func(a, b uint64) bool { return a >= b },
	}),
	comparisonDef("Less", 1, comparison{
		f32: func(a, b float32) bool { return a < b }, f64: func(a, b float64) bool { return a < b },
		i64: func(a, b int64) bool { return a < b }, u64: func(a, b uint64) bool { return a < b },
	}),
	comparisonDef("LessOrEqual", 12, comparison{
		f32: func(a, b float32) bool { return a <= b }, f64: func(a, b float64) bool { return a <= b },
		i64: func(a, b int64) bool { return a <= b }, u64: func(a, b uint64) bool { return a <= b },
	}),

	logicDef("And", func(a, b uint64) uint64 { return a & b }),
	logicDef("Or", func(a, b uint64) uint64 { return a | b }),
	logicDef("Xor", func(a, b uint64) uint64 { return a ^ b }),
	unaryDef("Not", unary{u64: func(x uint64) uint64 { return x ^ 1 }}, 1),

	bitwiseDef("BitwiseAnd", func(a, b uint64) uint64 { return a & b }),
	bitwiseDef("BitwiseOr", func(a, b uint64) uint64 { return a | b }),
	bitwiseDef("BitwiseXor", func(a, b uint64) uint64 { return a ^ b }),
	{Name: "BitwiseNot", Since: 18, Infer: inferSame, Cost: perElement(1), Eval: unary{
		i64: func(x int64) int64 { return ^x }, u64: func(x uint64) uint64 { return ^x },
	}.eval},
	{Name: "BitShift", Since: 11, Infer: inferBroadcast, Eval: evalBitShift, Cost: perElement(1)},

	{Name: "IsNaN", Since: 9, Infer: inferCompare, Cost: perElement(1), Eval: predicate(func(e *Eval, x float64) bool { return x != x })},
	{Name: "IsInf", Since: 10, Infer: inferCompare, Cost: perElement(1), Eval: predicate(isInf)},
}

// comparison is a relation in each of the types that elements are compared
// in.
type comparison struct {
	f32 func(a, b float32) bool
	f64 func(a, b float64) bool
	i64 func(a, b int64) bool
	u64 func(a, b uint64) bool
	str func(a, b string) bool
}

func comparisonDef(name string, since int64, r comparison) *Def {
	return &Def{Name: name, Since: since, Infer: inferLegacyCompare, Eval: legacyBroadcast(r.eval), Cost: perElement(1), Axes: axesElementwise}
}

func inferLegacyCompare(c *Infer) error {
	if c.Version < 7 {
		c.SetOut(0, tensor.Bool, c.Shape(0))
		return nil
	}
	return inferCompare(c)
}

func (r comparison) eval(e *Eval) error {
	a, b := e.Tensor(0), e.Tensor(1)
	if a.DType() != b.DType() {
		return fmt.Errorf("operands %v and %v: element types differ", a, b)
	}
	shape, err := tensor.Broadcast(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	w := newBroadcast(shape, a.Shape(), b.Shape())
	y := e.New(tensor.Bool, shape)
	x, z := widened(a), widened(b)
	switch d := x.DType(); {
	case d == tensor.Float32:
		zip(e, w, y, x, z, r.f32)
	case d == tensor.Float64:
		zip(e, w, y, x, z, r.f64)
	case d == tensor.Int64:
		zip(e, w, y, x, z, r.i64)
	case d == tensor.Uint64:
		zip(e, w, y, x, z, r.u64)
	case d == tensor.String && r.str != nil:
		zipSlices(e, w, tensor.Data[bool](y), x.Strings(), z.Strings(), r.str)
	default:
		return e.Errorf(0, "elements of type %v are not compared", a.DType())
	}
	e.SetOut(0, y)
	return nil
}

func logicDef(name string, f func(a, b uint64) uint64) *Def {
	return &Def{
		Name: name, Since: 1, Infer: inferLegacyCompare, Cost: perElement(1), Axes: axesElementwise,
		Eval: legacyBroadcast(binary{u64: f}.eval),
	}
}

func bitwiseDef(name string, f func(a, b uint64) uint64) *Def {
	b := binary{u64: f, i64: func(a, b int64) int64 { return int64(f(uint64(a), uint64(b))) }}
	return &Def{Name: name, Since: 18, Infer: inferBroadcast, Eval: b.eval, Cost: perElement(1), Axes: axesElementwise}
}

func evalBitShift(e *Eval) error {
	switch dir := e.Node.Str("direction", ""); dir {
	case "LEFT":
		return binary{u64: func(a, b uint64) uint64 { return a << b }}.eval(e)
	case "RIGHT":
		return binary{u64: func(a, b uint64) uint64 { return a >> b }}.eval(e)
	default:
		return fmt.Errorf("attribute direction is %q, want LEFT or RIGHT", dir)
	}
}

// predicate is the Eval rule of a question about each float.
func predicate(is func(e *Eval, x float64) bool) func(*Eval) error {
	return func(e *Eval) error {
		t := e.Tensor(0)
		if !t.DType().IsFloat() {
			return e.Errorf(0, "elements of type %v are not served", t.DType())
		}
		y := e.New(tensor.Bool, t.Shape())
		dst := tensor.Data[bool](y)
		for i, x := range tensor.Float64s(t) {
			dst[i] = is(e, x)
		}
		e.SetOut(0, y)
		return nil
	}
}

func isInf(e *Eval, x float64) bool {
	return e.Node.Int("detect_positive", 1) != 0 && math.IsInf(x, 1) ||
		e.Node.Int("detect_negative", 1) != 0 && math.IsInf(x, -1)
}
