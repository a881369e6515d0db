package simplify

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// MergePads joins pads that follow each other.
var MergePads = passes.Define(passes.Pass{
	Name: "merge-pads",
	Doc: `join pads that follow each other

Both pad with the same constant and cut nothing off.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Pad") || !mayHoldConsts(n.Graph()) {
			return
		}
		p := soleProducer(n, n.In(0), "Pad")
		if p == nil {
			return
		}
		a, okA := padOf(p)
		b, okB := padOf(n)
		if !okA || !okB || a.value != b.value || len(a.pads) != len(b.pads) || a.cuts() || b.cuts() {
			return
		}
		sum := make([]int64, len(a.pads))
		for i := range sum {
			sum[i] = a.pads[i] + b.pads[i]
		}
		if n.NumIn() > 3 {
			n.TrimIn(3)
		}
		setList(n, 11, "pads", 1, sum)
		n.SetIn(0, p.In(0))
		j.Changed(1)
	})
	return nil
})

// padding is what a Pad with constant operands and mode "constant" does.
type padding struct {
	pads  []int64 // all axes: begins, then ends
	value float64
}

// cuts reports whether any side is cut rather than padded.
func (p padding) cuts() bool {
	return slices.ContainsFunc(p.pads, func(x int64) bool { return x < 0 })
}

// sides returns what is padded before and after axis i.
func (p padding) sides(i int) (before, after int64) {
	return p.pads[i], p.pads[i+len(p.pads)/2]
}

// padOf returns what n, a Pad, does, if that is constant.
func padOf(n *graph.Node) (padding, bool) {
	if n.Str("mode", "constant") != "constant" || n.Opset() < 2 {
		return padding{}, false
	}
	pads, given, ok := listOf(n, 11, "pads", 1)
	if !given || !ok || len(pads)%2 != 0 {
		return padding{}, false
	}
	p := padding{pads: pads}
	if n.Opset() < 11 {
		p.value = float64(n.Float("value", 0))
	} else if n.In(2) != nil {
		if p.value, ok = constScalar(n.In(2)); !ok {
			return padding{}, false
		}
	}
	if n.In(3) != nil {
		return spreadPads(n, p)
	}
	return p, true
}

// spreadPads gives pads that are stated for some axes only to all of them.
func spreadPads(n *graph.Node, p padding) (padding, bool) {
	axes, ok := constInts(n.In(3))
	rank := len(dims(n.In(0)))
	if !ok || rank == 0 || 2*len(axes) != len(p.pads) {
		return padding{}, false
	}
	full := padding{pads: make([]int64, 2*rank), value: p.value}
	for i, a := range axes {
		x, err := tensor.Axis(int(a), rank)
		if err != nil {
			return padding{}, false
		}
		full.pads[x], full.pads[x+rank] = p.sides(i)
	}
	return full, true
}
