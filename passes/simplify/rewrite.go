package simplify

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// eachNode calls f for every node of the model, subgraphs and functions
// included, but for nodes that take an attribute from the call of a function:
// what they do is not known here. f may remove the node and insert others.
func eachNode(j *passes.Job, f func(n *graph.Node)) {
	for n := range j.Model.Nodes(graph.InMain | graph.InFunctions | graph.InSubgraphs) {
		if !hasRef(n) {
			f(n)
		}
	}
}

func hasRef(n *graph.Node) bool {
	return slices.ContainsFunc(n.Attrs(), func(a *graph.Attr) bool { return a.Ref != "" })
}

// constant returns the contents of v if no caller can change them, else nil.
func constant(v *graph.Value) *tensor.Tensor {
	if v == nil || !v.IsConst() || v.Init.Sparse != nil {
		return nil
	}
	return v.Init.Tensor
}

// constInts returns the elements of an integer constant.
func constInts(v *graph.Value) ([]int64, bool) {
	t := constant(v)
	if t == nil || !t.DType().IsInteger() {
		return nil, false
	}
	return tensor.Int64s(t), true
}

// constScalar returns the element of a real constant that has only one.
func constScalar(v *graph.Value) (float64, bool) {
	t := constant(v)
	if t == nil || t.Len() != 1 || !isReal(t.DType()) {
		return 0, false
	}
	return tensor.Float64s(t)[0], true
}

// uniform returns the value that all elements of a real constant have.
func uniform(v *graph.Value) (float64, bool) {
	t := constant(v)
	if t == nil || t.Len() == 0 || !isReal(t.DType()) {
		return 0, false
	}
	x := tensor.Float64s(t)
	for _, y := range x[1:] {
		if y != x[0] {
			return 0, false
		}
	}
	return x[0], true
}

func isReal(d tensor.DType) bool { return d.IsFloat() || d.IsInteger() }

// listOf returns the integers that n has as the attribute name, or from
// opset since on as the constant input slot. ok is false if they are not
// constant; given is false if there are none.
func listOf(n *graph.Node, since int64, name string, slot int) (list []int64, given, ok bool) {
	if n.Opset() < since {
		a := n.Attr(name)
		return n.Ints(name), a != nil, true
	}
	if n.In(slot) == nil {
		return nil, false, true
	}
	list, ok = constInts(n.In(slot))
	return list, true, ok
}

// setList makes list what listOf reads.
func setList(n *graph.Node, since int64, name string, slot int, list []int64) {
	if n.Opset() < since {
		n.SetAttr(graph.IntsAttr(name, list...))
		return
	}
	setConst(n, slot, tensor.Vector(list...))
}

// setConst makes t the contents of input i of n: in place if nothing else
// reads the initializer there, else as a new one.
func setConst(n *graph.Node, i int, t *tensor.Tensor) {
	g := n.Graph()
	old := n.In(i)
	if old != nil && old.IsConst() && old.Graph() == g {
		if _, ok := old.SoleUse(); ok {
			g.SetInit(old, &graph.Literal{Tensor: t})
			return
		}
	}
	name := "const"
	if old != nil {
		name = old.Name()
	}
	n.SetIn(i, g.AddInit(name, t))
}

// mayHoldConsts reports whether initializers can be added to g: the body of a
// function has none.
func mayHoldConsts(g *graph.Graph) bool { return g.Function() == nil }

// elem returns the element type of v, Undefined if it is not known.
func elem(v *graph.Value) tensor.DType {
	if v == nil || v.Type == nil || v.Type.Kind != graph.KindTensor {
		return tensor.Undefined
	}
	return v.Type.Elem
}

// dims returns the shape of v, nil if its rank is not known.
func dims(v *graph.Value) graph.Dims {
	if v == nil || v.Type == nil || v.Type.Kind != graph.KindTensor {
		return nil
	}
	return v.Type.Shape
}

// sameDims reports whether two shapes are known to be equal, dimensions by
// number or symbol.
func sameDims(a, b graph.Dims) bool {
	if a == nil || b == nil || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !sameDim(a[i], b[i]) {
			return false
		}
	}
	return true
}

func sameDim(a, b graph.Dim) bool {
	return !a.IsUnknown() && a.Sym == b.Sym && a.Size == b.Size
}

// bypass makes the readers of n's first result read v instead and removes n.
// It reports whether it could: where the result is an output of the graph and
// v cannot take its name, n stays.
func bypass(n *graph.Node, v *graph.Value) bool {
	g := n.Graph()
	if v == nil || usedBeyondFirst(n) || !g.Replace(n.Out(0), v) {
		return false
	}
	g.Remove(n)
	return true
}

// usedBeyondFirst reports whether anything reads a result of n but the first.
func usedBeyondFirst(n *graph.Node) bool {
	for _, v := range n.Outs()[min(1, n.NumOut()):] {
		if v != nil && v.Used() {
			return true
		}
	}
	return false
}

// supplant puts m, which no graph holds and which has one result, in the
// place of n. The result keeps its name.
func supplant(n, m *graph.Node) { n.Graph().Supplant(n, m) }

// producer returns the node that makes v if it is one of the given standard
// operators, in the same graph as its reader n.
func producer(n *graph.Node, v *graph.Value, ops ...string) *graph.Node {
	if v == nil {
		return nil
	}
	p := v.Producer()
	if p == nil || !p.Is(ops...) || p.Graph() != n.Graph() || hasRef(p) {
		return nil
	}
	return p
}

// soleProducer is producer, if n is the only reader of v.
func soleProducer(n *graph.Node, v *graph.Value, ops ...string) *graph.Node {
	p := producer(n, v, ops...)
	if p == nil || usedBeyondFirst(p) {
		return nil
	}
	if _, ok := v.SoleUse(); !ok {
		return nil
	}
	return p
}
