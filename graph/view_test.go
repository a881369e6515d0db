package graph

import (
	"testing"

	"gonum.org/v1/gonum/graph/topo"
)

func TestView(t *testing.T) {
	g := newModel().Graph
	x := g.Value("x")
	a := g.Append(NewNode("", "A", []*Value{x}, 2))
	b := g.Append(NewNode("", "B", []*Value{a.Out(0), a.Out(1)}, 1))
	body := New("body")
	c := g.Append(NewNode("", "If", nil, 1, GraphAttr("then_branch", body)))
	body.Append(NewNode("", "D", []*Value{b.Out(0)}, 1))

	v := NewView(g)
	order, err := topo.Sort(v)
	if err != nil || len(order) != 3 || order[0].(ViewNode).Node != a {
		t.Errorf("topo.Sort gives %v, %v", order, err)
	}
	if v.From(0).Len() != 1 || v.To(1).Len() != 1 {
		t.Error("the two edges from A to B are not one")
	}
	if !v.HasEdgeFromTo(v.Of(b).ID(), v.Of(c).ID()) {
		t.Error("a read in a subgraph makes no edge")
	}
}
