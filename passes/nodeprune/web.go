package nodeprune

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// axis is an axis of a value, or an index space of a node that no operand has
// as an axis.
type axis struct {
	value *graph.Value // nil for a space
	node  *graph.Node  // of a space
	at    int          // of the value
	attr  string       // of the node, that counts the space; "" for none
	id    int
	n     int // indices; one stands for all where their number is not known
	links []*link
	why   []*cause // why an index cannot go, nil where it can

	// border is what the axis is of if the world outside sees it: an input or
	// an output of the model.
	border string
}

// link is an op.Tie between axes of the graph: index i of a stands for
// offset + (o*n+i)*inner + k of b, for every o < outer and k < inner.
type link struct {
	node                 *graph.Node
	a, b                 *axis
	outer, inner, offset int
	product              *product // nil if b goes by this link alone
}

// product is a set of links of one node that are factors of the same indices
// of one axis: each of these goes by one of the factors.
type product struct {
	b       *axis
	factors []*link
}

// end returns the index of b after the last one that the link covers.
func (l *link) end() int { return l.offset + l.outer*l.a.n*l.inner }

// covers reports whether the link says something of an index of b.
func (l *link) covers(k int) bool { return k >= l.offset && k < l.end() }

// project returns the index of a that index k of b belongs to.
func (l *link) project(k int) int { return (k - l.offset) / l.inner % l.a.n }

// images calls f with the indices of b that belong to index i of a.
func (l *link) images(i int, f func(k int)) {
	for o := range l.outer {
		first := l.offset + (o*l.a.n+i)*l.inner
		for k := first; k < first+l.inner; k++ {
			f(k)
		}
	}
}

type place struct {
	value *graph.Value
	at    int
}

// web is the axes of all values of a model and the links between them.
type web struct {
	rules  Rules
	axes   []*axis
	facts  *op.Inference
	places map[place]*axis
	queue  []index // whose death has not been followed yet
}

type index struct {
	axis *axis
	i    int
}

// newWeb reads the links of every node of the main graph and its subgraphs.
func newWeb(m *graph.Model, facts *op.Inference, rules Rules) *web {
	w := &web{rules: rules, facts: facts, places: map[place]*axis{}}
	for g := range m.Graphs(graph.InMain | graph.InSubgraphs) {
		w.addBorder(g)
		for n := range g.Nodes() {
			w.addNode(n)
		}
	}
	w.closeBorder()
	w.spread()
	return w
}

// addBorder notes what the world outside sees of the model, and fixes what an
// operator sees of a graph that it runs; of the branches of an If, its links
// tell.
func (w *web) addBorder(g *graph.Graph) {
	note := func(v *graph.Value, what string) {
		for at := range dimsOfAny(v) {
			w.of(v, at).border = what
		}
	}
	switch owner := g.Owner(); {
	case owner == nil:
		for _, v := range g.Inputs() {
			note(v, "input")
		}
		for _, v := range g.Outputs() {
			note(v, "output")
		}
	case !owner.Is("If"):
		for _, v := range slices.Concat(g.Inputs(), g.Outputs()) {
			w.fixValue(v, owner, "it enters or leaves a graph that an operator runs")
		}
	}
}

func (w *web) add(x *axis, d graph.Dim) *axis {
	x.id, x.n = len(w.axes), 1
	if n, ok := d.Number(); ok && n >= 0 {
		x.n = n
	}
	x.why = make([]*cause, x.n)
	w.axes = append(w.axes, x)
	switch {
	case !d.IsKnown():
		w.fix(x, &cause{reason: "its length is not known"})
	case x.n == 1:
		w.fix(x, &cause{reason: "it has but one index"})
	}
	return x
}

// of returns the axis of a value, nil if the value has no such axis.
func (w *web) of(v *graph.Value, at int) *axis {
	if v == nil {
		return nil
	}
	dims := dimsOf(v)
	if at < 0 || at >= len(dims) {
		return nil
	}
	x := w.places[place{v, at}]
	if x == nil {
		x = w.add(&axis{value: v, at: at}, dims[at])
		w.places[place{v, at}] = x
	}
	return x
}

func dimsOf(v *graph.Value) graph.Dims {
	if t := v.Type; t != nil && t.Kind == graph.KindTensor {
		return t.Shape
	}
	return nil
}

// constant returns the tensor that a value holds as an initializer or as the
// result of a Constant, nil if it is neither.
func constant(v *graph.Value) *tensor.Tensor {
	switch {
	case v == nil:
		return nil
	case v.IsConst():
		return v.Init.Tensor
	case v.Producer() != nil && v.Producer().Is("Constant"):
		if a := v.Producer().Attr("value"); a != nil && len(a.Literals) == 1 {
			return a.Literals[0].Tensor
		}
	}
	return nil
}

// fixValue says that no axis of a value can lose indices.
func (w *web) fixValue(v *graph.Value, n *graph.Node, reason string) {
	if v == nil {
		return
	}
	for at := range dimsOf(v) {
		w.fix(w.of(v, at), &cause{reason: reason, node: n})
	}
}

// addNode adds the links of one node.
func (w *web) addNode(n *graph.Node) {
	switch {
	case n.Is("Constant"):
		return
	case n.Is("Shape"):
		w.followLengths(n)
		return
	case n.Is("If"):
		w.addBranches(n)
		return
	}
	version := n.Opset()
	d := op.Find(n.Domain, n.Op, version)
	if d == nil || d.Axes == nil {
		w.fixNode(n, fmt.Sprintf("it is not known which axes go together in %s", n.Op))
		return
	}
	a := &op.Axes{Call: op.Call{Node: n, Version: version}}
	for _, v := range n.Ins() {
		a.In = append(a.In, typeOf(v))
		a.Consts = append(a.Consts, w.facts.Const(v))
	}
	for _, v := range n.Outs() {
		a.Out = append(a.Out, typeOf(v))
	}
	if !ranked(n.Ins()) || !ranked(n.Outs()) {
		w.fixNode(n, "the number of axes of an operand is not known")
		return
	}
	d.Axes(a)
	w.addTies(n, a)
}

func typeOf(v *graph.Value) *graph.Type {
	if v == nil {
		return nil
	}
	return v.Type
}

// ranked reports whether all values that are given are tensors of known rank.
func ranked(vs []*graph.Value) bool {
	return !slices.ContainsFunc(vs, func(v *graph.Value) bool {
		return v != nil && dimsOf(v) == nil
	})
}

// fixNode says that no axis of any operand or result of n can lose indices.
func (w *web) fixNode(n *graph.Node, reason string) {
	for v := range n.Reads() {
		w.fixValue(v, n, reason)
	}
	for _, v := range n.Outs() {
		w.fixValue(v, n, reason)
	}
}

// addBranches ties the outputs of the branches of an If to its results.
func (w *web) addBranches(n *graph.Node) {
	w.fixValue(n.In(0), n, "it chooses a branch")
	for _, g := range n.Subgraphs() {
		for i, v := range g.Outputs() {
			out := n.Out(i)
			if v == nil || out == nil {
				continue
			}
			if len(dimsOf(v)) != len(dimsOf(out)) {
				w.fixValue(v, n, "the branches have results of different rank")
				w.fixValue(out, n, "the branches have results of different rank")
				continue
			}
			for at := range dimsOf(v) {
				w.link(n, w.of(v, at), w.of(out, at), op.Tie{Outer: 1, Inner: 1})
			}
		}
	}
}

// addTies adds what the rule of n has found. An axis that it does not speak
// of cannot lose indices.
func (w *web) addTies(n *graph.Node, a *op.Axes) {
	spaces := make([]*axis, len(a.Spaces))
	for i, s := range a.Spaces {
		spaces[i] = w.add(&axis{node: n, attr: s.Attr}, graph.Known(s.Size))
	}
	find := func(s op.Side) *axis {
		switch {
		case s.Slot < 0:
			return spaces[s.Axis]
		case s.Out:
			return w.of(n.Out(s.Slot), s.Axis)
		}
		return w.of(n.In(s.Slot), s.Axis)
	}
	spoken := map[*axis]bool{}
	var links []*link
	for _, t := range a.Ties {
		x, y := find(t.A), find(t.B)
		if x == nil || y == nil {
			continue
		}
		spoken[x], spoken[y] = true, true
		if l := w.link(n, x, y, t); l != nil {
			links = append(links, l)
		}
	}
	joinProducts(links)
	for _, s := range a.Summed {
		if x := find(s); x != nil {
			spoken[x] = true
		}
	}
	for _, f := range a.Fixed {
		x := find(f.Side)
		if x == nil {
			continue
		}
		spoken[x] = true
		if !f.Averaged || !w.rules.Widths {
			w.fix(x, &cause{reason: f.Reason, node: n})
		}
	}
	for _, v := range slices.Concat(n.Ins(), n.Outs()) {
		for at := range dimsOfAny(v) {
			if x := w.of(v, at); !spoken[x] {
				w.fix(x, &cause{reason: "the operator works over it as a whole", node: n})
			}
		}
	}
}

func dimsOfAny(v *graph.Value) graph.Dims {
	if v == nil {
		return nil
	}
	return dimsOf(v)
}

// link adds a link between two axes; where their lengths contradict it, both
// are fixed.
func (w *web) link(n *graph.Node, x, y *axis, t op.Tie) *link {
	l := &link{node: n, a: x, b: y, outer: t.Outer, inner: t.Inner, offset: t.Offset}
	if x == y && l.outer*l.inner == 1 && l.offset == 0 {
		return nil
	}
	if l.end() > y.n || l.outer < 1 || l.inner < 1 || x == y {
		reason := "the lengths of tied axes differ"
		w.fix(x, &cause{reason: reason, node: n})
		w.fix(y, &cause{reason: reason, node: n})
		return nil
	}
	x.links = append(x.links, l)
	y.links = append(y.links, l)
	return l
}

// joinProducts finds links that cover the same indices of one axis in blocks.
// Equalities hold beside any other link instead.
func joinProducts(links []*link) {
	type span struct {
		b      *axis
		lo, hi int
	}
	sets := map[span]*product{}
	for _, l := range links {
		if l.outer*l.inner == 1 {
			continue
		}
		s := span{l.b, l.offset, l.end()}
		if sets[s] == nil {
			sets[s] = &product{b: l.b}
		}
		sets[s].factors = append(sets[s].factors, l)
	}
	for _, p := range sets {
		if len(p.factors) < 2 {
			continue
		}
		for _, l := range p.factors {
			l.product = p
		}
	}
}
