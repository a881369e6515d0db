package nodeprune

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// Plan is what a [PruneNodes] with some options would do to a model.
type Plan struct {
	Groups        *Groups
	Gone          []*Unit
	Before, After Size
}

// MakePlan chooses what goes, without changing the model.
func MakePlan(j *passes.Job, o NodesOptions) (*Plan, error) {
	g := Analyze(j.Model, j.Facts, Rules{Widths: o.Widths})
	w := g.newWork()
	p := &Plan{Groups: g, Before: w.total, After: w.total}
	s := &scorer{criterion: o.Criterion, aggregate: o.Aggregate, rand: j.Rand(), readers: g.findReaders()}
	if o.Scope == "sensitivity" {
		var err error
		if s.trials, err = takeSamples(j, sensitivitySamples, walkBytes); err != nil {
			return nil, err
		}
	}
	scores, err := o.scores(j, g, w, s)
	if err != nil || len(scores) == 0 {
		return p, err
	}
	c := newChoice(g, scores, o.Scope)
	c.multiple, c.limit = o.multiple(j.Env.Target), o.Limit
	want, measure := o.target(j, g, w, c)
	var curves []*curve
	if o.Scope == "sensitivity" {
		if curves, err = s.measureCurves(j, g, c); err != nil {
			return nil, err
		}
	}
	var got float64
	switch {
	case o.Scope != "sensitivity":
		p.Gone, got, err = c.search(want, o.steps(), measure)
	case o.Latency > 0:
		p.Gone, got, err = c.allotLatency(curves, want, newLatencies(g, w, measure))
	default:
		p.Gone, got, err = c.allot(curves, want, measure)
	}
	if err != nil {
		return nil, err
	}
	if got > want {
		j.Note("the target of %.3g is not reached, the least is %.3g: a group loses no more than %.3g, and keeps a multiple of %d", want, got, o.Limit, c.multiple)
	}
	p.After = w.after(p.Gone)
	return p, nil
}

// reportRefused says what of the model cannot be cut.
func (g *Groups) reportRefused(j *passes.Job) {
	for _, b := range g.Blocked {
		j.SkipAt(b.Group.Name, "the model does not follow a cut: %v", b.Err)
	}
	for _, r := range g.Refused {
		if r.Size == r.Kept {
			j.SkipAt(fmt.Sprintf("%s:%d", r.Weight.Weight.Name(), r.Weight.Axis), "%s", r.Reason)
		}
	}
}

// steps is how many shares are tried; a latency takes long to measure.
func (o NodesOptions) steps() int {
	if o.Latency > 0 {
		return 6
	}
	return 24
}

// scores returns the importance of the units of every group that may be
// pruned. Where all compete for a number of operations, it is the importance
// for each one saved.
func (o NodesOptions) scores(j *passes.Job, g *Groups, w *work, s *scorer) (map[*Group][]float64, error) {
	var groups []*Group
	for _, group := range g.List {
		if why := o.leavesOut(group); why != "" {
			j.SkipAt(group.Name, "%s", why)
			continue
		}
		groups = append(groups, group)
	}
	var err error
	switch o.Criterion {
	case "wanda":
		err = s.observe(j)
	case "taylor", "fisher":
		err = s.observeGradients(j, g, groups)
	case "movement":
		err = s.observeMovement(j, g, groups)
	case "obs":
		err = s.observeHessians(j, g, groups)
	}
	if err != nil {
		return nil, err
	}
	scores := map[*Group][]float64{}
	for _, group := range groups {
		list, ok := s.scores(g.web, group)
		if !ok {
			j.SkipAt(group.Name, "%s has nothing to go by, the L2 norm stands in", o.Criterion)
		}
		if saved := w.saved(group); o.Scope == "global" && o.MACs+o.Latency > 0 && o.Criterion != "random" && saved > 0 {
			for i := range list {
				list[i] /= saved
			}
		}
		scores[group] = list
	}
	return scores, nil
}

func (o NodesOptions) leavesOut(g *Group) string {
	included := len(o.Include) == 0
	for _, c := range g.Cuts {
		name := c.Weight.Name()
		if passes.Match(o.Exclude, name) {
			return "it is excluded"
		}
		included = included || passes.Match(o.Include, name)
	}
	if !included {
		return "it is not included"
	}
	return ""
}

// observe takes the energy of every channel that layers sum over.
func (s *scorer) observe(j *passes.Job) error {
	stats := map[*graph.Value]*saliency.ChannelStats{}
	axes := map[*graph.Value]int{}
	var values []*graph.Value
	for _, layers := range s.readers {
		for _, l := range layers {
			if x := l.node.In(0); stats[x] == nil && x.Graph() == j.Model.Graph {
				stats[x], axes[x] = &saliency.ChannelStats{}, l.channels()
				values = append(values, x)
			}
		}
	}
	slices.SortFunc(values, func(a, b *graph.Value) int { return strings.Compare(a.Name(), b.Name()) })
	var failed error
	err := j.Observe(values, func(v *graph.Value, t *tensor.Tensor) {
		if err := stats[v].Add(t, axes[v]); err != nil && failed == nil {
			failed = fmt.Errorf("%q: %w", v.Name(), err)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	s.energy = map[*graph.Value][]float64{}
	for _, v := range values {
		e := stats[v].Variances()
		for i, m := range stats[v].Means() {
			e[i] += m * m
		}
		s.energy[v] = e
	}
	return nil
}

// channels returns the axis of the layer's input that it sums over.
func (l layer) channels() int {
	switch {
	case l.node.Is("Conv", "ConvTranspose"):
		return 1
	case l.node.Is("Gemm") && l.node.Int("transA", 0) != 0:
		return 0
	}
	return -1
}

// target returns what is to be reached, and how it is measured.
func (o NodesOptions) target(j *passes.Job, g *Groups, w *work, c *choice) (float64, func([]*Unit) (float64, error)) {
	part := func(a, b int64) float64 { return float64(a) / float64(max(b, 1)) }
	switch {
	case o.MACs > 0:
		return o.MACs, func(u []*Unit) (float64, error) { return part(w.after(u).MACs, w.total.MACs), nil }
	case o.Params > 0:
		return o.Params, func(u []*Unit) (float64, error) { return part(w.after(u).Params, w.total.Params), nil }
	case o.Latency > 0:
		return o.Latency, latencyOf(j, g)
	}
	total := 0
	for _, list := range c.units {
		total += len(list)
	}
	return 1 - o.Ratio, func(u []*Unit) (float64, error) { return 1 - float64(len(u))/float64(max(total, 1)), nil }
}

// Width is how many units of a group stay.
type Width struct {
	Group      *Group
	Kept, Size int
}

// Widths lists the groups that lose units.
func (p *Plan) Widths() []Width {
	gone := map[*Group]int{}
	for _, u := range p.Gone {
		gone[u.Group]++
	}
	var list []Width
	for _, g := range p.Groups.List {
		if gone[g] > 0 {
			list = append(list, Width{g, len(g.Units) - gone[g], len(g.Units)})
		}
	}
	return list
}

// keptRows returns, by the name of its result, which outputs of each layer
// with a weight matrix stay.
func (p *Plan) keptRows() map[string][]int {
	cuts := union(p.Gone)
	kept := map[string][]int{}
	for n := range p.Groups.model.Graph.Nodes() {
		l, ok := layerOf(n)
		if !ok || constant(n.In(l.slot)) == nil {
			continue
		}
		x := p.Groups.web.of(n.In(l.slot), l.outputs)
		rows := []int{}
		for i := range x.n {
			if _, cut := slices.BinarySearch(cuts[x], i); !cut {
				rows = append(rows, i)
			}
		}
		kept[n.Out(0).Name()] = rows
	}
	return kept
}
