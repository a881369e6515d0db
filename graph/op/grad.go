package op

import (
	"errors"
	"fmt"
	"maps"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Grad is one call while the gradients of its inputs are derived: a rule
// emits nodes through B and states with Set what each wanted gradient is. A
// gradient has the shape of what it is the gradient of.
//
// Nodes are emitted for the opset version in force in the graph, 13 or newer;
// the helpers below hide how operators changed between versions.
type Grad struct {
	Call
	B *graph.Builder

	In   []*graph.Value // the call's inputs, nil where omitted
	Out  []*graph.Value // its results, nil where omitted
	DOut []*graph.Value // gradient of the loss by each result, nil where zero
	Want []bool         // which inputs need a gradient
	DIn  []*graph.Value // what the rule sets: nil where zero or not wanted
}

// gradRules are the gradients of operators, by name.
var gradRules = joinRules(
	gradMathRules,
	gradActivationRules,
	gradReductionRules,
	gradMatrixRules,
	gradMoveRules,
	gradNNRules,
	gradNormRules,
	gradLossRules,
	gradCTCRules,
	gradSelectRules,
	gradImageRules,
	gradQuantRules,
	gradLinearRules,
	gradMicrosoftRules,
)

func joinRules(tables ...map[opName]func(*Grad) error) map[opName]func(*Grad) error {
	all := map[opName]func(*Grad) error{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// std names an operator of the standard domain.
func std(name string) opName { return opName{"", name} }

// PrivateDomain holds operators that training needs and ONNX lacks. They are
// not exported: a trained model is saved without its loss and gradients.
const PrivateDomain = "onnxpack"

// Set states the gradient of input i; one that is not wanted is dropped.
func (g *Grad) Set(i int, v *graph.Value) {
	if i < len(g.Want) && g.Want[i] {
		g.DIn[i] = v
	}
}

// Refuse returns an error if a gradient by input i is asked for, with the
// reason why there is none.
func (g *Grad) Refuse(i int, reason string) error {
	if g.Wanted(i) {
		return fmt.Errorf("%w by input %d: %s", ErrNoGradient, i, reason)
	}
	return nil
}

// Wanted reports whether the gradient of input i is asked for.
func (g *Grad) Wanted(i int) bool { return i < len(g.Want) && g.Want[i] }

// Op emits an operator of the standard domain with one result.
func (g *Grad) Op(name string, in ...*graph.Value) *graph.Value { return g.B.Op(name, in...) }

// Private emits an operator of PrivateDomain with one result.
func (g *Grad) Private(name string, attrs []*graph.Attr, in ...*graph.Value) *graph.Value {
	return g.B.Add(graph.NewNode(PrivateDomain, name, in, 1, attrs...)).Out(0)
}

// Elem returns the element type of input i.
func (g *Grad) Elem(i int) tensor.DType {
	if i < len(g.In) && g.In[i] != nil && g.In[i].Type != nil {
		return g.In[i].Type.Elem
	}
	return tensor.Undefined
}

// Shape returns the shape of a value as far as inference knows it, nil if not
// even its rank is known.
func (g *Grad) Shape(v *graph.Value) graph.Dims {
	if v == nil || v.Type == nil {
		return nil
	}
	return v.Type.Shape
}

// Rank returns the number of axes of input i, or an error where it is not
// known.
func (g *Grad) Rank(i int) (int, error) {
	s := g.Shape(g.In[i])
	if s == nil {
		return 0, fmt.Errorf("input %d: the gradient needs its number of axes, which is not known", i)
	}
	return len(s), nil
}

// Number returns a constant of the type of input 0.
func (g *Grad) Number(x float64) *graph.Value {
	return g.like(g.In[0], x)
}

// Int64s returns a constant vector of integers.
func (g *Grad) Int64s(x ...int64) *graph.Value { return g.B.Const("i", tensor.Vector(x...)) }

// Zeros returns zeros of the type and shape of v.
func (g *Grad) Zeros(v *graph.Value) *graph.Value { return Zeros(g.B, v) }

// Zeros emits zeros of the type and shape of v, a tensor.
func Zeros(b *graph.Builder, v *graph.Value) *graph.Value {
	if v.Type == nil || v.Type.Elem == tensor.Undefined {
		return b.Op("Sub", v, v) // of finite numbers, at least
	}
	zero := tensor.FromFloat64s(v.Type.Elem, tensor.Shape{1}, []float64{0})
	return b.OpAttrs("ConstantOfShape", []*graph.Attr{graph.TensorAttr("value", zero)}, b.Op("Shape", v))
}

// Plus adds gradients, of which nil ones are zero.
func (g *Grad) Plus(a, b *graph.Value) *graph.Value {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return g.Op("Add", a, b)
}

// ShapeOf returns the shape of v as a vector of integers: a constant where it
// is known.
func (g *Grad) ShapeOf(v *graph.Value) *graph.Value {
	if s, ok := g.Shape(v).Static(); ok {
		dims := make([]int64, len(s))
		for i, d := range s {
			dims[i] = int64(d)
		}
		return g.Int64s(dims...)
	}
	return g.Op("Shape", v)
}

// Like sums dy, which has the shape that v broadcasts to in the call, over
// the axes that broadcasting made, so that it has the shape of v again.
func (g *Grad) Like(dy, v, result *graph.Value) *graph.Value {
	a, okA := g.Shape(v).Static()
	b, okB := g.Shape(result).Static()
	if okA && okB && a.Equal(b) {
		return dy
	}
	if sameDims(g.Shape(v), g.Shape(result)) {
		return dy
	}
	return g.Private("ReduceTo", nil, dy, g.ShapeOf(v))
}

// sameDims reports whether two shapes are certainly equal.
func sameDims(a, b graph.Dims) bool {
	if a == nil || b == nil || len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].IsUnknown() || a[i].Sym != b[i].Sym || a[i].Size != b[i].Size {
			return false
		}
	}
	return true
}

// Sum sums x over axes; keep leaves them with size 1.
func (g *Grad) Sum(x *graph.Value, keep bool, axes ...int64) *graph.Value {
	k := int64(0)
	if keep {
		k = 1
	}
	return g.B.OpAttrs("ReduceSum", []*graph.Attr{graph.IntAttr("keepdims", k)}, x, g.Int64s(axes...))
}

// Unsqueeze inserts axes of size 1.
func (g *Grad) Unsqueeze(x *graph.Value, axes ...int64) *graph.Value {
	return g.Op("Unsqueeze", x, g.Int64s(axes...))
}

// ReshapeTo gives x the shape of v.
func (g *Grad) ReshapeTo(x, v *graph.Value) *graph.Value {
	return g.B.OpAttrs("Reshape", allowZero(g), x, g.ShapeOf(v))
}

// allowZero makes a zero in a shape mean no elements rather than "as before",
// from the version on that can say so.
func allowZero(g *Grad) []*graph.Attr {
	if g.B.Graph().Opset("") < 14 {
		return nil
	}
	return []*graph.Attr{graph.IntAttr("allowzero", 1)}
}

// Transpose permutes the axes of x.
func (g *Grad) Transpose(x *graph.Value, perm []int64) *graph.Value {
	return g.B.OpAttrs("Transpose", []*graph.Attr{graph.IntsAttr("perm", perm...)}, x)
}

// SwapLast exchanges the last two axes of x, which has the given rank.
func (g *Grad) SwapLast(x *graph.Value, rank int) *graph.Value {
	perm := make([]int64, rank)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[rank-1], perm[rank-2] = perm[rank-2], perm[rank-1]
	return g.Transpose(x, perm)
}

// Mask is 1 in the type of input 0 where cond holds, and 0 elsewhere.
func (g *Grad) Mask(cond *graph.Value) *graph.Value {
	return g.castTo(cond, g.In[0])
}

// ErrNoGradient says that a gradient is asked for where there is none, with a
// stated reason: not because something is unknown of the call.
var ErrNoGradient = errors.New("no gradient")

// HasGrad reports whether gradients pass through calls of the operator, by a
// rule of its own or by that of its body.
func (d *Def) HasGrad() bool { return d.Grad != nil || d.Body != "" || d.BodyFor != nil }
