package graph

import (
	"fmt"
	"slices"
)

// Node is one application of an operator or function.
type Node struct {
	Name     string
	Domain   string // "" is the standard domain
	Op       string
	Overload string
	Doc      string
	Metadata []Prop
	Devices  [][]byte // device_configurations, encoded

	Unknown []byte
	Wire    []byte

	graph      *Graph
	prev, next *Node
	in, out    []*Value
	useAt      []int // of each input that is given, its place in the value's uses
	attrs      []*Attr
}

// NewNode returns a node that no graph holds yet, with nOut results that are
// named when a graph takes the node. A nil input is an omitted one.
func NewNode(domain, op string, in []*Value, nOut int, attrs ...*Attr) *Node {
	n := &Node{Domain: domain, Op: op}
	n.out = make([]*Value, nOut)
	for i := range n.out {
		n.out[i] = &Value{producer: n, index: i}
	}
	for _, v := range in {
		n.AddIn(v)
	}
	for _, a := range attrs {
		n.SetAttr(a)
	}
	return n
}

// Graph returns the graph that holds n, nil if none does.
func (n *Node) Graph() *Graph { return n.graph }

// Next returns the node after n in its graph, or nil.
func (n *Node) Next() *Node { return n.next }

// Prev returns the node before n in its graph, or nil.
func (n *Node) Prev() *Node { return n.prev }

// NumIn returns the number of inputs, omitted ones included.
func (n *Node) NumIn() int { return len(n.in) }

// NumOut returns the number of results, omitted ones included.
func (n *Node) NumOut() int { return len(n.out) }

// In returns input i, nil if it is omitted or beyond the last.
func (n *Node) In(i int) *Value {
	if i < 0 || i >= len(n.in) {
		return nil
	}
	return n.in[i]
}

// Out returns result i, nil if it is omitted or beyond the last.
func (n *Node) Out(i int) *Value {
	if i < 0 || i >= len(n.out) {
		return nil
	}
	return n.out[i]
}

// Ins returns a copy of the inputs; omitted ones are nil.
func (n *Node) Ins() []*Value { return slices.Clone(n.in) }

// Outs returns a copy of the results; omitted ones are nil.
func (n *Node) Outs() []*Value { return slices.Clone(n.out) }

// SetIn makes v input i, extending the inputs with omitted ones as needed; a
// nil v omits the input.
func (n *Node) SetIn(i int, v *Value) {
	for len(n.in) <= i {
		n.in, n.useAt = append(n.in, nil), append(n.useAt, 0)
	}
	if old := n.in[i]; old != nil {
		old.dropUse(n.useAt[i])
	}
	n.in[i] = v
	if v != nil {
		v.addUse(Use{n, i})
	}
}

// AddIn appends an input.
func (n *Node) AddIn(v *Value) { n.SetIn(len(n.in), v) }

// TrimIn drops the inputs from i on.
func (n *Node) TrimIn(i int) {
	for j := i; j < len(n.in); j++ {
		n.SetIn(j, nil)
	}
	n.in = n.in[:min(i, len(n.in))]
	n.useAt = n.useAt[:len(n.in)]
}

// DropIn removes input i, so that those after it move one place forward.
func (n *Node) DropIn(i int) {
	for j := i; j+1 < len(n.in); j++ {
		n.SetIn(j, n.in[j+1])
	}
	n.TrimIn(len(n.in) - 1)
}

// AddOut appends a result and returns it, named if a graph holds n.
func (n *Node) AddOut() *Value {
	v := &Value{producer: n, index: len(n.out)}
	n.out = append(n.out, v)
	if n.graph != nil {
		n.graph.adopt(v)
	}
	return v
}

// DropOut omits result i, which nothing may use; a last result is cut off.
func (n *Node) DropOut(i int) {
	v := n.out[i]
	if v != nil {
		if v.Used() {
			panic(fmt.Sprintf("graph: result %q of %v is dropped but used", v.name, n))
		}
		if v.graph != nil {
			v.graph.forget(v)
		}
		v.producer = nil
	}
	n.out[i] = nil
	for len(n.out) > 0 && n.out[len(n.out)-1] == nil {
		n.out = n.out[:len(n.out)-1]
	}
}

// Attrs returns a copy of the attribute list, in the file's order.
func (n *Node) Attrs() []*Attr { return slices.Clone(n.attrs) }

// Attr returns the attribute with the given name, or nil.
func (n *Node) Attr(name string) *Attr {
	for _, a := range n.attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// SetAttr sets an attribute, in place of one of the same name. The subgraphs
// that it holds become the node's; those of the attribute replaced that are
// not among them are emptied.
func (n *Node) SetAttr(a *Attr) {
	for i, b := range n.attrs {
		if b.Name == a.Name {
			n.attrs[i] = a
			n.own(a)
			n.disown(b)
			return
		}
	}
	n.appendAttr(a)
}

// appendAttr adds an attribute whose name is known to be free.
func (n *Node) appendAttr(a *Attr) {
	n.attrs = append(n.attrs, a)
	n.own(a)
}

func (n *Node) own(a *Attr) {
	for _, g := range a.Graphs {
		g.owner = n
	}
	if n.graph != nil {
		n.graph.noteHolder(n)
	}
}

// disown empties the graphs of an attribute that n no longer has, except
// those that are held by another or again.
func (n *Node) disown(a *Attr) {
	held := n.Subgraphs()
	for _, g := range a.Graphs {
		if g.owner == n && !slices.Contains(held, g) {
			g.release()
			g.owner = nil
		}
	}
	if n.graph != nil {
		n.graph.noteHolder(n)
	}
}

// DropAttr removes the attribute with the given name, if there is one, and
// empties its subgraphs; one that was given to another node stays as it is.
func (n *Node) DropAttr(name string) {
	a := n.Attr(name)
	if a == nil {
		return
	}
	n.attrs = slices.DeleteFunc(n.attrs, func(b *Attr) bool { return b == a })
	n.disown(a)
}

// Int returns an integer attribute, or def if it is absent or of another kind.
func (n *Node) Int(name string, def int64) int64 {
	if a := n.Attr(name); a != nil && a.Kind == AttrInt && len(a.Ints) == 1 {
		return a.Ints[0]
	}
	return def
}

// Float returns a float attribute, or def if it is absent or of another kind.
func (n *Node) Float(name string, def float32) float32 {
	if a := n.Attr(name); a != nil && a.Kind == AttrFloat && len(a.Floats) == 1 {
		return a.Floats[0]
	}
	return def
}

// Str returns a string attribute, or def if it is absent or of another kind.
func (n *Node) Str(name, def string) string {
	if a := n.Attr(name); a != nil && a.Kind == AttrString && len(a.Strings) == 1 {
		return a.Strings[0]
	}
	return def
}

// Ints returns a list-of-integers attribute, nil if it is absent or of
// another kind.
func (n *Node) Ints(name string) []int64 {
	if a := n.Attr(name); a != nil && a.Kind == AttrInts {
		return a.Ints
	}
	return nil
}

// Floats returns a list-of-floats attribute, nil if it is absent or of
// another kind.
func (n *Node) Floats(name string) []float32 {
	if a := n.Attr(name); a != nil && a.Kind == AttrFloats {
		return a.Floats
	}
	return nil
}

// Subgraphs returns the graphs held by attributes, in order.
func (n *Node) Subgraphs() []*Graph {
	var gs []*Graph
	for _, a := range n.attrs {
		gs = append(gs, a.Graphs...)
	}
	return gs
}

// Is reports whether n applies one of the given operators of the standard
// domain.
func (n *Node) Is(ops ...string) bool { return n.Domain == "" && slices.Contains(ops, n.Op) }

// Opset returns the version of n's domain that is in force where n stands, 0
// if the model does not import the domain.
func (n *Node) Opset() int64 { return n.graph.Opset(n.Domain) }

// String names the node for messages: `node "conv_7" (Conv)`. A node without
// a name is called by its first result.
func (n *Node) String() string {
	name := n.Name
	if name == "" {
		for _, v := range n.out {
			if v != nil {
				name = v.name
				break
			}
		}
	}
	return fmt.Sprintf("node %q (%s)", name, n.opName())
}

// opName returns the operator as "Op" or "domain::Op".
func (n *Node) opName() string {
	if n.Domain == "" {
		return n.Op
	}
	return n.Domain + "::" + n.Op
}
