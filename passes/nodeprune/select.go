package nodeprune

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
)

// ranked is a unit with its place in the order in which units go: rank is the
// share of its rivals that go before it.
type rankedUnit struct {
	unit *Unit
	rank float64
}

// choice is an order of the units of groups, from which a share is cut.
type choice struct {
	groups   *Groups
	units    map[*Group][]rankedUnit // by increasing rank
	multiple int
	limit    float64 // greatest share that a group may lose
}

// newChoice ranks units by their scores: against all others (global), those
// of the same group (group), or those of groups with the same weights and
// operators (isomorphic).
func newChoice(g *Groups, scores map[*Group][]float64, scope string) *choice {
	c := &choice{groups: g, units: map[*Group][]rankedUnit{}, multiple: 1, limit: 1}
	type rival struct {
		unit  *Unit
		score float64
	}
	pools := map[string][]rival{}
	var keys []string
	for i, group := range g.List {
		list := scores[group]
		if list == nil {
			continue
		}
		key := ""
		switch scope {
		case "group", "sensitivity":
			key = fmt.Sprint(i)
		case "isomorphic":
			key = g.shape(group)
		}
		if pools[key] == nil {
			keys = append(keys, key)
		}
		for k, u := range group.Units {
			pools[key] = append(pools[key], rival{u, list[k]})
		}
	}
	for _, key := range keys {
		pool := pools[key]
		slices.SortStableFunc(pool, func(a, b rival) int { return cmp.Compare(a.score, b.score) })
		for i, r := range pool {
			group := r.unit.Group
			c.units[group] = append(c.units[group], rankedUnit{r.unit, (float64(i) + 0.5) / float64(len(pool))})
		}
	}
	return c
}

// shape describes a group so that groups of the same structure are alike: the
// operators that read its weights, and the weights' other axes.
func (g *Groups) shape(group *Group) string {
	var b strings.Builder
	for _, c := range group.Cuts {
		for _, u := range c.Weight.Uses() {
			fmt.Fprintf(&b, "%s.%d:%d,", u.Node.Op, u.Index, c.Axis)
		}
		for at, d := range dimsOf(c.Weight) {
			if at > 1 {
				fmt.Fprintf(&b, "%v,", d)
			}
		}
	}
	return b.String()
}

// take returns the units that go if a share of each pool is to go. A group
// keeps a multiple of units, and no less than its limit.
func (c *choice) take(share float64) []*Unit {
	var gone []*Unit
	for _, group := range c.groups.List {
		list := c.units[group]
		n := 0
		for n < len(list) && list[n].rank < share {
			n++
		}
		for _, r := range list[:c.allowed(len(list), n)] {
			gone = append(gone, r.unit)
		}
	}
	return gone
}

// allowed returns how many of size units of a group may go if n are to.
func (c *choice) allowed(size, n int) int {
	kept := size - min(n, int(c.limit*float64(size)))
	if m := c.multiple; m > 1 && kept%m != 0 {
		kept += m - kept%m
	}
	return max(0, size-max(kept, 1))
}

// search returns the units of the smallest share whose cut brings measure, a
// figure relative to the whole model's, down to want, and that figure. Where
// no share does, it is the largest share that is tried.
func (c *choice) search(want float64, steps int, measure func([]*Unit) (float64, error)) ([]*Unit, float64, error) {
	lo, hi := 0.0, 1.0
	best := c.take(hi)
	got, err := measure(best)
	for range steps {
		if err != nil {
			return nil, 0, err
		}
		mid := (lo + hi) / 2
		units := c.take(mid)
		var x float64
		if x, err = measure(units); err == nil && x <= want {
			best, got, hi = units, x, mid
		} else {
			lo = mid
		}
	}
	return best, got, err
}

// work counts what a model costs, so that the effect of cuts can be told
// without making them.
type work struct {
	web    *web
	layers []layerWork
	params []*graph.Value
	total  Size
}

// Size is the work of a model for one sample of its smallest shapes, and its
// parameters.
type Size struct {
	MACs   int64 `json:"macs"`
	Params int64 `json:"params"`
}

type layerWork struct {
	macs float64
	axes []*axis // the work is in proportion to what is left of each
}

// newWork counts the layers of a model; unknown dimensions count as 1.
func (g *Groups) newWork() *work {
	w := &work{web: g.web}
	costs := staticCosts(g.model)
	i := 0
	for n := range g.model.Nodes(graph.InMain | graph.InSubgraphs) {
		macs := costs[i]
		i++
		w.total.MACs += macs
		if macs == 0 {
			continue
		}
		w.layers = append(w.layers, layerWork{float64(macs), g.workAxes(n)})
	}
	for gr := range g.model.Graphs(graph.InMain | graph.InSubgraphs) {
		for _, v := range gr.Inits() {
			if isWeight(v) {
				w.params = append(w.params, v)
				w.total.Params += int64(constant(v).Len())
			}
		}
	}
	return w
}

// workAxes returns the axes that the work of a node is in proportion to.
func (g *Groups) workAxes(n *graph.Node) []*axis {
	var axes []*axis
	all := func(v *graph.Value) {
		for at := range dimsOfAny(v) {
			axes = append(axes, g.web.of(v, at))
		}
	}
	switch l, ok := layerOf(n); {
	case ok && isWeight(n.In(l.slot)) || ok && source(n.In(l.slot)) != nil:
		all(n.In(l.slot))
	case n.Is("LSTM", "GRU", "RNN"):
		all(n.In(1))
	case n.Is("MatMul"):
		all(n.In(0))
		if r := len(dimsOfAny(n.In(1))); r > 1 {
			axes = append(axes, g.web.of(n.In(1), r-1))
		}
	}
	return axes
}

// staticCosts returns the multiply-accumulates of every node, with 1 for
// dimensions of inputs that are not known.
func staticCosts(m *graph.Model) []int64 {
	m = m.Clone()
	types := map[string]*graph.Type{}
	for _, v := range m.Graph.Inputs() {
		d := slices.Clone(dimsOf(v))
		for i := range d {
			if !d[i].IsKnown() {
				d[i] = graph.Known(1)
			}
		}
		if d != nil && v.Init == nil {
			types[v.Name()] = graph.TensorOf(v.Type.Elem, d)
		}
	}
	for n := range m.Nodes(graph.InMain | graph.InSubgraphs) {
		for _, v := range n.Outs() {
			if v != nil && !v.IsOutput() {
				v.Type = nil
			}
		}
	}
	op.InferModel(m, op.InferOptions{Inputs: types})
	var costs []int64
	for n := range m.Nodes(graph.InMain | graph.InSubgraphs) {
		costs = append(costs, op.CostOf(n).MACs)
	}
	return costs
}

// after returns the work of the model without some units.
func (w *work) after(gone []*Unit) Size {
	cuts := union(gone)
	left := func(axes []*axis) float64 {
		x := 1.0
		for _, a := range axes {
			x *= 1 - float64(len(cuts[a]))/float64(max(a.n, 1))
		}
		return x
	}
	var s Size
	for _, l := range w.layers {
		s.MACs += int64(math.Round(l.macs * left(l.axes)))
	}
	for _, v := range w.params {
		var axes []*axis
		for at := range dimsOf(v) {
			axes = append(axes, w.web.of(v, at))
		}
		s.Params += int64(math.Round(float64(constant(v).Len()) * left(axes)))
	}
	return s
}

// saved returns, for every unit of a group, the share of the model's work
// that goes with it alone.
func (w *work) saved(g *Group) float64 {
	s := w.after(g.Units[:1])
	return 1 - float64(s.MACs)/float64(max(w.total.MACs, 1))
}
