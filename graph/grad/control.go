package grad

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Control flow runs backward through copies of its subgraphs: a copy computes
// once more what the subgraph did, and then the gradients. For
//
//	y = If (c) <then_branch = { y = Mul (x, x) }, else_branch = { y = Neg (x) }>
//
// that is
//
//	dx = If (c) <then_branch = { y = Mul (x, x)  dx = … dy … }, else_branch = { dx = Neg (dy) }>

// Has reports whether gradients pass through calls of an operator: by a rule
// or a body of its own, or, for control flow, by what is here.
func Has(d *op.Def) bool {
	return d.HasGrad() || d.Domain == "" && (d.Name == "If" || d.Name == "Loop" || d.Name == "Scan" && d.Until == 0)
}

// markControl marks the results of a node with subgraphs, and the values in
// these, that depend on marked ones.
func (b *builder) markControl(n *graph.Node) {
	switch {
	case n.Is("Loop"):
		b.markCarried(n, subgraph(n, "body"), 2, max(0, n.NumIn()-2), 1)
	case n.Is("Scan"):
		b.markCarried(n, subgraph(n, "body"), 0, n.NumIn()-int(n.Int("num_scan_inputs", 0)), 0)
	case !n.Is("If"): // which has no gradient; whoever asks for one is told so
		for _, v := range n.Outs() {
			b.markValue(v)
		}
	default:
		for _, g := range n.Subgraphs() {
			b.mark(g)
			for i, v := range g.Outputs() {
				if b.needed[v] {
					b.markValue(n.Out(i))
				}
			}
		}
	}
}

// markCarried marks the results of a loop whose body reads the node's inputs
// from first on, the first of which are states that the body's results from
// skip on are fed back to. A state that depends on marked values in one
// iteration does so in all.
func (b *builder) markCarried(n *graph.Node, body *graph.Graph, first, states, skip int) {
	if body == nil {
		return
	}
	ins, outs := body.Inputs(), body.Outputs()
	for i := first; i < min(n.NumIn(), len(ins)); i++ {
		if v := n.In(i); v != nil && b.needed[v] {
			b.markValue(ins[i])
		}
	}
	for again := true; again; {
		b.mark(body)
		again = false
		for i := range states {
			if skip+i < len(outs) && first+i < len(ins) && b.needed[outs[skip+i]] {
				again = b.markValue(ins[first+i]) || again
			}
		}
	}
	for i := skip; i < len(outs); i++ {
		if b.needed[outs[i]] {
			b.markValue(n.Out(i - skip))
		}
	}
}

// subgraph returns the graph that an attribute of n holds, nil if it has none.
func subgraph(n *graph.Node, name string) *graph.Graph {
	if a := n.Attr(name); a != nil && len(a.Graphs) == 1 {
		return a.Graphs[0]
	}
	return nil
}

// control emits the gradients of a node with subgraphs, whose results have the
// gradients dout.
func (s *scope) control(n *graph.Node, dout []*graph.Value) error {
	switch {
	case n.Is("If"):
		return s.gradIf(n, dout)
	case n.Is("Loop"):
		return s.gradLoop(n, dout)
	case n.Is("Scan") && n.Opset() >= 9:
		return s.gradScan(n, dout)
	}
	return fmt.Errorf("%w: the operator is not differentiable", op.ErrNoGradient)
}

// captured lists the values from outside of n's subgraphs that these read and
// that need a gradient.
func (s *scope) captured(n *graph.Node) []*graph.Value {
	var list []*graph.Value
	for v := range n.Captures() {
		if s.needed[v] && carries(v) && !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// copyOf returns a copy of a subgraph in which the same is marked.
func (s *scope) copyOf(g *graph.Graph) *graph.Graph {
	to := graph.NewMapping()
	c := g.CloneMapped(to)
	for v, w := range to.Values {
		if s.needed[v] {
			s.needed[w] = true
		}
	}
	return c
}

// gradIf emits an If whose branches give the gradients of what the branches of
// n read.
func (s *scope) gradIf(n *graph.Node, dout []*graph.Value) error {
	captured := s.captured(n)
	if len(captured) == 0 {
		return nil
	}
	names := []string{"then_branch", "else_branch"}
	back := graph.NewNode("", "If", []*graph.Value{n.In(0)}, len(captured))
	for _, name := range names {
		g := subgraph(n, name)
		if g == nil {
			return fmt.Errorf("attribute %s is missing", name)
		}
		back.SetAttr(graph.GraphAttr(name, s.copyOf(g)))
	}
	s.emit.Add(back)
	for _, name := range names {
		branch := s.scope(subgraph(back, name))
		for i, v := range branch.takeOutputs() {
			if i < len(dout) {
				branch.add(v, dout[i])
			}
		}
		if err := branch.backward(1); err != nil {
			return err
		}
		for _, v := range captured {
			branch.give(branch.orZeros(v))
		}
	}
	for i, v := range captured {
		s.add(v, back.Out(i))
	}
	return nil
}

// takeOutputs returns the outputs of the scope's graph, which has none then.
func (s *scope) takeOutputs() []*graph.Value {
	outs := s.g.Outputs()
	for i := len(outs) - 1; i >= 0; i-- {
		s.g.DropOutput(i)
	}
	return outs
}

// give makes v, perhaps a value of a graph around, an output of the scope's
// graph.
func (s *scope) give(v *graph.Value) { s.g.AddOutput(s.emit.Op("Identity", v)) }

// replaceInput makes v take the place of an input of the scope's graph, in
// its nodes and among the given outputs.
func (s *scope) replaceInput(in, v *graph.Value, outs []*graph.Value) {
	v.Type, v.Inferred = in.Type, true
	if s.needed[in] {
		s.needed[v] = true
	}
	s.g.ReplaceUses(in, v)
	for i, o := range outs {
		if o == in {
			outs[i] = v
		}
	}
	s.g.DropInput(in)
}

// scalar returns a constant integer.
func scalar(b *graph.Builder, x int64) *graph.Value {
	return b.Const("i", tensor.Of(tensor.Shape{}, []int64{x}))
}
