package graph

import (
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Graph is a list of nodes in an order in which each follows those it reads,
// with the names that they define.
type Graph struct {
	Name         string
	Doc          string
	Metadata     []Prop
	Quantization []QuantAnnotation

	Unknown []byte
	Wire    []byte

	model       *Model    // of a main graph or a training graph
	function    *Function // of a function's body
	owner       *Node     // of a subgraph
	first, last *Node
	numNodes    int
	inputs      []*Value
	outputs     []*Value
	inits       []*Value
	values      map[string]*Value
	holders     map[*Node]bool // the nodes that have subgraphs
	fresh       map[string]int // last number that Fresh gave for a base
}

// QuantAnnotation tells which tensors hold a value's quantization parameters
// (ONNX's TensorAnnotation).
type QuantAnnotation struct {
	Value   string
	Params  []Prop // "SCALE_TENSOR" and the like -> name of a tensor
	Unknown []byte
}

// New returns an empty graph. It belongs to a model once it is set as its
// Graph with [Graph.Attach], to a node as part of an attribute.
func New(name string) *Graph {
	return &Graph{Name: name, values: map[string]*Value{}, fresh: map[string]int{}}
}

// Attach tells the graph which model it is the main graph (or a training
// graph) of, so that its nodes find their opset versions.
func (g *Graph) Attach(m *Model) { g.model = m }

// AttachFunction tells the graph which function, of which model, it is the
// body of.
func (g *Graph) AttachFunction(m *Model, f *Function) { g.model, g.function = m, f }

// Model returns the model that g is part of, nil if none.
func (g *Graph) Model() *Model { return g.Root().model }

// Function returns the function whose body g is part of, nil if none.
func (g *Graph) Function() *Function { return g.Root().function }

// Owner returns the node that holds g as a subgraph, nil for an outermost
// graph.
func (g *Graph) Owner() *Node { return g.owner }

// Outer returns the graph around g, nil for an outermost graph.
func (g *Graph) Outer() *Graph {
	if g.owner == nil {
		return nil
	}
	return g.owner.graph
}

// Root returns the outermost graph around g, which may be g.
func (g *Graph) Root() *Graph {
	for o := g.Outer(); o != nil; o = g.Outer() {
		g = o
	}
	return g
}

// Opset returns the version of a domain in force in g, 0 if it is not
// imported.
func (g *Graph) Opset(domain string) int64 {
	r := g.Root()
	switch {
	case r.function != nil:
		return r.function.Opset(domain)
	case r.model != nil:
		return r.model.Opset(domain)
	}
	return 0
}

// Nodes ranges over the nodes in order. Nodes may be removed and inserted
// meanwhile: the node reached may go, and what is inserted after it is seen.
func (g *Graph) Nodes() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for n := g.first; n != nil; {
			next := n.next
			if !yield(n) {
				return
			}
			if n.graph == g {
				next = n.next
			}
			for next != nil && next.graph != g { // removed meanwhile
				next = next.next
			}
			n = next
		}
	}
}

// Backward ranges over the nodes from last to first, under the same rules.
func (g *Graph) Backward() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for n := g.last; n != nil; {
			prev := n.prev
			if !yield(n) {
				return
			}
			if n.graph == g {
				prev = n.prev
			}
			for prev != nil && prev.graph != g {
				prev = prev.prev
			}
			n = prev
		}
	}
}

// First returns the first node, nil if there is none.
func (g *Graph) First() *Node { return g.first }

// Last returns the last node, nil if there is none.
func (g *Graph) Last() *Node { return g.last }

// NumNodes returns the number of nodes, those of subgraphs not counted.
func (g *Graph) NumNodes() int { return g.numNodes }

// Inputs returns a copy of the list of inputs.
func (g *Graph) Inputs() []*Value { return slices.Clone(g.inputs) }

// Outputs returns a copy of the list of outputs.
func (g *Graph) Outputs() []*Value { return slices.Clone(g.outputs) }

// Inits returns a copy of the list of initializers, in the file's order.
func (g *Graph) Inits() []*Value { return slices.Clone(g.inits) }

// Feeds returns the inputs that a caller must give: those without a default.
func (g *Graph) Feeds() []*Value {
	return slices.DeleteFunc(g.Inputs(), func(v *Value) bool { return v.Init != nil })
}

// Values ranges over every value that g defines, in no particular order.
func (g *Graph) Values() iter.Seq[*Value] {
	return func(yield func(*Value) bool) {
		for _, v := range g.values {
			if !yield(v) {
				return
			}
		}
	}
}

// Value returns the value that g defines under the given name, or nil.
func (g *Graph) Value(name string) *Value { return g.values[name] }

// Lookup returns the value that a name means in g: g's own, or that of the
// nearest graph around it.
func (g *Graph) Lookup(name string) *Value {
	for ; g != nil; g = g.Outer() {
		if v := g.values[name]; v != nil {
			return v
		}
	}
	return nil
}

// Fresh returns a name that neither g, nor a graph around it or inside it,
// defines: base itself if it is free, else base_1, base_2 and so on.
func (g *Graph) Fresh(base string) string {
	r := g.Root()
	if base == "" {
		base = "v"
	}
	name := base
	for g.taken(name) {
		r.fresh[base]++
		name = base + "_" + strconv.Itoa(r.fresh[base])
	}
	return name
}

// taken reports whether a value of g called name would hide another, or be
// hidden by one.
func (g *Graph) taken(name string) bool { return g.Lookup(name) != nil || g.defines(name) }

// defines reports whether g or a graph inside it defines the name.
func (g *Graph) defines(name string) bool {
	if g.values[name] != nil {
		return true
	}
	for n := range g.holders {
		for _, a := range n.attrs {
			for _, s := range a.Graphs {
				if s.defines(name) {
					return true
				}
			}
		}
	}
	return false
}

// adopt gives v a name if it has none or one that is taken, and enters it in
// g.
func (g *Graph) adopt(v *Value) {
	if v.name == "" || g.taken(v.name) {
		base := v.name
		if base == "" && v.producer != nil {
			base = v.producer.Op
			if v.producer.Name != "" {
				base = v.producer.Name
			}
			base += "_out"
		}
		v.name = g.Fresh(base)
	}
	v.graph = g
	g.values[v.name] = v
}

func (g *Graph) forget(v *Value) {
	delete(g.values, v.name)
	v.graph = nil
}

// Define enters a value that nothing makes yet under the given name, which
// must be free in g. Readers use it for names that are used before they are
// made; [Node.Bind] and AddInput give the value its maker.
func (g *Graph) Define(name string) *Value {
	if g.values[name] != nil {
		panic(fmt.Sprintf("graph: %q is defined twice", name))
	}
	v := &Value{name: name, graph: g}
	g.values[name] = v
	return v
}

// Bind makes v, a value of n's graph that nothing makes, the next result of
// n; nil appends an omitted result.
func (n *Node) Bind(v *Value) {
	if v != nil {
		if v.producer != nil || v.input || v.Init != nil {
			panic(fmt.Sprintf("graph: %q is made twice", v.name))
		}
		v.producer, v.index = n, len(n.out)
	}
	n.out = append(n.out, v)
}

// AddInput makes a value an input of g. The name must be free, or that of a
// value that neither a node nor another input makes.
func (g *Graph) AddInput(name string, t *Type) *Value {
	v := g.values[name]
	if v == nil {
		v = g.Define(name)
	}
	if v.input || v.producer != nil {
		panic(fmt.Sprintf("graph: input %q is made twice", name))
	}
	v.Type, v.input = t, true
	g.inputs = append(g.inputs, v)
	return v
}

// AddOutput makes v, a value of g or of a graph around it, an output.
func (g *Graph) AddOutput(v *Value) {
	g.outputs = append(g.outputs, v)
	v.givers = append(v.givers, g)
}

// SetOutput makes v output i in place of what was.
func (g *Graph) SetOutput(i int, v *Value) {
	g.outputs[i].dropGiver(g)
	g.outputs[i] = v
	v.givers = append(v.givers, g)
}

// DropOutput removes output i from the list.
func (g *Graph) DropOutput(i int) {
	g.outputs[i].dropGiver(g)
	g.outputs = slices.Delete(g.outputs, i, i+1)
}

// AddInit adds an initializer under a name like the given one and returns its
// value, typed.
func (g *Graph) AddInit(name string, t *tensor.Tensor) *Value {
	v := &Value{name: name}
	g.adopt(v)
	g.SetInit(v, &Literal{Tensor: t})
	return v
}

// SetInit makes l the contents of v, a value of g that no node makes.
func (g *Graph) SetInit(v *Value, l *Literal) {
	if v.graph != g || v.producer != nil {
		panic(fmt.Sprintf("graph: %v is no value of graph %q that can have contents", v, g.Name))
	}
	if v.Init == nil {
		g.inits = append(g.inits, v)
	}
	v.Init = l
	if !v.input {
		v.Type, v.Inferred = TensorOf(l.DType(), DimsOf(l.Shape())), true
	}
}

// DropInit takes the contents from v; unless it is an input, nothing may use
// v, and it leaves the graph.
func (g *Graph) DropInit(v *Value) {
	if !v.input {
		if v.Used() {
			panic(fmt.Sprintf("graph: initializer %q is dropped but used", v.name))
		}
		g.forget(v)
	}
	v.Init = nil
	g.inits = slices.DeleteFunc(g.inits, func(x *Value) bool { return x == v })
}

// DropInput takes v from the inputs; nothing may use it unless it is an
// initializer too, which it then remains.
func (g *Graph) DropInput(v *Value) {
	if v.Init == nil {
		if v.Used() {
			panic(fmt.Sprintf("graph: input %q is dropped but used", v.name))
		}
		g.forget(v)
	}
	v.input = false
	g.inputs = slices.DeleteFunc(g.inputs, func(x *Value) bool { return x == v })
}

// Rename gives v, a value of g, another name, which must be free in g; what
// g's quantization annotations say of v follows.
func (g *Graph) Rename(v *Value, name string) {
	old := v.name
	if name == old {
		return
	}
	g.rename(v, name)
	for i := range g.Quantization {
		q := &g.Quantization[i]
		if q.Value == old {
			q.Value = name
		}
		if slices.ContainsFunc(q.Params, func(p Prop) bool { return p.Value == old }) {
			q.Params = slices.Clone(q.Params)
			for j := range q.Params {
				if q.Params[j].Value == old {
					q.Params[j].Value = name
				}
			}
		}
	}
}

func (g *Graph) rename(v *Value, name string) {
	if g.values[name] != nil {
		panic(fmt.Sprintf("graph: %q is renamed to %q, which exists", v.name, name))
	}
	delete(g.values, v.name)
	v.name = name
	g.values[name] = v
}

// Append adds n, which no graph holds, as the last node.
func (g *Graph) Append(n *Node) *Node { return g.insert(n, g.last, nil) }

// InsertBefore adds n, which no graph holds, before the node at.
func (g *Graph) InsertBefore(at, n *Node) *Node {
	g.mustHold(at)
	return g.insert(n, at.prev, at)
}

// InsertAfter adds n, which no graph holds, after the node at.
func (g *Graph) InsertAfter(at, n *Node) *Node {
	g.mustHold(at)
	return g.insert(n, at, at.next)
}

func (g *Graph) mustHold(n *Node) {
	if n.graph != g {
		panic(fmt.Sprintf("graph: %v is not in graph %q", n, g.Name))
	}
}

func (g *Graph) insert(n, prev, next *Node) *Node {
	if n.graph != nil {
		panic(fmt.Sprintf("graph: %v is inserted twice", n))
	}
	g.link(n, prev, next)
	for _, v := range n.out {
		if v != nil && v.graph != g {
			g.adopt(v)
		}
	}
	return n
}

func (g *Graph) link(n, prev, next *Node) {
	n.graph, n.prev, n.next = g, prev, next
	if prev != nil {
		prev.next = n
	} else {
		g.first = n
	}
	if next != nil {
		next.prev = n
	} else {
		g.last = n
	}
	g.numNodes++
	g.noteHolder(n)
}

// noteHolder keeps the set of nodes with subgraphs true for n, a node of g.
func (g *Graph) noteHolder(n *Node) {
	for _, a := range n.attrs {
		if len(a.Graphs) > 0 {
			if g.holders == nil {
				g.holders = map[*Node]bool{}
			}
			g.holders[n] = true
			return
		}
	}
	delete(g.holders, n)
}

func (g *Graph) unlink(n *Node) {
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		g.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		g.last = n.prev
	}
	n.graph = nil
	g.numNodes--
	delete(g.holders, n)
}

// MoveBefore moves n, a node of g, to stand before the node at.
func (g *Graph) MoveBefore(at, n *Node) {
	if at == n {
		return
	}
	g.mustHold(at)
	g.mustHold(n)
	g.unlink(n)
	g.link(n, at.prev, at)
}

// Remove takes n out of g and drops its uses of other values, those in its
// subgraphs included. Nothing may use its results.
func (g *Graph) Remove(n *Node) {
	g.mustHold(n)
	for _, v := range n.out {
		if v == nil {
			continue
		}
		if v.Used() {
			panic(fmt.Sprintf("graph: %v is removed but %q is used", n, v.name))
		}
		g.forget(v)
	}
	n.TrimIn(0)
	for _, s := range n.Subgraphs() {
		s.release()
	}
	g.unlink(n)
}

// release drops the uses that g's nodes and outputs have of values outside g,
// whatever the order of the nodes, and leaves g empty.
func (g *Graph) release() {
	for len(g.outputs) > 0 {
		g.DropOutput(len(g.outputs) - 1)
	}
	for n := g.first; n != nil; n = n.next {
		n.TrimIn(0)
		for _, s := range n.Subgraphs() {
			s.release()
		}
	}
	for n := range g.Backward() {
		g.Remove(n)
	}
}

// ReplaceUses makes every reader of old, in g and in the graphs inside it,
// read v instead. Graph outputs are not changed: see [Graph.Replace].
func (g *Graph) ReplaceUses(old, v *Value) {
	if old == v {
		return
	}
	for _, u := range old.uses {
		u.Node.in[u.Index] = v
		v.addUse(u)
	}
	old.uses = nil
}

// Replace puts v in the place of old everywhere, in nodes and in outputs of
// graphs, and reports whether it could. Where old is an output of the graph
// that defines it, that output keeps its name: v takes the name over, which
// only the result of a node of the same graph can that is not an output
// itself. Otherwise nothing is changed.
func (g *Graph) Replace(old, v *Value) bool {
	if old == v {
		return true
	}
	if slices.Contains(old.givers, old.graph) && !old.graph.takeOver(old, v) {
		return false
	}
	for _, giver := range old.Givers() {
		giver.SetOutput(slices.Index(giver.outputs, old), v)
	}
	g.ReplaceUses(old, v)
	return true
}

// takeOver gives v, a value of g, the name of old and what is stated of it,
// if v can stand in old's place as an output of g.
func (g *Graph) takeOver(old, v *Value) bool {
	if v.graph != g || v.producer == nil || slices.Contains(v.givers, g) || old.input {
		return false
	}
	name := old.name
	g.rename(old, g.Fresh(name+"_old")) // annotations stay with the name
	g.rename(v, name)
	if old.Type != nil {
		v.Type, v.Inferred = old.Type, old.Inferred
	}
	v.Doc, v.Metadata, v.Wire, v.Unknown = old.Doc, old.Metadata, old.Wire, old.Unknown
	return true
}

// Supplant puts m, which no graph holds and which has one result, in the
// place of n, of which only the first result is read. That result keeps its
// name, and its type if m's has none.
func (g *Graph) Supplant(n, m *Node) {
	if m.Name == "" {
		m.Name = n.Name
	}
	old, v := n.Out(0), m.Out(0)
	name, t, inferred := old.Name(), old.Type, old.Inferred
	g.InsertBefore(n, m)
	if !g.Replace(old, v) {
		panic("graph: a new node's result could not take the place of an old one's")
	}
	if v.Type == nil {
		v.Type, v.Inferred = t, inferred
	}
	g.Remove(n)
	if g.Value(name) == nil {
		g.Rename(v, name)
	}
}
