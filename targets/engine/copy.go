package engine

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
)

// maxCallDepth bounds how deep calls of functions may nest, so that functions
// that call each other in a circle are reported.
const maxCallDepth = 64

// source is the private copy of a model that a session works on: one main
// graph without calls of functions.
type source struct {
	graph  *graph.Graph
	info   map[*graph.Node]nodeInfo
	values map[string]*graph.Value // the original main graph's names
	// outputs names what the main graph gives out, in order, as the model
	// does: a call may return one value under two names.
	outputs []string
}

// expose makes a value of the main graph, by its original name, an output.
func (s *source) expose(name string) error {
	if slices.Contains(s.outputs, name) {
		return nil
	}
	v := s.values[name]
	if v == nil {
		return fmt.Errorf("output %q: the main graph has no such value", name)
	}
	s.graph.AddOutput(v)
	s.outputs = append(s.outputs, name)
	return nil
}

// nodeInfo is what the copy of a node does not say itself.
type nodeInfo struct {
	origin  *graph.Node   // the node of the model, of a function, or of a body
	def     *op.Def       // nil for an operator that is not known
	version int64         // of the operator's domain, in force where origin stands
	machine machine       // set for a fused operator, in place of def
	rest    []*graph.Node // what a fused operator stands for besides origin
}

// eval returns what computes the node, nil if nothing does.
func (i *nodeInfo) eval() func(*op.Eval) error {
	switch {
	case i.machine != nil:
		return i.machine.eval
	case i.def != nil:
		return i.def.Eval
	}
	return nil
}

// copyModel returns a copy of m's main graph with calls inlined. It shares
// the weights with m and leaves m as it is. Inputs with a default become
// constants, but for those that are named as given.
func copyModel(m *graph.Model, given []string) (*source, error) {
	if m.Graph == nil {
		return nil, fmt.Errorf("the model has no graph")
	}
	g := graph.New(m.Graph.Name)
	g.Attach(&graph.Model{IRVersion: m.IRVersion, Opsets: m.Opsets, Graph: g})
	src := &source{graph: g, info: map[*graph.Node]nodeInfo{}, values: map[string]*graph.Value{}}
	c := &copier{src: src, model: m, opset: m.Opset, values: map[*graph.Value]*graph.Value{}}
	for _, v := range m.Graph.Inputs() {
		if v.Init == nil || slices.Contains(given, v.Name()) {
			c.values[v] = g.AddInput(v.Name(), v.Type)
		}
	}
	if err := c.contents(g, m.Graph); err != nil {
		return nil, err
	}
	for v := range m.Graph.Values() {
		src.values[v.Name()] = c.values[v]
	}
	for _, v := range m.Graph.Outputs() {
		src.outputs = append(src.outputs, v.Name())
	}
	return src, nil
}

// copier copies one graph: the main one with its subgraphs, or the body of
// one call.
type copier struct {
	src    *source
	model  *graph.Model
	opset  func(domain string) int64
	values map[*graph.Value]*graph.Value // original -> copy; nil for an omitted one
	attrs  map[string]*graph.Attr        // of the call, by name; nil outside functions
	call   string                        // goes before the names of a body
	depth  int
}

// subgraph returns a copy of g.
func (c *copier) subgraph(g *graph.Graph) (*graph.Graph, error) {
	dst := graph.New(g.Name)
	for _, v := range g.Inputs() {
		c.values[v] = dst.AddInput(c.name(dst, v), v.Type)
	}
	return dst, c.contents(dst, g)
}

// contents fills dst, which has g's inputs, with copies of all else.
func (c *copier) contents(dst, g *graph.Graph) error {
	c.inits(dst, g)
	if err := c.nodes(dst, g); err != nil {
		return err
	}
	for _, v := range g.Outputs() {
		w := c.values[v]
		if w == nil {
			return fmt.Errorf("graph %q: output %q has no maker", g.Name, v.Name())
		}
		dst.AddOutput(w)
	}
	return nil
}

func (c *copier) inits(dst, g *graph.Graph) {
	for _, v := range g.Inits() {
		w := c.values[v]
		if w == nil {
			w = dst.Define(c.name(dst, v))
			c.values[v] = w
		}
		dst.SetInit(w, v.Init)
	}
}

// nodes copies g's nodes in an order in which they can run, whatever order
// they stand in.
func (c *copier) nodes(dst, g *graph.Graph) error {
	order, err := g.Sorted()
	if err != nil {
		return err
	}
	for _, n := range order {
		if err := c.node(dst, n); err != nil {
			return err
		}
	}
	return nil
}

// name returns the name of v's copy in dst.
func (c *copier) name(dst *graph.Graph, v *graph.Value) string {
	name := c.call + v.Name()
	for i := 1; dst.Value(name) != nil; i++ {
		name = c.call + v.Name() + "_" + strconv.Itoa(i)
	}
	return name
}

func (c *copier) node(dst *graph.Graph, n *graph.Node) error {
	ins := make([]*graph.Value, n.NumIn())
	for i, v := range n.Ins() {
		if v == nil {
			continue
		}
		w, known := c.values[v]
		if !known {
			return fmt.Errorf("%v: input %d %q is made by no earlier node", n, i, v.Name())
		}
		ins[i] = w
	}
	attrs, err := c.nodeAttrs(n)
	if err != nil {
		return err
	}
	if f := c.model.Function(n.Domain, n.Op, n.Overload); f != nil {
		return c.inline(dst, n, f, ins, attrs)
	}
	version := c.opset(n.Domain)
	def := op.Find(n.Domain, n.Op, version)
	if def != nil && def.Eval == nil {
		f, err := def.Function(&op.Call{Node: n, Version: version}, c.opset)
		if err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
		if f != nil {
			return c.inline(dst, n, f, ins, attrs)
		}
	}
	cp := c.leaf(dst, n, ins, attrs)
	c.src.info[cp] = nodeInfo{origin: n, def: def, version: version}
	return nil
}

// leaf appends a copy of n with the given inputs and attributes to dst.
func (c *copier) leaf(dst *graph.Graph, n *graph.Node, ins []*graph.Value, attrs []*graph.Attr) *graph.Node {
	cp := graph.NewNode(n.Domain, n.Op, ins, 0, attrs...)
	cp.Name, cp.Overload = n.Name, n.Overload
	if n.Name != "" {
		cp.Name = c.call + n.Name
	}
	for _, v := range n.Outs() {
		if v == nil {
			cp.Bind(nil)
			continue
		}
		w := dst.Define(c.name(dst, v))
		if c.call == "" {
			w.Type = v.Type
		}
		c.values[v] = w
		cp.Bind(w)
	}
	return dst.Append(cp)
}

// nodeAttrs returns n's attributes with references to the call's attributes
// resolved and subgraphs copied. A reference to one that the call leaves out
// drops the attribute.
func (c *copier) nodeAttrs(n *graph.Node) ([]*graph.Attr, error) {
	var out []*graph.Attr
	for _, a := range n.Attrs() {
		if a.Ref != "" {
			r := c.attrs[a.Ref]
			if r == nil {
				continue
			}
			cp := *r
			cp.Name = a.Name
			out = append(out, &cp)
			continue
		}
		if len(a.Graphs) > 0 {
			cp := *a
			cp.Graphs = make([]*graph.Graph, len(a.Graphs))
			for i, g := range a.Graphs {
				sub, err := c.subgraph(g)
				if err != nil {
					return nil, err
				}
				cp.Graphs[i] = sub
			}
			a = &cp
		}
		out = append(out, a)
	}
	return out, nil
}

// inline puts the body of f in dst in place of the call n.
func (c *copier) inline(dst *graph.Graph, n *graph.Node, f *graph.Function, ins []*graph.Value, attrs []*graph.Attr) error {
	if c.depth >= maxCallDepth {
		return fmt.Errorf("%v: calls nest deeper than %d: does the function call itself?", n, maxCallDepth)
	}
	params, results := f.Body.Inputs(), f.Body.Outputs()
	if len(ins) > len(params) || n.NumOut() > len(results) {
		return fmt.Errorf("%v: call with %d inputs and %d results, the function has %d and %d",
			n, len(ins), n.NumOut(), len(params), len(results))
	}
	b := &copier{
		src: c.src, model: c.model, opset: f.Opset, depth: c.depth + 1,
		values: map[*graph.Value]*graph.Value{}, attrs: map[string]*graph.Attr{},
		call: c.call + callName(n) + "/",
	}
	for _, a := range f.Defaults {
		b.attrs[a.Name] = a
	}
	for _, a := range attrs {
		b.attrs[a.Name] = a
	}
	for i, p := range params {
		b.values[p] = nil
		if i < len(ins) {
			b.values[p] = ins[i]
		}
	}
	b.inits(dst, f.Body)
	if err := b.nodes(dst, f.Body); err != nil {
		return fmt.Errorf("%v: %w", n, err)
	}
	for i, v := range n.Outs() {
		if v != nil {
			c.values[v] = b.values[results[i]]
		}
	}
	return nil
}

// callName names a call uniquely enough for messages.
func callName(n *graph.Node) string {
	if n.Name != "" {
		return n.Name
	}
	for _, v := range n.Outs() {
		if v != nil {
			return v.Name()
		}
	}
	return n.Op
}
