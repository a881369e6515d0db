package graph

import "github.com/onnxpack/onnxpack/graph/tensor"

// Builder adds nodes to a graph, one expression after the other:
//
//	b := graph.NewBuilder(g, before)
//	y := b.Op("Mul", b.Op("Add", x, bias), scale)
type Builder struct {
	g      *Graph
	before *Node
	prefix string
}

// NewBuilder returns a builder that adds nodes to g in front of the node
// before, or at the end if that is nil.
func NewBuilder(g *Graph, before *Node) *Builder { return &Builder{g: g, before: before} }

// Named returns a builder that puts prefix before the names of the values it
// makes.
func (b *Builder) Named(prefix string) *Builder {
	c := *b
	c.prefix = prefix
	return &c
}

// Graph returns the graph that is built.
func (b *Builder) Graph() *Graph { return b.g }

// Add places a node with its results named after op, and returns it.
func (b *Builder) Add(n *Node) *Node {
	for _, v := range n.out {
		if v != nil && v.name == "" && b.prefix != "" {
			v.name = b.g.Fresh(b.prefix + n.Op)
		}
	}
	if b.before != nil {
		return b.g.InsertBefore(b.before, n)
	}
	return b.g.Append(n)
}

// Op adds an operator of the standard domain with one result.
func (b *Builder) Op(op string, in ...*Value) *Value {
	return b.Add(NewNode("", op, in, 1)).Out(0)
}

// OpAttrs adds an operator of the standard domain with attributes and one
// result.
func (b *Builder) OpAttrs(op string, attrs []*Attr, in ...*Value) *Value {
	return b.Add(NewNode("", op, in, 1, attrs...)).Out(0)
}

// Const adds an initializer.
func (b *Builder) Const(name string, t *tensor.Tensor) *Value {
	return b.g.AddInit(b.prefix+name, t)
}
