// Package grad is reverse-mode differentiation: it turns a model and a loss
// into a model that also computes gradients.
//
// It is on floor 3. What the gradient of an operator is stands with the
// operator (op.Def.Grad); this package decides which gradients are needed and
// in which order they are added up. It refuses to know optimizers and data.
//
// The gradients are ordinary nodes, so the engine runs, prints and tests them
// like any others. In ONNX text, for loss = ReduceSum (MatMul (x, w)):
//
//	g (float[2,3] x) => (float loss, float[3,4] grad_w)
//	   <float[3,4] w> {
//	   y = MatMul (x, w)
//	   loss = ReduceSum <keepdims = 0> (y)
//	   dy = Expand (one, [2,4])
//	   grad_w = MatMul (Transpose (x), dy)
//	}
package grad

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// minOpset is the version of the standard domain that emitted nodes need.
const minOpset = 13

// Options says what is differentiated by what.
type Options struct {
	// Loss names a value of the main graph with a single float element.
	Loss string
	// By names inputs, initializers or other float values of the main graph.
	By []string
	// Inputs holds types of inputs that are more precise than the declared
	// ones, by name; rules that need a shape find it so.
	Inputs map[string]*graph.Type
}

// Build returns a copy of m that has further outputs: Name(v) for every v of
// By, with the type and shape of v. Calls of functions, and of composite
// operators without a gradient of their own, are replaced by their bodies. A
// value that the loss does not depend on has a gradient of zeros.
//
// The error names the node whose operator has no gradient, or the value that
// is missing or not of floats.
func Build(m *graph.Model, o Options) (*graph.Model, error) {
	m = m.Clone()
	if v := m.Opset(""); v < minOpset {
		return nil, fmt.Errorf("the model speaks opset %d, gradients need %d or newer", v, minOpset)
	}
	b := &builder{m: m, g: m.Graph, parts: map[*graph.Value][]*graph.Value{}, inputs: o.Inputs}
	if err := b.inlineCalls(); err != nil {
		return nil, err
	}
	loss, by, err := b.values(o)
	if err != nil {
		return nil, err
	}
	b.infer()
	b.needs(by)
	if err := b.expandComposites(); err != nil {
		return nil, err
	}
	b.infer()
	b.needs(by)
	op.ImportPrivate(m)
	if err := b.backward(loss); err != nil {
		return nil, err
	}
	for _, v := range by {
		b.output(v)
	}
	return m, nil
}

// Name returns the name of the output that holds the gradient by v.
func Name(v string) string { return "grad/" + v }

type builder struct {
	m      *graph.Model
	g      *graph.Graph
	inputs map[string]*graph.Type
	needed map[*graph.Value]bool           // depends on one of By
	parts  map[*graph.Value][]*graph.Value // gradients to be added up
}

// infer types the values, which bodies and gradients go by.
func (b *builder) infer() { op.InferModel(b.m, op.InferOptions{Inputs: b.inputs}) }

// inlineCalls replaces the calls of functions by their bodies.
func (b *builder) inlineCalls() error {
	for changed := true; changed; {
		changed = false
		for n := range b.g.Nodes() {
			if b.m.Function(n.Domain, n.Op, n.Overload) == nil {
				continue
			}
			if err := b.m.InlineCall(n); err != nil {
				return fmt.Errorf("%v: %w", n, err)
			}
			changed = true
		}
	}
	return nil
}

// expandComposites replaces operators that have a body and no gradient, where
// a gradient passes through them.
func (b *builder) expandComposites() error {
	for n := range b.g.Nodes() {
		d := op.Find(n.Domain, n.Op, n.Opset())
		if d == nil || d.Grad != nil || !b.passes(n) {
			continue
		}
		f, err := d.Function(&op.Call{Node: n, Version: n.Opset()}, b.m.Opset)
		if err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
		if f == nil {
			continue
		}
		f.Domain, f.Name, f.Overload = n.Domain, n.Op, n.Overload
		f.Body.AttachFunction(b.m, f)
		b.m.Functions = append(b.m.Functions, f)
		err = b.m.InlineCall(n)
		b.m.Functions = b.m.Functions[:len(b.m.Functions)-1]
		if err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
		return b.expandAgain()
	}
	return nil
}

// expandAgain goes on after a body was put in the place of a node.
func (b *builder) expandAgain() error {
	var by []*graph.Value
	for v, ok := range b.needed {
		if ok && v.Graph() == b.g && v.Producer() == nil {
			by = append(by, v)
		}
	}
	b.infer()
	b.needs(by)
	return b.expandComposites()
}

// passes reports whether a gradient goes through n.
func (b *builder) passes(n *graph.Node) bool {
	for _, v := range n.Ins() {
		if v != nil && b.needed[v] {
			return true
		}
	}
	return false
}

// values looks up the loss and what to differentiate by.
func (b *builder) values(o Options) (loss *graph.Value, by []*graph.Value, err error) {
	if loss = b.g.Value(o.Loss); loss == nil {
		return nil, nil, fmt.Errorf("the model has no value %q to take for the loss", o.Loss)
	}
	for _, name := range o.By {
		v := b.g.Value(name)
		if v == nil {
			return nil, nil, fmt.Errorf("the model has no value %q to differentiate by", name)
		}
		if t := v.Type; t == nil || t.Kind != graph.KindTensor || !t.Elem.IsFloat() {
			return nil, nil, fmt.Errorf("value %q is %v: only tensors of floats have gradients", name, v.Type)
		}
		by = append(by, v)
	}
	return loss, by, nil
}

// needs marks the float values that depend on by.
func (b *builder) needs(by []*graph.Value) {
	b.needed = map[*graph.Value]bool{}
	for _, v := range by {
		b.needed[v] = true
	}
	for n := range b.g.Nodes() {
		if !b.passes(n) {
			continue
		}
		for _, v := range n.Outs() {
			if v != nil && (isFloat(v) || op.Carries(v)) {
				b.needed[v] = true
			}
		}
	}
}

// isFloat reports whether v may hold floats.
func isFloat(v *graph.Value) bool {
	return v.Type == nil || v.Type.Kind == graph.KindTensor && v.Type.Elem.IsFloat()
}

// backward emits the gradients of every node, from the loss to the first.
func (b *builder) backward(loss *graph.Value) error {
	if s, ok := shapeOf(loss); ok && s.Len() != 1 {
		return fmt.Errorf("the loss %q is %v, want a single element", loss.Name(), loss.Type)
	}
	if !isFloat(loss) || loss.Type == nil {
		return fmt.Errorf("the loss %q is %v, want a float", loss.Name(), loss.Type)
	}
	var nodes []*graph.Node
	for n := range b.g.Backward() {
		nodes = append(nodes, n)
	}
	emit := graph.NewBuilder(b.g, nil).Named("backward/")
	one := tensor.FromFloat64s(loss.Type.Elem, tensor.Shape{1}, []float64{1})
	seed := emit.OpAttrs("ConstantOfShape", []*graph.Attr{graph.TensorAttr("value", one)}, emit.Op("Shape", loss))
	b.parts[loss] = []*graph.Value{seed}
	for _, n := range nodes {
		if err := b.node(emit, n); err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
	}
	return nil
}

func shapeOf(v *graph.Value) (tensor.Shape, bool) {
	if v.Type == nil {
		return nil, false
	}
	return v.Type.Shape.Static()
}

// node emits the gradients of the inputs of one node.
func (b *builder) node(emit *graph.Builder, n *graph.Node) error {
	g := &op.Grad{
		Call: op.Call{Node: n, Version: n.Opset()},
		B:    emit, In: n.Ins(), Out: n.Outs(),
		Want: make([]bool, n.NumIn()), DIn: make([]*graph.Value, n.NumIn()),
		DOut: make([]*graph.Value, n.NumOut()),
	}
	reached, wanted := false, false
	for i, v := range g.Out {
		if v != nil {
			g.DOut[i] = b.total(emit, v)
			reached = reached || g.DOut[i] != nil
		}
	}
	for i, v := range g.In {
		g.Want[i] = v != nil && b.needed[v] && (isFloat(v) || op.Carries(v))
		wanted = wanted || g.Want[i]
	}
	if !reached || !wanted {
		return nil
	}
	d := op.Find(n.Domain, n.Op, g.Version)
	if d == nil || d.Grad == nil {
		return fmt.Errorf("the operator has no gradient")
	}
	if err := d.Grad(g); err != nil {
		return err
	}
	for i, dv := range g.DIn {
		if dv != nil {
			b.parts[g.In[i]] = append(b.parts[g.In[i]], dv)
		}
	}
	return nil
}

// total returns the sum of the gradients that reached v, nil if none did.
func (b *builder) total(emit *graph.Builder, v *graph.Value) *graph.Value {
	parts := b.parts[v]
	if len(parts) == 0 {
		return nil
	}
	sum := parts[0]
	for _, p := range parts[1:] {
		sum = emit.Op("Add", sum, p)
	}
	b.parts[v] = []*graph.Value{sum}
	return sum
}

// output makes the gradient by v an output of the model.
func (b *builder) output(v *graph.Value) {
	emit := graph.NewBuilder(b.g, nil).Named("backward/")
	d := b.total(emit, v)
	if d == nil {
		d = emit.Op("Sub", v, v)
	}
	out := emit.Op("Identity", d)
	b.g.Rename(out, b.g.Fresh(Name(v.Name())))
	out.Type = graph.TensorOf(v.Type.Elem, v.Type.Shape)
	b.g.AddOutput(out)
}
