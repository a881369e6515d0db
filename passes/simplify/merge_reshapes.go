package simplify

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeReshapes joins operators that only change the shape of a value.
var MergeReshapes = passes.Define(passes.Pass{
	Name: "merge-reshapes",
	Doc: `join operators that only change the shape of a value

	t = Unsqueeze (x, [2])         y = Reshape (x, [0,-1])
	y = Reshape (t, [0,-1])    =>

Reshape, Flatten, Squeeze and Unsqueeze keep the elements in their order, so
the last of a row of them does it all, as long as one dimension of its result
at most is neither known nor one of the first's input. A row that ends in the
shape it began with goes.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is(shapers...) {
			return
		}
		p := producer(n, n.In(0), shapers...)
		if p != nil && joinReshapes(n, p) {
			j.Changed(1)
		}
	})
	return nil
})

var shapers = []string{"Reshape", "Flatten", "Squeeze", "Unsqueeze"}

// joinReshapes makes n read the input of p, the shaper before it.
func joinReshapes(n, p *graph.Node) bool {
	x := p.In(0)
	if undoes(n, p) || sameDims(dims(x), dims(n.Out(0))) {
		return bypass(n, x)
	}
	if n.Is("Reshape") {
		if target, given, ok := listOf(n, 5, "shape", 1); given && ok && !slices.Contains(target, 0) {
			n.SetIn(0, x)
			return true
		}
	}
	target, ok := reshapeTarget(dims(x), dims(n.Out(0)))
	if !ok || n.Opset() < 5 || !mayHoldConsts(n.Graph()) {
		return false
	}
	supplant(n, reshapeNode(n, x, target))
	return true
}

// reshapeNode returns a Reshape of x to a constant target, to stand at n.
func reshapeNode(n *graph.Node, x *graph.Value, target []int64) *graph.Node {
	shape := n.Graph().AddInit("shape", tensor.Vector(target...))
	return graph.NewNode("", "Reshape", []*graph.Value{x, shape}, 1)
}

// undoes reports whether n is an Unsqueeze of the axes that p squeezed, or
// the other way round.
func undoes(n, p *graph.Node) bool {
	if !(n.Is("Unsqueeze") && p.Is("Squeeze") || n.Is("Squeeze") && p.Is("Unsqueeze")) {
		return false
	}
	a, givenA, okA := listOf(p, 13, "axes", 1)
	b, givenB, okB := listOf(n, 13, "axes", 1)
	if !givenA || !givenB || !okA || !okB {
		return false
	}
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// reshapeTarget returns the constant operand of a Reshape that turns a value
// of shape in into one of shape out: numbers where out is known, 0 where the
// dimension is that of in at the same place, and -1 once at most.
func reshapeTarget(in, out graph.Dims) ([]int64, bool) {
	if out == nil {
		return nil, false
	}
	target := make([]int64, len(out))
	inferred := false
	for i, d := range out {
		switch {
		case d.IsKnown() && d.Size == 0:
			return nil, false
		case d.IsKnown():
			target[i] = int64(d.Size)
		case i < len(in) && sameDim(in[i], d):
			target[i] = 0
		case inferred:
			return nil, false
		default:
			target[i], inferred = -1, true
		}
	}
	return target, true
}
