package nodeprune

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Unit is what has to be cut at once: a channel of a layer with its
// neighbours', a head, a hidden unit.
type Unit struct {
	Group *Group
	cuts  map[*axis][]int // indices, increasing
}

// Group is the units that cut the same axes, each the same number of indices.
type Group struct {
	Name  string // the first weight that is cut, and the axis
	Units []*Unit
	Cuts  []WeightAxis // the axes of weights that units cut, in the order of the graph

	key string // the same for the same group of a copy
}

// WeightAxis is an axis of a constant.
type WeightAxis struct {
	Weight *graph.Value
	Axis   int
}

// Refusal is an axis of a weight of which not all indices can be cut.
type Refusal struct {
	Node   *graph.Node // that has the weight
	Weight WeightAxis
	Kept   int      // how many indices cannot be cut
	Size   int      // of how many
	Chain  []string // what ties the axis to the reason, step by step
	Reason string
}

// Groups is what [Analyze] finds.
type Groups struct {
	List    []*Group
	Refused []Refusal
	Blocked []Blocked

	model *graph.Model
	web   *web
	facts *op.Inference
}

// Rules say what may be cut beyond what equals the original with zeros in the
// places that are cut.
type Rules struct {
	// Widths are axes that means are taken along, such as those of layer
	// normalizations: without some places, they are means over the others.
	Widths bool
}

// Analyze finds what can be cut from a model whose types are inferred; facts
// is what inference knows of it. Only units that make a weight smaller are
// listed.
func Analyze(m *graph.Model, facts *op.Inference, rules Rules) *Groups {
	g := &Groups{model: m, facts: facts, web: newWeb(m, facts, rules)}
	g.collect()
	g.try()
	g.refusals()
	return g
}

// collect finds the units of every axis of a weight, and of every axis that
// is a factor of another, such as heads.
func (g *Groups) collect() {
	seen := map[index]bool{}
	groups := map[string]*Group{}
	for _, x := range g.web.axes {
		if !g.web.seeds(x) {
			continue
		}
		for i := range x.n {
			if x.why[i] != nil || seen[index{x, i}] {
				continue
			}
			cuts := g.web.closure(index{x, i})
			if cuts == nil {
				continue
			}
			for y, list := range cuts {
				for _, k := range list {
					seen[index{y, k}] = true
				}
			}
			g.enter(groups, &Unit{cuts: cuts})
		}
	}
	g.List = slices.DeleteFunc(g.List, func(x *Group) bool { return len(x.Units) < 2 })
}

// seeds reports whether units are looked for at an axis.
func (w *web) seeds(x *axis) bool {
	if x.value != nil && isWeight(x.value) {
		return true
	}
	return slices.ContainsFunc(x.links, func(l *link) bool { return l.a == x && l.product != nil })
}

// isWeight reports whether a value is a constant that a layer may be made
// smaller by.
func isWeight(v *graph.Value) bool {
	t := constant(v)
	return t != nil && t.Rank() > 0 && t.Len() > 1 && t.DType() != tensor.String
}

// enter puts a unit into its group.
func (g *Groups) enter(groups map[string]*Group, u *Unit) {
	axes := u.sorted()
	var key strings.Builder
	var cuts []WeightAxis
	for _, x := range axes {
		fmt.Fprintf(&key, "%d:%d,", x.id, len(u.cuts[x]))
		if x.value != nil && isWeight(x.value) {
			cuts = append(cuts, WeightAxis{x.value, x.at})
		}
	}
	if len(cuts) == 0 {
		return
	}
	group := groups[key.String()]
	if group == nil {
		group = &Group{Cuts: cuts, key: key.String()}
		group.Name = group.pickName()
		groups[key.String()] = group
		g.List = append(g.List, group)
	}
	u.Group = group
	group.Units = append(group.Units, u)
}

// pickName names a group after the weight of most axes that comes first.
func (g *Group) pickName() string {
	best := g.Cuts[0]
	for _, c := range g.Cuts {
		if len(dimsOf(c.Weight)) > len(dimsOf(best.Weight)) {
			best = c
		}
	}
	return fmt.Sprintf("%s:%d", best.Weight.Name(), best.Axis)
}

// sorted returns the axes that a unit cuts in the order of the graph.
func (u *Unit) sorted() []*axis {
	axes := make([]*axis, 0, len(u.cuts))
	for x := range u.cuts {
		axes = append(axes, x)
	}
	slices.SortFunc(axes, func(x, y *axis) int { return x.id - y.id })
	return axes
}

// closure returns all indices that go with one, nil if one of them cannot go.
func (w *web) closure(seed index) map[*axis][]int {
	c := &closure{cuts: map[*axis][]int{}, products: map[*product]bool{}}
	if !c.add(seed) {
		return nil
	}
	for {
		if !c.follow() {
			return nil
		}
		changed, ok := c.resolve()
		if !ok {
			return nil
		}
		if !changed {
			return c.cuts
		}
	}
}

// closure is the search for all indices that go with one.
type closure struct {
	cuts     map[*axis][]int
	queue    []index
	products map[*product]bool // reached, which have to be resolved
	order    []*product
}

// add adds an index; it reports false if the index cannot go.
func (c *closure) add(at index) bool {
	if at.axis.why[at.i] != nil {
		return false
	}
	list := c.cuts[at.axis]
	if p, found := slices.BinarySearch(list, at.i); !found {
		c.cuts[at.axis] = slices.Insert(list, p, at.i)
		c.queue = append(c.queue, at)
	}
	return true
}

// follow adds what plain links tie to what has been added.
func (c *closure) follow() bool {
	ok := true
	for len(c.queue) > 0 && ok {
		at := c.queue[0]
		c.queue = c.queue[1:]
		for _, l := range at.axis.links {
			switch {
			case l.a == at.axis:
				l.images(at.i, func(k int) { ok = c.add(index{l.b, k}) && ok })
			case !l.covers(at.i):
			case l.product == nil:
				ok = c.add(index{l.a, l.project(at.i)}) && ok
			case !c.products[l.product]:
				c.products[l.product] = true
				c.order = append(c.order, l.product)
			}
		}
	}
	return ok
}

// resolve finds an index of a product that no factor accounts for, and lets
// it go by the factor that takes the fewest others along.
func (c *closure) resolve() (changed, ok bool) {
	for _, p := range c.order {
		open := c.open(p)
		if len(open) == 0 {
			continue
		}
		best := p.cheapest(open)
		if best == nil {
			open = open[:1]
			best = p.cheapest(open)
		}
		if best == nil {
			return false, false
		}
		for _, k := range open {
			if !c.add(index{best.a, best.project(k)}) {
				return false, false
			}
		}
		return true, true
	}
	return false, true
}

// open returns the indices of a product that are cut and that no factor
// accounts for.
func (c *closure) open(p *product) []int {
	var open []int
	for _, k := range c.cuts[p.b] {
		if !p.factors[0].covers(k) {
			continue
		}
		known := slices.ContainsFunc(p.factors, func(l *link) bool {
			_, found := slices.BinarySearch(c.cuts[l.a], l.project(k))
			return found
		})
		if !known {
			open = append(open, k)
		}
	}
	return open
}

// cheapest returns the factor by which the given indices can go with the
// fewest others, nil if there is none.
func (p *product) cheapest(open []int) *link {
	var best *link
	least := 0
	for _, l := range p.factors {
		hit := map[int]bool{}
		alive := true
		for _, k := range open {
			hit[l.project(k)] = true
			alive = alive && l.a.why[l.project(k)] == nil
		}
		if cost := len(hit) * l.outer * l.inner; alive && (best == nil || cost < least) {
			best, least = l, cost
		}
	}
	return best
}
