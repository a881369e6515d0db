package simplify

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeClips joins clips, rectifiers, minima and maxima that follow each
// other.
var MergeClips = passes.Define(passes.Pass{
	Name: "merge-clips",
	Doc: `join bounds that follow each other

	t = Relu (x)             y = Clip (x, 0, 6)
	y = Clip (t, -1, 6)  =>

Relu, and Clip, Min and Max with scalar constants. Bounds that exclude each
other are left alone.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		outer, ok := boundsOf(n)
		if !ok || !mayHoldConsts(n.Graph()) {
			return
		}
		p := soleProducer(n, outer.of, "Relu", "Clip", "Min", "Max")
		if p == nil {
			return
		}
		inner, ok := boundsOf(p)
		if !ok {
			return
		}
		b := bounds{inner.of, max(inner.lo, outer.lo), min(inner.hi, outer.hi)}
		if b.lo > b.hi || !clipTakes(n, elem(b.of)) {
			return
		}
		supplant(n, clipNode(n, b))
		j.Changed(1)
	})
	return nil
})

// bounds is a value held between two numbers.
type bounds struct {
	of     *graph.Value
	lo, hi float64
}

// boundsOf returns what n bounds and how, if it is constant.
func boundsOf(n *graph.Node) (bounds, bool) {
	b := bounds{n.In(0), math.Inf(-1), math.Inf(1)}
	switch {
	case n.Is("Relu"):
		b.lo = 0
		return b, true
	case n.Is("Clip"):
		return clipBounds(n, b)
	case n.Is("Min", "Max") && n.NumIn() == 2 && n.Opset() >= 8:
		return extremeBounds(n, b)
	}
	return b, false
}

func clipBounds(n *graph.Node, b bounds) (bounds, bool) {
	if n.Opset() < 11 {
		b.lo = float64(n.Float("min", -math.MaxFloat32))
		b.hi = float64(n.Float("max", math.MaxFloat32))
		return b, n.Opset() >= 6
	}
	ok := true
	if n.In(1) != nil {
		b.lo, ok = constScalar(n.In(1))
	}
	if ok && n.In(2) != nil {
		b.hi, ok = constScalar(n.In(2))
	}
	return b, ok
}

func extremeBounds(n *graph.Node, b bounds) (bounds, bool) {
	for slot := range 2 {
		c, ok := constScalar(n.In(slot))
		if !ok || !keepsShape(n, slot) {
			continue
		}
		b.of = n.In(1 - slot)
		if n.Op == "Min" {
			b.hi = c
		} else {
			b.lo = c
		}
		return b, true
	}
	return b, false
}

// clipTakes reports whether Clip, in the version in force at n, exists for
// elements of type d.
func clipTakes(n *graph.Node, d tensor.DType) bool {
	switch {
	case n.Opset() < 6:
		return false
	case n.Opset() < 12:
		return d == tensor.Float32 || d == tensor.Float16 || d == tensor.Float64
	}
	return d.IsFloat() || d.IsInteger()
}

// clipNode returns a node that holds b, to stand at n. A Relu is preferred
// where it does.
func clipNode(n *graph.Node, b bounds) *graph.Node {
	if b.lo == 0 && math.IsInf(b.hi, 1) && elem(b.of).IsFloat() {
		return graph.NewNode("", "Relu", []*graph.Value{b.of}, 1)
	}
	if n.Opset() < 11 {
		m := graph.NewNode("", "Clip", []*graph.Value{b.of}, 1)
		if b.lo > -math.MaxFloat32 {
			m.SetAttr(graph.FloatAttr("min", float32(b.lo)))
		}
		if b.hi < math.MaxFloat32 {
			m.SetAttr(graph.FloatAttr("max", float32(b.hi)))
		}
		return m
	}
	g := n.Graph()
	bound := func(x float64) *graph.Value {
		if math.IsInf(x, 0) {
			return nil
		}
		return g.AddInit("bound", tensor.FromFloat64s(elem(b.of), tensor.Shape{}, []float64{x}))
	}
	ins := []*graph.Value{b.of, bound(b.lo)}
	if hi := bound(b.hi); hi != nil {
		ins = append(ins, hi)
	}
	return graph.NewNode("", "Clip", ins, 1)
}
