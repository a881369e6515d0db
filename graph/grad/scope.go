package grad

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// scope holds the gradients of one graph in the making: of the main graph, or
// of a copy of a subgraph. Values of the graphs around it that it reads have
// gradients in it too, which are its share.
type scope struct {
	*builder
	g     *graph.Graph
	emit  *graph.Builder
	nodes []*graph.Node                   // to be differentiated, the last one first
	parts map[*graph.Value][]*graph.Value // gradients to be added up
	again map[*graph.Node]*graph.Node     // copies that gradients read in place of nodes
}

// scope returns the scope of the nodes that g has now.
func (b *builder) scope(g *graph.Graph) *scope {
	s := &scope{builder: b, g: g, emit: graph.NewBuilder(g, nil).Named("backward/"), parts: map[*graph.Value][]*graph.Value{}, again: map[*graph.Node]*graph.Node{}}
	for n := range g.Backward() {
		s.nodes = append(s.nodes, n)
	}
	return s
}

// seed gives the loss the gradient one.
func (s *scope) seed(loss *graph.Value) error {
	if t, ok := shapeOf(loss); ok && t.Len() != 1 {
		return fmt.Errorf("the loss %q is %v, want a single element", loss.Name(), loss.Type)
	}
	if !isFloat(loss) || loss.Type == nil {
		return fmt.Errorf("the loss %q is %v, want a float", loss.Name(), loss.Type)
	}
	one := tensor.FromFloat64s(loss.Type.Elem, tensor.Shape{1}, []float64{1})
	s.add(loss, s.emit.OpAttrs("ConstantOfShape", []*graph.Attr{graph.TensorAttr("value", one)}, s.emit.Op("Shape", loss)))
	return nil
}

func shapeOf(v *graph.Value) (tensor.Shape, bool) {
	if v.Type == nil {
		return nil, false
	}
	return v.Type.Shape.Static()
}

// backward emits the gradients of every node, from the last to the first. All
// but the last of so many segments are computed once more.
func (s *scope) backward(segments int) error {
	for i, segment := range s.segments(segments) {
		if i > 0 {
			s.recompute(segment)
		}
		for _, n := range segment {
			if err := s.node(n); err != nil {
				return fmt.Errorf("%v: %w", n, err)
			}
		}
	}
	s.sweep()
	return nil
}

// node emits the gradients of the inputs of one node.
func (s *scope) node(n *graph.Node) error {
	if !s.passes(n) {
		return nil
	}
	dout, reached := make([]*graph.Value, n.NumOut()), false
	for i, v := range n.Outs() {
		if v != nil {
			dout[i] = s.total(v)
			reached = reached || dout[i] != nil
		}
	}
	switch {
	case !reached:
		return nil
	case len(n.Subgraphs()) > 0:
		return s.control(n, dout)
	}
	seen, in := s.seen(n), n.Ins()
	g := &op.Grad{
		Call: op.Call{Node: seen, Version: n.Opset()},
		B:    s.emit, In: seen.Ins(), Out: seen.Outs(), DOut: dout,
		Want: make([]bool, len(in)), DIn: make([]*graph.Value, len(in)),
	}
	for i, v := range in {
		g.Want[i] = v != nil && s.needed[v] && carries(v)
	}
	d := op.Find(n.Domain, n.Op, g.Version)
	if d == nil || d.Grad == nil {
		return fmt.Errorf("%w: the operator is not differentiable", op.ErrNoGradient)
	}
	if err := d.Grad(g); err != nil {
		return err
	}
	for i, dv := range g.DIn {
		s.add(in[i], dv)
	}
	return nil
}

// add adds a part, nil for none, to the gradient of v.
func (s *scope) add(v, part *graph.Value) {
	if v != nil && part != nil {
		s.parts[v] = append(s.parts[v], part)
	}
}

// total returns the sum of the gradients that reached v, nil if none did.
func (s *scope) total(v *graph.Value) *graph.Value {
	parts := s.parts[v]
	if len(parts) == 0 {
		return nil
	}
	sum := parts[0]
	for _, p := range parts[1:] {
		sum = s.emit.Op("Add", sum, p)
	}
	if t := v.Type; sum.Type == nil && t != nil && t.Kind == graph.KindTensor {
		sum.Type, sum.Inferred = v.Type, true
	}
	s.parts[v] = []*graph.Value{sum}
	return sum
}

// orZeros returns the gradient of v, zeros if none reached it.
func (s *scope) orZeros(v *graph.Value) *graph.Value {
	if d := s.total(v); d != nil {
		return d
	}
	return op.Zeros(s.emit, v)
}

// output makes the gradient by v an output of the model.
func (s *scope) output(v *graph.Value) {
	out := s.emit.Op("Identity", s.orZeros(v))
	s.g.Rename(out, s.g.Fresh(Name(v.Name())))
	out.Type = graph.TensorOf(v.Type.Elem, v.Type.Shape)
	s.g.AddOutput(out)
}
