package nodeprune

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
)

// Blocked is a group that the nodes around it do not let go: their axes would
// allow it, but a shape that they compute does not follow.
type Blocked struct {
	Group *Group
	Err   error
}

// copied returns the same groups of a copy of the model.
func (g *Groups) copied() *Groups {
	m := g.model.Clone()
	c := &Groups{model: m, facts: op.InferModel(m, op.InferOptions{})}
	c.web = newWeb(m, c.facts, g.web.rules)
	c.collect()
	c.List = slices.DeleteFunc(c.List, func(x *Group) bool {
		return slices.ContainsFunc(g.Blocked, func(b Blocked) bool { return b.Group.key == x.key })
	})
	return c
}

// On returns the same units of a copy of the model, and that copy.
func (g *Groups) On(units []*Unit) (*Groups, []*Unit) {
	c := g.copied()
	same := make([]*Unit, 0, len(units))
	at := map[*Group]int{}
	for i, group := range g.List {
		at[group] = i
	}
	for _, u := range units {
		same = append(same, c.List[at[u.Group]].Units[slices.Index(u.Group.Units, u)])
	}
	return c, same
}

// Model returns the model that the groups are of.
func (g *Groups) Model() *graph.Model { return g.model }

// try cuts half of the units of every group from copies, and sets those groups
// aside that the model cannot follow.
func (g *Groups) try() {
	halves := func(list []*Group) []*Unit {
		var units []*Unit
		for _, group := range list {
			units = append(units, group.Units[:len(group.Units)/2]...)
		}
		return units
	}
	if g.tryCut(halves(g.List)) == nil {
		return
	}
	var good []*Group
	for _, group := range g.List {
		more := append(slices.Clone(good), group)
		if err := g.tryCut(halves(more)); err != nil {
			g.Blocked = append(g.Blocked, Blocked{group, err})
			continue
		}
		good = more
	}
	g.List = good
}

func (g *Groups) tryCut(units []*Unit) error {
	c, same := (&Groups{model: g.model, web: g.web, List: g.List}).On(units)
	_, err := c.Cut(same)
	return err
}
