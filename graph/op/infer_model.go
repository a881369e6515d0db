package op

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// InferOptions says how a model is inferred. The zero value is a good default.
type InferOptions struct {
	// Inputs holds types of inputs of the main graph, by name, that hold in
	// place of the declared ones.
	Inputs map[string]*graph.Type
	// Values holds what inputs of the main graph contain, by name.
	Values map[string]*tensor.Tensor
}

// TypesOf returns the types of the tensors among feeds, by name.
func TypesOf(feeds map[string]tensor.Value) map[string]*graph.Type {
	types := map[string]*graph.Type{}
	for name, v := range feeds {
		if t, ok := v.(*tensor.Tensor); ok {
			types[name] = graph.TensorOf(t.DType(), graph.DimsOf(t.Shape()))
		}
	}
	return types
}

// Bounds of what is computed during inference, in elements.
const (
	maxFoldIn  = 1 << 16 // operands of a node that is computed
	maxFoldOut = 1 << 12 // its results
)

// maxInferDepth bounds how deep calls of functions may nest.
const maxInferDepth = 64

// Inference is what is known of a model's values.
type Inference struct {
	// Gaps are the nodes at which knowledge ends or contradicts itself, in
	// order.
	Gaps []Gap

	contents map[*graph.Value]graph.Dims
	consts   map[*graph.Value]*tensor.Tensor
}

// Gap is a node of which inference could not tell all.
type Gap struct {
	Node *graph.Node
	// Err is why: a call that is wrong, an operator without a rule, a declared
	// type that contradicts what was inferred, or ErrDataDependent.
	Err error
}

// ErrDataDependent says that a shape depends on values that only a run knows.
var ErrDataDependent = errors.New("the shape of the result depends on values that are not known")

// Contents returns the elements of v, an integer tensor of at most one axis,
// as far as they are known; nil if nothing is.
func (r *Inference) Contents(v *graph.Value) graph.Dims {
	if d := r.contents[v]; d != nil {
		return d
	}
	return contentsOf(r.Const(v))
}

// Const returns the tensor that v always holds, nil if that is not known.
func (r *Inference) Const(v *graph.Value) *tensor.Tensor {
	if v == nil {
		return nil
	}
	if v.IsConst() {
		return v.Init.Tensor
	}
	return r.consts[v]
}

// InferModel derives the types of all values of m's main graph, subgraphs
// included, from those of its inputs and initializers, and writes them to the
// values. What was declared and is less precise is replaced; an output keeps
// the names of its declared dimensions. Partial knowledge is normal: where it
// ends, types stay unknown and a Gap says so. Functions are inferred for each
// call; what their values hold is not written to them.
func InferModel(m *graph.Model, o InferOptions) *Inference {
	r := &Inference{contents: map[*graph.Value]graph.Dims{}, consts: map[*graph.Value]*tensor.Tensor{}}
	if m.Graph == nil {
		return r
	}
	s := newInferScope(m, r)
	for _, v := range m.Graph.Inputs() {
		if t := o.Inputs[v.Name()]; t != nil {
			v.Type, v.Inferred = t, false
		}
		if t := o.Values[v.Name()]; t != nil {
			s.consts[v] = t
		}
	}
	s.graph(m.Graph, nil)
	for v, t := range s.types {
		s.write(v, t)
	}
	r.contents, r.consts = s.dims, s.consts
	return r
}

// inferScope is the inference of a main graph, or of the body of one call,
// with the subgraphs inside.
type inferScope struct {
	model  *graph.Model
	report *Inference
	depth  int
	types  map[*graph.Value]*graph.Type
	dims   map[*graph.Value]graph.Dims
	consts map[*graph.Value]*tensor.Tensor
}

func newInferScope(m *graph.Model, r *Inference) *inferScope {
	return &inferScope{
		model: m, report: r, types: map[*graph.Value]*graph.Type{},
		dims: map[*graph.Value]graph.Dims{}, consts: map[*graph.Value]*tensor.Tensor{},
	}
}

func (s *inferScope) gap(n *graph.Node, err error) {
	s.report.Gaps = append(s.report.Gaps, Gap{n, err})
}

// graph infers g, whose inputs have the given types as far as those are not
// nil, and returns the types of its outputs.
func (s *inferScope) graph(g *graph.Graph, args []*graph.Type) []*graph.Type {
	for i, v := range g.Inputs() {
		t := declared(v)
		if i < len(args) && args[i] != nil {
			t, _ = mergeTypes(t, args[i])
		}
		s.types[v] = t
	}
	for _, v := range g.Inits() {
		if !v.IsInput() {
			s.types[v] = graph.TensorOf(v.Init.DType(), graph.DimsOf(v.Init.Shape()))
		}
	}
	for _, n := range inOrder(g) {
		s.node(n)
	}
	outs := make([]*graph.Type, 0, len(g.Outputs()))
	for _, v := range g.Outputs() {
		outs = append(outs, s.types[v])
	}
	return outs
}

// inOrder returns g's nodes with makers before readers, as far as that can be.
func inOrder(g *graph.Graph) []*graph.Node {
	if order, err := g.Sorted(); err == nil {
		return order
	}
	return slices.Collect(g.Nodes())
}

// declared returns the type that a file or caller states for v.
func declared(v *graph.Value) *graph.Type {
	if v.Inferred {
		return nil
	}
	return v.Type
}

// constOf returns the tensor that v always holds, or nil.
func (s *inferScope) constOf(v *graph.Value) *tensor.Tensor {
	if v == nil {
		return nil
	}
	if t := s.consts[v]; t != nil {
		return t
	}
	if v.IsConst() {
		return v.Init.Tensor
	}
	return nil
}

// contentsOf returns the elements of an integer tensor of at most one axis
// that is not too long, else nil.
func contentsOf(t *tensor.Tensor) graph.Dims {
	if t == nil || t.Rank() > 1 || !t.DType().IsInteger() || t.Len() > maxContents {
		return nil
	}
	return dimsOfInts(tensor.Int64s(t))
}

// node infers one node and records what its results are.
func (s *inferScope) node(n *graph.Node) {
	c := s.call(n)
	err := s.apply(n, c)
	if err != nil {
		s.gap(n, err)
	}
	s.fold(n, c)
	for i, v := range n.Outs() {
		if v != nil {
			s.result(n, i, v, c)
		}
	}
	if err == nil && s.ends(n) {
		s.gap(n, ErrDataDependent)
	}
}

// call returns what is known before n is inferred.
func (s *inferScope) call(n *graph.Node) *Infer {
	c := &Infer{
		Call: Call{Node: n, Version: n.Opset()},
		In:   make([]*graph.Type, n.NumIn()), Out: make([]*graph.Type, n.NumOut()),
		Consts: make([]*tensor.Tensor, n.NumIn()), InDims: make([]graph.Dims, n.NumIn()),
		OutDims: make([]graph.Dims, n.NumOut()),
	}
	for i, v := range n.Ins() {
		if v == nil {
			continue
		}
		c.In[i], c.Consts[i] = s.types[v], s.constOf(v)
		if c.InDims[i] = s.dims[v]; c.InDims[i] == nil {
			c.InDims[i] = contentsOf(c.Consts[i])
		}
	}
	c.Sub = func(g *graph.Graph, args []*graph.Type) ([]*graph.Type, error) { return s.graph(g, args), nil }
	return c
}

// apply runs the rule for n: that of its operator, or the body of the function
// that it calls.
func (s *inferScope) apply(n *graph.Node, c *Infer) error {
	if f := s.model.Function(n.Domain, n.Op, n.Overload); f != nil {
		return s.function(n, f, c)
	}
	d := Find(n.Domain, n.Op, c.Version)
	switch {
	case d == nil:
		s.visit(n)
		return Unknown(n, c.Version)
	case d.Infer != nil:
		return guarded(func() error { return d.Infer(c) })
	}
	f, err := d.Function(&c.Call, n.Graph().Opset)
	switch {
	case err != nil:
		return err
	case f != nil:
		return s.function(n, f, c)
	}
	s.visit(n)
	return fmt.Errorf("operator %s has no rule for shapes", n.Op)
}

// visit infers the subgraphs of a node without a rule, with inputs as they
// are declared.
func (s *inferScope) visit(n *graph.Node) {
	for _, g := range n.Subgraphs() {
		s.graph(g, nil)
	}
}

// guarded turns a panic of a rule into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the rule panicked: %v", p)
		}
	}()
	return f()
}

// function infers a copy of f's body for one call.
func (s *inferScope) function(n *graph.Node, f *graph.Function, c *Infer) error {
	if s.depth >= maxInferDepth {
		return fmt.Errorf("calls nest deeper than %d: does the function call itself?", maxInferDepth)
	}
	params := f.Body.Inputs()
	if n.NumIn() > len(params) {
		return fmt.Errorf("call with %d inputs, the function has %d", n.NumIn(), len(params))
	}
	body := f.Body.Clone()
	body.AttachFunction(s.model, f)
	bindAttrs(body, f, n)
	sub := newInferScope(s.model, s.report)
	sub.depth = s.depth + 1
	for i, p := range body.Inputs() {
		if i < n.NumIn() {
			sub.consts[p], sub.dims[p] = c.Consts[i], c.InDims[i]
		}
	}
	outs := sub.graph(body, c.In)
	for i, v := range body.Outputs() {
		if i < len(c.Out) {
			c.Out[i], c.OutDims[i] = outs[i], sub.dims[v]
			if t := sub.constOf(v); t != nil && n.Out(i) != nil {
				s.consts[n.Out(i)] = t
			}
		}
	}
	return nil
}

// bindAttrs puts the attributes of a call, or f's defaults, in the place of
// references to them.
func bindAttrs(body *graph.Graph, f *graph.Function, call *graph.Node) {
	attr := func(name string) *graph.Attr {
		if a := call.Attr(name); a != nil {
			return a
		}
		for _, a := range f.Defaults {
			if a.Name == name {
				return a
			}
		}
		return nil
	}
	for g := range body.Walk() {
		for n := range g.Nodes() {
			for _, a := range n.Attrs() {
				if a.Ref == "" {
					continue
				}
				given := attr(a.Ref)
				if given == nil {
					n.DropAttr(a.Name)
					continue
				}
				c := given.Clone()
				c.Name = a.Name
				n.SetAttr(c)
			}
		}
	}
}

// fold computes the results of n if its operands are known and small.
func (s *inferScope) fold(n *graph.Node, c *Infer) {
	d := Find(n.Domain, n.Op, c.Version)
	if d == nil || d.Eval == nil || d.Effects || len(n.Subgraphs()) > 0 || !foldable(n, c) {
		return
	}
	e := &Eval{Call: c.Call, Out: make([]tensor.Value, n.NumOut()), Kernels: kernel.Generic(), Context: context.Background()}
	for i, t := range c.Consts {
		e.In = append(e.In, nil)
		if t != nil {
			e.In[i] = t
		}
	}
	if guarded(func() error { return d.Eval(e) }) != nil {
		return
	}
	for i, v := range n.Outs() {
		if t, ok := e.Out[i].(*tensor.Tensor); ok && v != nil {
			s.consts[v] = t
			c.Out[i], c.OutDims[i] = graph.TensorOf(t.DType(), graph.DimsOf(t.Shape())), contentsOf(t)
		}
	}
}

// foldable reports whether all operands are known and small, and the results
// small as far as that is known. What a Constant holds is as large as it is.
func foldable(n *graph.Node, c *Infer) bool {
	if n.Is("Constant") {
		return true
	}
	total := 0
	for i, v := range n.Ins() {
		if v != nil && c.Consts[i] == nil {
			return false
		}
		if v != nil {
			total += c.Consts[i].Len()
		}
	}
	for i := range c.Out {
		if s, ok := outShape(c, i); ok && (s.Check() != nil || s.Len() > maxFoldOut) {
			return false
		}
	}
	return total <= maxFoldIn
}

// result records what result i of n, v, is.
func (s *inferScope) result(n *graph.Node, i int, v *graph.Value, c *Infer) {
	t, conflict := mergeTypes(declared(v), c.Out[i])
	if conflict {
		s.gap(n, fmt.Errorf("result %q is declared as %v, inferred as %v", v.Name(), v.Type, c.Out[i]))
	}
	s.types[v] = t
	delete(s.dims, v)
	if c.OutDims[i] != nil {
		s.dims[v] = c.OutDims[i]
		s.constFromDims(v, t, c.OutDims[i])
	}
}

// constFromDims makes contents that are all numbers a constant.
func (s *inferScope) constFromDims(v *graph.Value, t *graph.Type, d graph.Dims) {
	if s.consts[v] != nil || t == nil || t.Kind != graph.KindTensor || !t.Elem.IsInteger() {
		return
	}
	shape, ok := t.Shape.Static()
	if !ok || len(shape) > 1 || shape.Check() != nil || shape.Len() != len(d) {
		return
	}
	list := make([]int64, len(d))
	for i, x := range d {
		n, ok := x.Number()
		if !ok {
			return
		}
		list[i] = int64(n)
	}
	s.consts[v] = tensor.FromInt64s(t.Elem, shape, list)
}

// ends reports whether the shapes of n's operands are known and that of a
// result is not.
func (s *inferScope) ends(n *graph.Node) bool {
	for _, v := range n.Ins() {
		if v != nil && !shapeKnown(s.types[v]) {
			return false
		}
	}
	for _, v := range n.Outs() {
		if v != nil && !shapeKnown(s.types[v]) {
			return true
		}
	}
	return false
}

func shapeKnown(t *graph.Type) bool {
	if t == nil {
		return false
	}
	if t.Kind != graph.KindTensor {
		return true
	}
	for _, d := range t.Shape {
		if d.IsUnknown() {
			return false
		}
	}
	return t.Shape != nil
}

// write puts the type of v on it. The declared type stays where it says as
// much, and the symbols of outputs stay in any case.
func (s *inferScope) write(v *graph.Value, t *graph.Type) {
	old := declared(v)
	switch {
	case v.Producer() == nil:
	case old == nil:
		v.Type, v.Inferred = t, true
	case t != nil && !old.Equal(t):
		if v.IsOutput() {
			t = keepSymbols(old, t)
		}
		v.Type = t
	}
}

// keepSymbols returns t with the symbols that old has in the same places.
func keepSymbols(old, t *graph.Type) *graph.Type {
	if old.Kind != graph.KindTensor || t.Kind != graph.KindTensor || len(old.Shape) != len(t.Shape) || old.Shape == nil {
		return t
	}
	cp := *t
	cp.Denotation, cp.Unknown = old.Denotation, old.Unknown
	cp.Shape = append(graph.Dims{}, t.Shape...)
	for i, d := range old.Shape {
		if d.Sym != "" && !t.Shape[i].IsKnown() {
			cp.Shape[i] = d
		}
	}
	return &cp
}

// mergeTypes returns the more precise of two statements about a value, and
// whether they contradict each other, in which case the second holds.
func mergeTypes(old, t *graph.Type) (*graph.Type, bool) {
	switch {
	case t == nil || t.Kind == graph.KindNone:
		return old, false
	case old == nil || old.Kind == graph.KindNone:
		return t, false
	case old.Kind != t.Kind:
		return t, true
	}
	cp := *t
	cp.Denotation, cp.Unknown = old.Denotation, old.Unknown
	conflict := false
	if cp.Elem == tensor.Undefined {
		cp.Elem = old.Elem
	} else if old.Elem != tensor.Undefined && old.Elem != cp.Elem {
		conflict = true
	}
	if cp.Item != nil {
		var c bool
		cp.Item, c = mergeTypes(old.Item, t.Item)
		conflict = conflict || c
	}
	shape, c := mergeDims(old.Shape, t.Shape)
	cp.Shape = shape
	if old.Equal(&cp) {
		return old, conflict
	}
	return &cp, conflict || c
}

func mergeDims(old, s graph.Dims) (graph.Dims, bool) {
	switch {
	case s == nil:
		return old, false
	case old == nil:
		return s, false
	case len(old) != len(s):
		return s, true
	}
	out := append(graph.Dims{}, s...)
	conflict := false
	for i, d := range old {
		switch {
		case s[i].IsUnknown() || d.IsKnown() && !s[i].IsKnown():
			out[i] = d
		case d.IsKnown() && d.Size != s[i].Size:
			conflict = true
		default:
			out[i].Denotation = d.Denotation
		}
	}
	return out, conflict
}

// CostOf returns the work of one call of n, from the types that inference has
// written on its values.
func CostOf(n *graph.Node) Cost {
	version := n.Opset()
	d := Find(n.Domain, n.Op, version)
	if d == nil || d.Cost == nil {
		return Cost{}
	}
	c := &Infer{Call: Call{Node: n, Version: version}}
	for _, v := range n.Ins() {
		c.In, c.Consts, c.InDims = append(c.In, nil), append(c.Consts, nil), append(c.InDims, nil)
		if i := len(c.In) - 1; v != nil {
			c.In[i] = v.Type
			if v.IsConst() {
				c.Consts[i], c.InDims[i] = v.Init.Tensor, contentsOf(v.Init.Tensor)
			}
		}
	}
	for _, v := range n.Outs() {
		c.Out = append(c.Out, nil)
		if v != nil {
			c.Out[len(c.Out)-1] = v.Type
		}
	}
	return d.Cost(c)
}
