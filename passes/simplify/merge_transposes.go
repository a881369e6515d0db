package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeTransposes joins transposes that follow each other.
var MergeTransposes = passes.Define(passes.Pass{
	Name: "merge-transposes",
	Doc: `join transposes that follow each other

	t = Transpose <perm = [0,2,3,1]> (x)      y = Transpose <perm = [0,1,3,2]> (x)
	y = Transpose <perm = [0,3,2,1]> (t)  =>

One that restores the order is left to drop-noop.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Transpose") {
			return
		}
		p := producer(n, n.In(0), "Transpose")
		if p == nil {
			return
		}
		first, second := permOf(p), permOf(n)
		if first == nil || len(first) != len(second) {
			return
		}
		perm := make([]int64, len(first))
		for i, s := range second {
			perm[i] = first[s]
		}
		n.SetAttr(graph.IntsAttr("perm", perm...))
		n.SetIn(0, p.In(0))
		j.Changed(1)
	})
	return nil
})

// permOf returns the order of axes that a Transpose makes, nil if it is not
// known or no permutation.
func permOf(n *graph.Node) []int64 {
	perm := n.Ints("perm")
	if n.Attr("perm") == nil {
		d := dims(n.In(0))
		perm = make([]int64, len(d))
		for i := range perm {
			perm[i] = int64(len(d) - 1 - i)
		}
	}
	seen := make([]bool, len(perm))
	for _, p := range perm {
		if p < 0 || p >= int64(len(perm)) || seen[p] {
			return nil
		}
		seen[p] = true
	}
	if len(perm) == 0 {
		return nil
	}
	return perm
}
