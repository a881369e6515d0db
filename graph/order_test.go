package graph

import (
	"fmt"
	"slices"
	"testing"
)

const nestedText = `<ir_version: 10, opset_import: ["": 18, "local": 1], training_info: [<algorithm: tr (float x) => (float y) { y = T (x) }>]>
main (float x, float z) => (float y) {
   a = A (x)
   y = If (x) <then_branch = b1 () => (q) { p = B (a, a)  q = If (p) <then_branch = b2 () => (a) { r = C (p, z) }> }>
}
<domain: "local", opset_import: ["": 18]>
f (p) => (r) { r = F (p) }`

func TestGraphs(t *testing.T) {
	m := parse(t, nestedText)
	for scope, want := range map[Scope]string{
		InMain:                   "[main]",
		InMain | InSubgraphs:     "[main b1 b2]",
		InFunctions:              "[f]",
		InTraining | InFunctions: "[f tr]",
		Everywhere:               "[main b1 b2 f tr]",
		InSubgraphs:              "[]",
	} {
		var names []string
		for g := range m.Graphs(scope) {
			names = append(names, g.Name)
		}
		if got := fmt.Sprint(names); got != want {
			t.Errorf("scope %b: %s, want %s", scope, got, want)
		}
	}
	if n := m.CountNodes(Everywhere); n != 7 {
		t.Errorf("%d nodes, want 7", n)
	}
	if ops := fmt.Sprint(m.CountOps(InMain | InSubgraphs)); ops != "map[A:1 B:1 C:1 If:2]" {
		t.Errorf("operators %s", ops)
	}
	for range m.Nodes(Everywhere) {
		break // the walk ends at once
	}
}

func TestReadsAndHolder(t *testing.T) {
	m := parse(t, nestedText)
	g := m.Graph
	outer := g.Last()
	var reads []string
	for v := range outer.Reads() {
		reads = append(reads, v.Name())
	}
	if got := fmt.Sprint(reads); got != "[x a a z a]" {
		t.Errorf("the If depends on %s, want x, a, a, z and a", got)
	}
	c := slices.Collect(m.Nodes(InMain | InSubgraphs))[4]
	if c.Op != "C" || g.Holder(c) != outer || g.Holder(outer) != outer || c.Graph().Holder(outer) != nil {
		t.Errorf("%v is held by %v", c, g.Holder(c))
	}
}
