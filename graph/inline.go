package graph

import (
	"fmt"
	"slices"
)

// Take moves n from the graph that holds it into g, before the node at, or to
// the end if that is nil. Its results go with it, under names that are free;
// those who read them go on doing so, and must be in g or inside it.
func (g *Graph) Take(at, n *Node) {
	from := n.graph
	from.unlink(n)
	for _, v := range n.out {
		if v != nil {
			from.forget(v)
		}
	}
	if at == nil {
		g.Append(n)
		return
	}
	g.InsertBefore(at, n)
}

// takeInit moves an initializer of another graph, which is no input there,
// into g.
func (g *Graph) takeInit(v *Value) {
	from := v.graph
	from.inits = slices.DeleteFunc(from.inits, func(x *Value) bool { return x == v })
	from.forget(v)
	g.adopt(v)
	g.inits = append(g.inits, v)
}

// Splice moves the nodes and initializers of s, a subgraph of at or a graph
// that belongs to nothing, into at's graph in front of it. What s reads from
// its inputs is read from args instead, nil or a missing one being an omitted
// input; an input with a default keeps that where no argument is given.
// Splice returns what s gave out, and leaves s empty. In ONNX text, with s the
// branch of an If whose condition is true:
//
//	y = If (c) <then_branch = s () => (b) { a = Relu (x)  b = Exp (a) }, …>
//
// becomes
//
//	a = Relu (x)
//	b = Exp (a)
//	y = If (c) <…>
//
// and b is returned.
func (s *Graph) Splice(at *Node, args []*Value) []*Value {
	g := at.graph
	for i, in := range s.Inputs() {
		var arg *Value
		if i < len(args) {
			arg = args[i]
		}
		if arg == nil && in.Init != nil {
			s.DropInput(in)
			continue
		}
		s.substitute(in, arg)
		if in.Init != nil {
			s.DropInit(in)
		}
		s.DropInput(in)
	}
	for _, v := range s.Inits() {
		g.takeInit(v)
	}
	for n := range s.Nodes() {
		g.Take(at, n)
	}
	outs := s.Outputs()
	for len(s.outputs) > 0 {
		s.DropOutput(len(s.outputs) - 1)
	}
	return outs
}

// substitute puts v in the place of an input of s; a nil v omits it, and s
// must not give the input out then.
func (s *Graph) substitute(in, v *Value) {
	if v == nil {
		for _, u := range in.Uses() {
			u.Node.SetIn(u.Index, nil)
		}
		return
	}
	s.ReplaceUses(in, v)
	for _, giver := range in.Givers() {
		for i, o := range giver.outputs {
			if o == in {
				giver.SetOutput(i, v)
			}
		}
	}
}

// InlineCall puts the body of the function that n calls in the place of n.
// References to attributes of the function become the call's attributes, or
// their defaults; attributes that have neither are left out. Nodes of the
// body are named after the call. The error says why the call must stay: the
// function is not known, or it speaks another opset version than the graph
// around n.
func (m *Model) InlineCall(n *Node) error {
	f := m.Function(n.Domain, n.Op, n.Overload)
	if f == nil {
		return fmt.Errorf("%v: the model has no such function", n)
	}
	if err := importFor(n, f); err != nil {
		return fmt.Errorf("%v: %w", n, err)
	}
	for i, v := range f.Body.outputs {
		if v.input && n.In(slices.Index(f.Body.inputs, v)) == nil && n.Out(i) != nil {
			return fmt.Errorf("%v: result %d is an input that the call omits", n, i)
		}
	}
	body := f.Body.Clone()
	for g := range body.Walk() {
		for inner := range g.Nodes() {
			inner.bindRefs(n, f)
			if n.Name != "" && inner.Name != "" {
				inner.Name = n.Name + "/" + inner.Name
			}
		}
	}
	outs := body.Splice(n, n.Ins())
	for i, old := range n.Outs() {
		if old != nil {
			n.graph.standIn(n, old, outs[i])
		}
	}
	n.graph.Remove(n)
	return nil
}

// standIn makes v, which stands in front of n, take the place of n's result
// old, through an Identity where an output must keep its name.
func (g *Graph) standIn(n *Node, old, v *Value) {
	if g.Replace(old, v) {
		return
	}
	id := g.InsertBefore(n, NewNode("", "Identity", []*Value{v}, 1))
	g.Replace(old, id.Out(0))
}

// importFor lets the graph around a call import what the function imports.
func importFor(n *Node, f *Function) error {
	for _, s := range f.Opsets {
		if have := n.graph.Opset(s.Domain); have != 0 && have != s.Version {
			return fmt.Errorf("the function speaks opset %d of domain %q, the graph around it %d", s.Version, s.Domain, have)
		}
	}
	for _, s := range f.Opsets {
		n.graph.importOpset(s)
	}
	return nil
}

// bindRefs gives n, a node of a copy of f's body, the attributes of the call
// that it refers to.
func (n *Node) bindRefs(call *Node, f *Function) {
	for _, a := range n.Attrs() {
		if a.Ref == "" {
			continue
		}
		given := call.Attr(a.Ref)
		if given == nil {
			given = f.attrDefault(a.Ref)
		}
		if given == nil {
			n.DropAttr(a.Name)
			continue
		}
		bound := given.Clone()
		bound.Name, bound.Wire = a.Name, nil
		n.SetAttr(bound)
	}
}

// attrDefault returns the default of an attribute, nil if it has none.
func (f *Function) attrDefault(name string) *Attr {
	for _, a := range f.Defaults {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// DropUnusedFunctions removes the functions that no graph reaches by calls,
// and returns how many.
func (m *Model) DropUnusedFunctions() int {
	used := map[*Function]bool{}
	var visit func(g *Graph)
	visit = func(g *Graph) {
		for s := range g.Walk() {
			for n := range s.Nodes() {
				if f := m.Function(n.Domain, n.Op, n.Overload); f != nil && !used[f] {
					used[f] = true
					visit(f.Body)
				}
			}
		}
	}
	for _, g := range m.roots(InMain | InTraining) {
		visit(g)
	}
	kept := make([]*Function, 0, len(used))
	for _, f := range m.Functions {
		if used[f] {
			kept = append(kept, f)
		}
	}
	dropped := len(m.Functions) - len(kept)
	m.Functions = kept
	return dropped
}
