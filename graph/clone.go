package graph

import "slices"

// Mapping leads from the parts of what was cloned to their copies. Values
// that were not copied, such as those of graphs around a cloned one, are
// absent; [Mapping.Value] maps them to themselves.
type Mapping struct {
	Values map[*Value]*Value
	Nodes  map[*Node]*Node
	Graphs map[*Graph]*Graph
}

// NewMapping returns a mapping that holds nothing. Entries that are put into
// its Values before cloning say what copies read in place of a value from
// outside.
func NewMapping() *Mapping {
	return &Mapping{map[*Value]*Value{}, map[*Node]*Node{}, map[*Graph]*Graph{}}
}

// Value returns the copy of v, or v itself if it was not copied.
func (m *Mapping) Value(v *Value) *Value {
	if c, ok := m.Values[v]; ok {
		return c
	}
	return v
}

// Clone returns a copy of the model that can be edited on its own. Tensors
// and types, which are not changed in place, are shared.
func (m *Model) Clone() *Model { return m.CloneMapped(NewMapping()) }

// CloneMapped is Clone, and enters what it copies in the mapping.
func (m *Model) CloneMapped(to *Mapping) *Model {
	c := *m
	c.Opsets = slices.Clone(m.Opsets)
	c.Metadata = slices.Clone(m.Metadata)
	c.Devices = slices.Clone(m.Devices)
	c.Graph = m.attached(m.Graph, &c, to)
	c.Functions = slices.Clone(m.Functions)
	for i, f := range m.Functions {
		c.Functions[i] = f.cloneInto(&c, to)
	}
	c.Training = slices.Clone(m.Training)
	for i, t := range m.Training {
		u := *t
		u.Init, u.Algorithm = m.attached(t.Init, &c, to), m.attached(t.Algorithm, &c, to)
		u.InitBinding = slices.Clone(t.InitBinding)
		u.UpdateBinding = slices.Clone(t.UpdateBinding)
		c.Training[i] = &u
	}
	return &c
}

func (m *Model) attached(g *Graph, to *Model, mp *Mapping) *Graph {
	if g == nil {
		return nil
	}
	c := g.CloneMapped(mp)
	c.Attach(to)
	return c
}

func (f *Function) cloneInto(m *Model, to *Mapping) *Function {
	c := *f
	c.Opsets = slices.Clone(f.Opsets)
	c.Attrs = slices.Clone(f.Attrs)
	c.Metadata = slices.Clone(f.Metadata)
	c.Defaults = slices.Clone(f.Defaults)
	for i, a := range f.Defaults {
		c.Defaults[i] = a.clone(to)
	}
	if f.Body != nil {
		c.Body = f.Body.CloneMapped(to)
		c.Body.AttachFunction(m, &c)
	}
	return &c
}

// Clone returns a copy of g that belongs to no model, function or node. Its
// values keep their names; where g reads values of graphs around it, so does
// the copy.
func (g *Graph) Clone() *Graph { return g.CloneMapped(NewMapping()) }

// CloneMapped is Clone, and enters what it copies in the mapping; what the
// mapping says of values from outside g holds for the copy.
func (g *Graph) CloneMapped(to *Mapping) *Graph {
	c := New(g.Name)
	c.Doc = g.Doc
	c.Metadata = slices.Clone(g.Metadata)
	c.Quantization = slices.Clone(g.Quantization)
	c.Unknown, c.Wire = g.Unknown, g.Wire
	to.Graphs[g] = c
	for _, v := range g.values {
		to.Values[v] = c.copyValue(v)
	}
	for _, v := range g.inputs {
		c.inputs = append(c.inputs, to.Values[v])
	}
	for _, v := range g.inits {
		c.inits = append(c.inits, to.Values[v])
	}
	for n := g.first; n != nil; n = n.next {
		c.link(n.cloneBare(to), c.last, nil)
	}
	for _, v := range g.outputs {
		c.AddOutput(to.Value(v))
	}
	return c
}

// copyValue enters a value like v in g, with no maker but the input list and
// no readers.
func (g *Graph) copyValue(v *Value) *Value {
	w := v.statement()
	w.name, w.graph, w.input = v.name, g, v.input
	w.Init = v.Init.clone()
	g.values[w.name] = w
	return w
}

// statement returns a value that nothing makes of which is stated what v is.
func (v *Value) statement() *Value {
	return &Value{
		Type: v.Type, Inferred: v.Inferred,
		Doc: v.Doc, Metadata: slices.Clone(v.Metadata),
		Unknown: v.Unknown, Wire: v.Wire,
	}
}

// cloneBare copies n, reading and making the mapped values, whose graph knows
// them already.
func (n *Node) cloneBare(to *Mapping) *Node {
	c := n.copyHead()
	to.Nodes[n] = c
	for _, v := range n.in {
		if v == nil {
			c.AddIn(nil)
		} else {
			c.AddIn(to.Value(v))
		}
	}
	for i, v := range n.out {
		w := to.Values[v]
		if w != nil {
			w.producer, w.index = c, i
		}
		c.out = append(c.out, w)
	}
	for _, a := range n.attrs {
		c.appendAttr(a.clone(to))
	}
	return c
}

// copyHead copies what n is, without operands and attributes.
func (n *Node) copyHead() *Node {
	return &Node{
		Name: n.Name, Domain: n.Domain, Op: n.Op, Overload: n.Overload, Doc: n.Doc,
		Metadata: slices.Clone(n.Metadata), Devices: slices.Clone(n.Devices),
		Unknown: n.Unknown, Wire: n.Wire,
	}
}

// Clone returns a copy of n that no graph holds, with the given inputs (nil
// for omitted ones) and a result for each of n's, of the same type and, where
// that is free in the graph that takes the copy, the same name. Subgraphs are
// copied and read the same values around them.
func (n *Node) Clone(in []*Value) *Node { return n.CloneMapped(in, NewMapping()) }

// CloneMapped is Clone where the mapping says what the copies of n's
// subgraphs read; it enters what it copies, n's results included.
func (n *Node) CloneMapped(in []*Value, to *Mapping) *Node {
	c := n.copyHead()
	to.Nodes[n] = c
	for _, v := range in {
		c.AddIn(v)
	}
	for i, v := range n.out {
		var w *Value
		if v != nil {
			w = v.statement()
			w.name, w.producer, w.index = v.name, c, i
			to.Values[v] = w
		}
		c.out = append(c.out, w)
	}
	for _, a := range n.attrs {
		c.appendAttr(a.clone(to))
	}
	return c
}

// Clone returns a copy of the attribute, whose subgraphs are copies that no
// node holds yet.
func (a *Attr) Clone() *Attr { return a.clone(NewMapping()) }

func (a *Attr) clone(to *Mapping) *Attr {
	c := *a
	c.Floats = slices.Clone(a.Floats)
	c.Ints = slices.Clone(a.Ints)
	c.Strings = slices.Clone(a.Strings)
	c.Types = slices.Clone(a.Types)
	c.Literals = slices.Clone(a.Literals)
	for i, l := range a.Literals {
		c.Literals[i] = l.clone()
	}
	c.Graphs = slices.Clone(a.Graphs)
	for i, g := range a.Graphs {
		c.Graphs[i] = g.CloneMapped(to)
	}
	return &c
}

// clone returns a copy of l over the same elements.
func (l *Literal) clone() *Literal {
	if l == nil {
		return nil
	}
	c := *l
	c.Metadata = slices.Clone(l.Metadata)
	if l.External != nil {
		e := *l.External
		e.Extra = slices.Clone(e.Extra)
		c.External = &e
	}
	return &c
}
