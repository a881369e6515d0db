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
	// Segments is in how many parts the model is divided so that only what
	// passes from one to the next stays in memory; within all but the last,
	// values are computed once more where gradients read them. The gradients
	// are the same. 0 and 1 compute nothing twice; the square root of the
	// number of layers takes the least memory.
	Segments int
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
	b := &builder{m: m, inputs: o.Inputs, needed: map[*graph.Value]bool{}}
	if err := b.inlineCalls(); err != nil {
		return nil, err
	}
	loss, by, err := b.values(o)
	if err != nil {
		return nil, err
	}
	if err := b.expandComposites(by); err != nil {
		return nil, err
	}
	op.ImportPrivate(m)
	s := b.scope(m.Graph)
	if err := s.seed(loss); err != nil {
		return nil, err
	}
	if err := s.backward(max(1, o.Segments)); err != nil {
		return nil, err
	}
	for _, v := range by {
		s.output(v)
	}
	return m, nil
}

// Name returns the name of the output that holds the gradient by v.
func Name(v string) string { return "grad/" + v }

type builder struct {
	m      *graph.Model
	inputs map[string]*graph.Type
	needed map[*graph.Value]bool // depends on one of By; in subgraphs too
}

// inlineCalls replaces the calls of functions by their bodies.
func (b *builder) inlineCalls() error {
	for changed := true; changed; {
		changed = false
		for g := range b.m.Graph.Walk() {
			for n := range g.Nodes() {
				if b.m.Function(n.Domain, n.Op, n.Overload) == nil {
					continue
				}
				if err := b.m.InlineCall(n); err != nil {
					return fmt.Errorf("%v: %w", n, err)
				}
				changed = true
			}
		}
	}
	return nil
}

// expandComposites replaces operators that have a body and no gradient, where
// a gradient by the given values passes through them, and leaves types and
// what is needed known.
func (b *builder) expandComposites(by []*graph.Value) error {
	for again := true; again; {
		again = false
		op.InferModel(b.m, op.InferOptions{Inputs: b.inputs})
		b.needs(by)
		for g := range b.m.Graph.Walk() {
			for n := range g.Nodes() {
				expanded, err := b.expand(n)
				if err != nil {
					return fmt.Errorf("%v: %w", n, err)
				}
				again = again || expanded
			}
		}
	}
	return nil
}

// expand puts the body of a composite operator in the place of n, if need be.
func (b *builder) expand(n *graph.Node) (bool, error) {
	d := op.Find(n.Domain, n.Op, n.Opset())
	if d == nil || d.Grad != nil || !b.passes(n) {
		return false, nil
	}
	f, err := d.Function(&op.Call{Node: n, Version: n.Opset()}, b.m.Opset)
	if f == nil || err != nil {
		return false, err
	}
	f.Domain, f.Name, f.Overload = n.Domain, n.Op, n.Overload
	f.Body.AttachFunction(b.m, f)
	b.m.Functions = append(b.m.Functions, f)
	err = b.m.InlineCall(n)
	b.m.Functions = b.m.Functions[:len(b.m.Functions)-1]
	return err == nil, err
}

// passes reports whether a gradient goes through n.
func (b *builder) passes(n *graph.Node) bool {
	for v := range n.Reads() {
		if b.needed[v] {
			return true
		}
	}
	return false
}

// values looks up the loss and what to differentiate by.
func (b *builder) values(o Options) (loss *graph.Value, by []*graph.Value, err error) {
	g := b.m.Graph
	if loss = g.Value(o.Loss); loss == nil {
		return nil, nil, fmt.Errorf("the model has no value %q to take for the loss", o.Loss)
	}
	for _, name := range o.By {
		v := g.Value(name)
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
	clear(b.needed)
	for _, v := range by {
		b.needed[v] = true
	}
	b.mark(b.m.Graph)
}

// mark marks the values of g, and of the graphs inside it, that depend on
// marked ones.
func (b *builder) mark(g *graph.Graph) {
	for n := range g.Nodes() {
		switch {
		case !b.passes(n):
		case len(n.Subgraphs()) > 0:
			b.markControl(n)
		default:
			for _, v := range n.Outs() {
				b.markValue(v)
			}
		}
	}
}

// markValue marks v if it may carry a gradient, and reports whether that is
// new.
func (b *builder) markValue(v *graph.Value) bool {
	if v == nil || b.needed[v] || !carries(v) {
		return false
	}
	b.needed[v] = true
	return true
}

// carries reports whether a gradient may pass through v.
func carries(v *graph.Value) bool { return isFloat(v) || op.Carries(v) }

// isFloat reports whether v may hold floats, an optional value those of what
// it wraps.
func isFloat(v *graph.Value) bool {
	t := v.Type
	if t != nil && t.Kind == graph.KindOptional {
		t = t.Item
	}
	return t == nil || t.Kind == graph.KindTensor && (t.Elem.IsFloat() || t.Elem == tensor.Undefined)
}
