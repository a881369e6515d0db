package nodeprune

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// curveShares are the shares of a group's units that the effect is measured
// without.
var curveShares = []float64{0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.625, 0.75, 0.9}

// curve is what the scores lose without the units of a group that come first in
// the order in which they go: losses[i] without gone[i], from none on.
type curve struct {
	group  *Group
	units  []*Unit // in that order
	gone   []int
	losses []float64
	at     int    // which of gone goes
	steps  []step // to the points behind it
}

func (c *curve) first(k int) []*Unit { return c.units[:c.gone[k]] }

// measureCurves measures the curves of the groups that scores are known of. A
// group goes alone, and the layers that read it are fitted to what is left. It
// leaves out groups that have no such layers.
func (s *scorer) measureCurves(j *passes.Job, g *Groups, c *choice) ([]*curve, error) {
	curves, of := s.newCurves(j, g, c)
	var all []*reader
	for _, x := range curves {
		all = append(all, of[x.group]...)
	}
	if err := s.gather(j, all); err != nil {
		return nil, err
	}
	var edits []saliency.Edit
	for _, x := range curves {
		e, err := x.edit(g.web, of[x.group])
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	effects, err := saliency.ScanEdits(j.Context(), j.Model, s.trials.feeds, nil, edits, j.Env.Threads,
		func(done int) { j.ProgressAt("sensitivity", done, len(edits)) })
	if err != nil {
		return nil, err
	}
	for i, x := range curves {
		for k, e := range effects[i] {
			x.losses = append(x.losses, max(x.losses[k], e.KL+e.Error))
		}
		j.Log().Debug("curve", "group", x.group.Name, "gone", fmt.Sprint(x.gone), "losses", fmt.Sprintf("%.3g", x.losses))
	}
	return curves, nil
}

// newCurves returns curves without losses in the order of the graph, and the
// layers that read each group.
func (s *scorer) newCurves(j *passes.Job, g *Groups, c *choice) ([]*curve, map[*Group][]*reader) {
	groups := slices.DeleteFunc(slices.Clone(g.List), func(group *Group) bool { return len(c.units[group]) == 0 })
	of := s.readersOf(j, g, groups)
	place := map[*graph.Node]int{}
	for n := range j.Model.Graph.Nodes() {
		place[n] = len(place)
	}
	var curves []*curve
	for _, group := range groups {
		if len(of[group]) == 0 {
			j.SkipAt(group.Name, "its effect is not measured: no layer with a float weight sums over it")
			continue
		}
		slices.SortStableFunc(of[group], func(a, b *reader) int { return place[a.node] - place[b.node] })
		curves = append(curves, c.newCurve(group))
	}
	slices.SortStableFunc(curves, func(a, b *curve) int { return place[of[a.group][0].node] - place[of[b.group][0].node] })
	return curves, of
}

// newCurve returns the curve of a group without losses.
func (c *choice) newCurve(g *Group) *curve {
	x := &curve{group: g, gone: []int{0}, losses: []float64{0}}
	for _, r := range c.units[g] {
		x.units = append(x.units, r.unit)
	}
	for _, share := range slices.Concat(curveShares, []float64{1}) {
		if n := c.allowed(len(x.units), int(share*float64(len(x.units)))); n > x.gone[len(x.gone)-1] {
			x.gone = append(x.gone, n)
		}
	}
	return x
}

// edit returns the variants of the model without units of the curve's group.
func (x *curve) edit(w *web, readers []*reader) (saliency.Edit, error) {
	e := saliency.Edit{Node: readers[0].node}
	for k := 1; k < len(x.gone); k++ {
		cuts := union(x.first(k))
		var changes []func() (undo func())
		for _, r := range readers {
			c, err := r.without(cuts[w.of(r.node.In(r.slot), r.from)])
			if err != nil {
				return e, err
			}
			changes = append(changes, c)
		}
		e.Variants = append(e.Variants, func() func() {
			var undo []func()
			for _, c := range changes {
				undo = append(undo, c())
			}
			return func() {
				for _, u := range slices.Backward(undo) {
					u()
				}
			}
		})
	}
	return e, nil
}

// without returns a change of the layer: it does without some channels, and is
// fitted to the rest.
func (r *reader) without(channels []int) (func() (undo func()), error) {
	weight, rise, err := r.refit(r.columns(channels))
	if err != nil {
		return nil, err
	}
	bias, _ := biasSlot(r.node)
	var shifted *tensor.Tensor
	if bias != nil {
		if b := bias.values(len(rise)); b != nil {
			for i := range b {
				b[i] += rise[i]
			}
			shifted = tensor.FromFloat64s(tensor.Float32, tensor.Shape{len(b)}, b)
		}
	}
	return func() func() {
		undo := swap(r.node, r.slot, weight)
		if shifted == nil {
			return undo
		}
		back := swap(bias.node, bias.slot, shifted)
		return func() { back(); undo() }
	}, nil
}

// swap makes a node read other contents, until what it returns is called.
func swap(n *graph.Node, slot int, t *tensor.Tensor) (undo func()) {
	old, g := n.In(slot), n.Graph()
	v := g.AddInit("tried", t)
	n.SetIn(slot, v)
	return func() {
		n.SetIn(slot, old)
		g.DropInit(v)
	}
}

// allot lets units go where that costs least: again and again, the group that
// can do with fewer units at the least loss for what that saves does, until
// measure says that no more than want is left. Of the last step no more is
// taken than is needed.
func (c *choice) allot(curves []*curve, want float64, measure func([]*Unit) (float64, error)) ([]*Unit, float64, error) {
	for _, x := range curves {
		x.moveTo(0)
	}
	left, err := measure(nil)
	for round := 1; err == nil && left > want; round++ {
		x, k := cheapest(curves)
		for x != nil && x.steps[k].round < round {
			if err := x.price(k, round, left, curves, measure); err != nil {
				return nil, 0, err
			}
			x, k = cheapest(curves)
		}
		if x == nil {
			break
		}
		if x.steps[k].left <= want {
			return c.lastStep(curves, x, k, want, measure)
		}
		left = x.steps[k].left
		x.moveTo(k)
	}
	return together(curves, nil, 0), left, err
}

// step is what going on to a point of a curve costs, as it was in a round: the
// loss for what is saved, and what is left then. A round changes little for
// other curves, so that only steps that seem the cheapest are priced anew.
type step struct {
	slope, left float64
	round       int
}

// moveTo goes on to point k.
func (x *curve) moveTo(k int) {
	x.at, x.steps = k, make([]step, len(x.gone))
}

// price measures the step to point k, where so much is left before it.
func (x *curve) price(k, round int, left float64, curves []*curve, measure func([]*Unit) (float64, error)) error {
	after, err := measure(together(curves, x, x.gone[k]))
	x.steps[k] = step{(x.losses[k] - x.losses[x.at]) / max(left-after, 1e-12), after, round}
	return err
}

// cheapest returns the step of the least slope, those that have no price yet
// before all others; nil if there is none.
func cheapest(curves []*curve) (best *curve, to int) {
	for _, x := range curves {
		for k := x.at + 1; k < len(x.gone); k++ {
			if best == nil || x.steps[k].before(best.steps[to]) {
				best, to = x, k
			}
		}
	}
	return best, to
}

func (s step) before(t step) bool {
	if (s.round == 0) != (t.round == 0) {
		return s.round == 0
	}
	return s.slope < t.slope
}

// lastStep takes as much of a step as is needed.
func (c *choice) lastStep(curves []*curve, x *curve, to int, want float64, measure func([]*Unit) (float64, error)) ([]*Unit, float64, error) {
	lo, hi := x.gone[x.at], x.gone[to]
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		n := c.allowed(len(x.units), mid)
		left, err := measure(together(curves, x, n))
		if err != nil {
			return nil, 0, err
		}
		if left <= want {
			hi = mid
		} else {
			lo = mid
		}
	}
	gone := together(curves, x, c.allowed(len(x.units), hi))
	left, err := measure(gone)
	return gone, left, err
}

// together returns the units that go, n of them of the group of x if that is
// not nil.
func together(curves []*curve, x *curve, n int) []*Unit {
	var gone []*Unit
	for _, y := range curves {
		k := y.gone[y.at]
		if y == x {
			k = n
		}
		gone = append(gone, y.units[:k]...)
	}
	return gone
}
