// Package opset rewrites models from one version of ONNX's standard operators
// to another.
//
// Floor 4. [changes] holds what one version did to an operator beyond adding
// types, attributes and operands; the schemas of package op judge the rest.
// Where a change cannot be followed the model stays as it was.
package opset

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Latest is the version up to which changes are known.
const Latest = 28

// irVersions holds the first ir_version that goes with a version of the
// standard operators, for those where it rises.
var irVersions = []struct{ opset, ir int64 }{
	{1, 3}, {9, 4}, {10, 5}, {11, 6}, {12, 7}, {15, 8}, {19, 9}, {21, 10}, {23, 11}, {25, 12}, {26, 13}, {28, 14},
}

// Raise returns a copy of m that speaks the given version of the standard
// operators, m itself if it speaks that or a later one already. The error
// names a node whose change cannot be followed, and why.
func Raise(m *graph.Model, to int64) (*graph.Model, error) {
	if m.Opset("") >= to {
		return m, nil
	}
	return Convert(m, to)
}

// Convert returns a copy of m that speaks the given version of the standard
// operators, an earlier or a later one, and means the same. Functions that
// speak another version are converted with the rest. The error names a node
// whose change cannot be followed, and why.
func Convert(m *graph.Model, to int64) (*graph.Model, error) {
	if to < 1 || to > Latest {
		return nil, fmt.Errorf("opset %d is not known, want 1 to %d", to, Latest)
	}
	c := m.Clone()
	facts := op.InferModel(c, op.InferOptions{})
	for _, f := range c.Functions {
		if err := convertGraph(f.Body, facts, to); err != nil {
			return nil, fmt.Errorf("function %s: %w", f.Name, err)
		}
	}
	if err := convertGraph(c.Graph, facts, to); err != nil {
		return nil, err
	}
	for _, t := range c.Training {
		for _, g := range []*graph.Graph{t.Init, t.Algorithm} {
			if err := convertGraph(g, facts, to); err != nil {
				return nil, fmt.Errorf("training_info: %w", err)
			}
		}
	}
	speak(c, to)
	return c, nil
}

// ConvertFunction returns a copy of m in which function f speaks the given
// version of the standard operators. The error is that of [Convert].
func ConvertFunction(m *graph.Model, f *graph.Function, to int64) (*graph.Model, error) {
	i := slices.Index(m.Functions, f)
	c := m.Clone()
	f = c.Functions[i]
	if err := convertGraph(f.Body, op.InferModel(c, op.InferOptions{}), to); err != nil {
		return nil, err
	}
	speakIn(f, to)
	return c, nil
}

// speak makes the model and its functions import the given version.
func speak(m *graph.Model, to int64) {
	from := m.Opset("")
	for _, f := range m.Functions {
		speakIn(f, to)
	}
	m.SetOpset("", to)
	for _, v := range irVersions {
		if to > from && v.opset <= to {
			m.IRVersion = max(m.IRVersion, v.ir)
		}
	}
}

func speakIn(f *graph.Function, to int64) {
	for i, s := range f.Opsets {
		if s.Domain == "" || s.Domain == "ai.onnx" {
			f.Opsets[i].Version = to
		}
	}
}

// convertGraph rewrites the standard nodes of g, the graphs inside it
// included, version by version.
func convertGraph(g *graph.Graph, facts *op.Inference, to int64) error {
	if g == nil {
		return nil
	}
	from := g.Opset("")
	if from == to || from == 0 {
		return nil
	}
	wrong := brokenCalls(g, from)
	eachNode(g, func(n *graph.Node) error {
		dropMeaningless(n, from, to)
		return nil
	})
	for v := from + 1; v <= to; v++ {
		if err := eachNode(g, func(n *graph.Node) error { return follow(&site{n, facts}, v, change.raise) }); err != nil {
			return err
		}
	}
	for v := from; v > to; v-- {
		if v == 11 {
			eachNode(g, func(n *graph.Node) error { return countForward(n) })
		}
		if err := eachNode(g, func(n *graph.Node) error { return follow(&site{n, facts}, v, change.lower) }); err != nil {
			return err
		}
	}
	return eachNode(g, func(n *graph.Node) error {
		dropDefaults(n, from, to)
		if wrong[n] {
			return nil
		}
		return checkCall(n, from, to)
	})
}

// eachNode calls f for every standard node of g and of the graphs inside it.
func eachNode(g *graph.Graph, f func(*graph.Node) error) error {
	for s := range g.Walk() {
		for n := range s.Nodes() {
			if n.Domain != "" {
				continue
			}
			if err := f(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// brokenCalls returns the nodes that break the schema of their operator before
// anything is changed: they are not held to it after.
func brokenCalls(g *graph.Graph, version int64) map[*graph.Node]bool {
	wrong := map[*graph.Node]bool{}
	eachNode(g, func(n *graph.Node) error {
		wrong[n] = op.CheckCall(n, version) != nil
		return nil
	})
	return wrong
}

// checkCall reports what of n the version after the conversion does not have.
func checkCall(n *graph.Node, from, to int64) error {
	if op.SchemaOf("", n.Op, to) == nil {
		if len(op.Versions("", n.Op)) == 0 {
			return nil // an operator that is not known is kept
		}
		return fmt.Errorf("%v: operator %s of opset %d is not part of opset %d", n, n.Op, from, to)
	}
	if err := op.CheckCall(n, to); err != nil {
		return fmt.Errorf("in opset %d: %w", to, err)
	}
	return nil
}

// dropDefaults removes attributes that an operator does not have in the new
// version and that say what it does without them.
func dropDefaults(n *graph.Node, from, to int64) {
	now, then := op.SchemaOf("", n.Op, to), op.SchemaOf("", n.Op, from)
	if now == nil || then == nil {
		return
	}
	for _, a := range n.Attrs() {
		spec := then.Attr(a.Name)
		if now.Attr(a.Name) == nil && spec != nil && spec.Default != nil && sameAttr(a, spec.Default) {
			n.DropAttr(a.Name)
		}
	}
}

// dropMeaningless removes attributes that an operator does not have, and that
// would gain a meaning in the new version.
func dropMeaningless(n *graph.Node, from, to int64) {
	then, now := op.SchemaOf("", n.Op, from), op.SchemaOf("", n.Op, to)
	if then == nil || now == nil {
		return
	}
	for _, a := range n.Attrs() {
		if then.Attr(a.Name) == nil && now.Attr(a.Name) != nil {
			n.DropAttr(a.Name)
		}
	}
}

func sameAttr(a, b *graph.Attr) bool {
	return a.Ref == "" && a.Kind == b.Kind && fmt.Sprint(a.Ints, a.Floats, a.Strings) == fmt.Sprint(b.Ints, b.Floats, b.Strings)
}

// follow applies what version v did to the operator of s.
func follow(s *site, v int64, side func(change) edit) error {
	if v == 6 {
		s.node.DropAttr("consumed_inputs") // which many operators had, and which said nothing
	}
	for _, c := range changes[s.node.Op] {
		e := side(c)
		if c.since != v || e == nil {
			continue
		}
		for _, a := range s.node.Attrs() {
			if a.Ref != "" {
				return fmt.Errorf("%v: attribute %q is that of a function's call: inline functions first", s.node, a.Name)
			}
		}
		if err := e(s); err != nil {
			return fmt.Errorf("%v in opset %d: %w", s.node, v, err)
		}
		return nil
	}
	return nil
}

// edit rewrites a node from one version to the next or the one before, or says
// why it cannot.
type edit func(*site) error

// change is what one version did to an operator. A nil edit has nothing to do
// but what schemas tell.
type change struct {
	since int64
	up    edit // to this version
	down  edit // from it to the one before
}

func (c change) raise() edit { return c.up }
func (c change) lower() edit { return c.down }

// site is a node to be rewritten.
type site struct {
	node  *graph.Node
	facts *op.Inference
}

// constant returns what input i always holds, nil if that is not known.
func (s *site) constant(i int) *tensor.Tensor {
	v := s.node.In(i)
	if v == nil {
		return nil
	}
	if t := s.facts.Const(v); t != nil {
		return t
	}
	if p := v.Producer(); p != nil && p.Is("Constant") {
		if a := p.Attr("value"); a != nil && len(a.Literals) == 1 {
			return a.Literals[0].Tensor
		}
	}
	return nil
}

// dims returns the shape of input i; the error says that not even its rank is
// known.
func (s *site) dims(i int) (graph.Dims, error) {
	v := s.node.In(i)
	if v == nil || v.Type == nil || v.Type.Kind != graph.KindTensor || v.Type.Shape == nil {
		return nil, fmt.Errorf("the shape of input %d is not known", i)
	}
	return v.Type.Shape, nil
}

// elem returns the element type of input i.
func (s *site) elem(i int) (tensor.DType, error) {
	v := s.node.In(i)
	if v == nil || v.Type == nil || v.Type.Kind != graph.KindTensor || !v.Type.Elem.Valid() {
		return 0, fmt.Errorf("the type of input %d is not known", i)
	}
	return v.Type.Elem, nil
}

// value returns a value that holds t: an initializer, or in a function, which
// has none, the result of a Constant.
func (s *site) value(name string, t *tensor.Tensor) *graph.Value {
	g := s.node.Graph()
	if g.Function() == nil {
		return g.AddInit(name, t)
	}
	return g.InsertBefore(s.node, graph.NewNode("", "Constant", nil, 1, graph.TensorAttr("value", t))).Out(0)
}

// give makes t input i.
func (s *site) give(i int, name string, t *tensor.Tensor) { s.node.SetIn(i, s.value(name, t)) }

// builder adds nodes in front of the node.
func (s *site) builder() *graph.Builder { return graph.NewBuilder(s.node.Graph(), s.node) }

// axis returns the attribute axis as one of the axes of input 0, whose shape
// is d.
func (s *site) axis(d graph.Dims, def int64) (int64, error) {
	a, rank := s.node.Int("axis", def), int64(len(d))
	if a < 0 {
		a += rank
	}
	if a < 0 || a > rank {
		return 0, fmt.Errorf("axis %d of %d", s.node.Int("axis", def), rank)
	}
	return a, nil
}
