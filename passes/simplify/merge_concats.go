package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeConcats joins concats along the same axis.
var MergeConcats = passes.Define(passes.Pass{
	Name: "merge-concats",
	Doc: `join concats along the same axis

	t = Concat <axis = 1> (a, b)      y = Concat <axis = 1> (a, b, c)
	y = Concat <axis = 1> (t, c)  =>`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if n.Is("Concat") && flattenConcat(n) {
			j.Changed(1)
		}
	})
	return nil
})

// flattenConcat puts the operands of inner concats that only n reads in their
// place.
func flattenConcat(n *graph.Node) bool {
	var ins []*graph.Value
	found := false
	for _, v := range n.Ins() {
		p := soleProducer(n, v, "Concat")
		if p == nil || !sameAxis(n, p) {
			ins = append(ins, v)
			continue
		}
		found = true
		ins = append(ins, p.Ins()...)
	}
	if found {
		setIns(n, ins)
	}
	return found
}

// sameAxis reports whether two concats of values of one rank join along the
// same axis.
func sameAxis(a, b *graph.Node) bool {
	x, y := int(a.Int("axis", 1)), int(b.Int("axis", 1))
	if x == y {
		return true
	}
	rank := len(dims(b.Out(0)))
	x, errX := tensor.Axis(x, rank)
	y, errY := tensor.Axis(y, rank)
	return errX == nil && errY == nil && x == y
}

// setIns makes ins the inputs of n.
func setIns(n *graph.Node, ins []*graph.Value) {
	n.TrimIn(0)
	for _, v := range ins {
		n.AddIn(v)
	}
}
