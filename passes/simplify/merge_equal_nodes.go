package simplify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeEqualNodes computes equal expressions once.
var MergeEqualNodes = passes.Define(passes.Pass{
	Name: "merge-equal-nodes",
	Doc: `compute equal expressions once

Nodes with the same operator, attributes and inputs. Random operators, nodes
with subgraphs and operators that are not known are left alone.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	mergeNodes(j, j.Model.Graph, map[string]*graph.Node{})
	for _, f := range j.Model.Functions {
		mergeNodes(j, f.Body, map[string]*graph.Node{})
	}
	return nil
})

// mergeNodes merges the nodes of g with each other and with those before it
// in the graphs around it, which known holds.
func mergeNodes(j *passes.Job, g *graph.Graph, known map[string]*graph.Node) {
	for n := range g.Nodes() {
		for _, s := range n.Subgraphs() {
			inner := make(map[string]*graph.Node, len(known))
			for k, v := range known {
				inner[k] = v
			}
			mergeNodes(j, s, inner)
		}
		if !mayMerge(n) {
			continue
		}
		key := nodeKey(n)
		first := known[key]
		if first == nil {
			known[key] = n
			continue
		}
		if takeResults(first, n) {
			j.Changed(1)
		} else {
			j.Skip(n, "it equals %v, but both are outputs", first)
		}
	}
}

func mayMerge(n *graph.Node) bool {
	d := op.Find(n.Domain, n.Op, n.Opset())
	return d != nil && !d.Effects && len(n.Subgraphs()) == 0 && n.Graph().Model().Function(n.Domain, n.Op, n.Overload) == nil
}

// nodeKey is equal for nodes that compute the same.
func nodeKey(n *graph.Node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%s:%s(", n.Domain, n.Op, n.Overload)
	for _, v := range n.Ins() {
		fmt.Fprintf(&b, "%p,", v)
	}
	attrs := n.Attrs()
	slices.SortFunc(attrs, func(x, y *graph.Attr) int { return strings.Compare(x.Name, y.Name) })
	for _, a := range attrs {
		fmt.Fprintf(&b, ";%s:%d:%s=%v%v%q", a.Name, a.Kind, a.Ref, a.Floats, a.Ints, a.Strings)
		for _, l := range a.Literals {
			if l.Tensor == nil {
				fmt.Fprintf(&b, "%p", l)
				continue
			}
			b.WriteString(digest(l.Tensor))
		}
		for _, t := range a.Types {
			b.WriteString(t.String())
		}
	}
	return b.String()
}

// takeResults makes the readers of n read the results of first, which equals
// it, and removes n. Nothing is changed if a name stands in the way.
func takeResults(first, n *graph.Node) bool {
	g := n.Graph()
	for i, v := range n.Outs() {
		if v == nil || !v.Used() {
			continue
		}
		w := first.Out(i)
		if w == nil || v.IsOutput() && (w.IsOutput() || w.Graph() != g) {
			return false
		}
	}
	for i, v := range n.Outs() {
		if v != nil && v.Used() && !g.Replace(v, first.Out(i)) {
			panic("a result cannot take another's place")
		}
	}
	g.Remove(n)
	return true
}
