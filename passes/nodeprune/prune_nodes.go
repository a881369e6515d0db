package nodeprune

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// PruneNodes removes the channels, heads and hidden units of least importance.
var PruneNodes = passes.Define(passes.Pass{
	Name: "prune-nodes",
	Doc: `remove channels, neurons, heads and hidden units of least importance

What has to go together is found from the axes of every operator. One of ratio,
macs, params and latency says how much goes. Criteria l1, l2, bn, fpgm and
random look at weights alone; wanda also at calibration data. Repair lstsq fits
the weights that are left to what the original computes on calibration data,
layer after layer (He et al. 2017, arXiv 1707.06168; Luo et al. 2017, ThiNet,
arXiv 1707.06342); bias only makes up for the means of what was cut.`,
	Kind: passes.Lossy,
}, NodesOptions{Criterion: "l2", Aggregate: "mean", Scope: "global", Repair: "none", Multiple: 1, Limit: 0.8}, pruneNodes)

// NodesOptions are the options of [PruneNodes]. One of Ratio, MACs, Params and
// Latency is set.
type NodesOptions struct {
	Ratio     float64  `opt:"ratio" help:"share of units to remove, less than 1"`
	MACs      float64  `opt:"macs" help:"multiply-accumulates to keep, as a share of the model's"`
	Params    float64  `opt:"params" help:"parameters to keep, as a share of the model's"`
	Latency   float64  `opt:"latency" help:"measured latency to reach, as a share of the model's"`
	Criterion string   `opt:"by" oneof:"l1|l2|bn|fpgm|random|wanda" help:"importance of a unit"`
	Aggregate string   `opt:"aggregate" oneof:"sum|mean|max|l2" help:"how the importance in each weight of a group is put together"`
	Scope     string   `opt:"scope" oneof:"global|group|isomorphic" help:"which units are ranked together"`
	Multiple  int      `opt:"multiple" help:"number that kept units are a multiple of"`
	Limit     float64  `opt:"limit" help:"greatest share that a group may lose"`
	Widths    bool     `opt:"widths" help:"also cut what means are taken along, such as the width of layer normalizations"`
	Repair    string   `opt:"repair" oneof:"lstsq|bias|none" help:"how the rest is fitted to what the original computes"`
	Include   []string `opt:"include" help:"weights whose groups are pruned, patterns with * and ?; all if empty"`
	Exclude   []string `opt:"exclude" help:"weights whose groups are left alone, patterns with * and ?"`
}

// Validate reports options that contradict each other or are out of range.
func (o NodesOptions) Validate() error {
	given := 0
	for _, t := range []struct {
		name string
		x    float64
	}{{"ratio", o.Ratio}, {"macs", o.MACs}, {"params", o.Params}, {"latency", o.Latency}} {
		if t.x < 0 || t.x >= 1 {
			return fmt.Errorf("option %q: got %v, want more than 0 and less than 1", t.name, t.x)
		}
		if t.x > 0 {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("want one of the options \"ratio\", \"macs\", \"params\" and \"latency\"")
	case o.Multiple < 1:
		return fmt.Errorf("option \"multiple\": got %d, want at least 1", o.Multiple)
	case o.Limit <= 0 || o.Limit > 1:
		return fmt.Errorf("option \"limit\": got %v, want more than 0 and at most 1", o.Limit)
	}
	return nil
}

// Plan is what a [PruneNodes] with some options would do to a model.
type Plan struct {
	Groups        *Groups
	Gone          []*Unit
	Before, After Size
}

// pruneNodes cuts what plan chooses, and repairs.
func pruneNodes(j *passes.Job, o NodesOptions) error {
	if err := o.Validate(); err != nil { // defaults are not asked
		return err
	}
	if (o.Criterion == "wanda" || o.Repair != "none") && j.Env.Calibration == nil {
		return fmt.Errorf("pass %q: by:%s and repair:%s need calibration data, none was given", "prune-nodes", o.Criterion, o.Repair)
	}
	plan, err := MakePlan(j, o)
	if err != nil || len(plan.Gone) == 0 {
		return err
	}
	original := j.Model.Clone()
	kept := plan.keptRows()
	facts, err := plan.Groups.Cut(plan.Gone)
	if err != nil {
		return err
	}
	j.Facts = facts
	report(j, plan)
	if o.Repair == "none" {
		return nil
	}
	return repair(j, original, kept, o.Repair == "lstsq")
}

// MakePlan chooses what goes, without changing the model.
func MakePlan(j *passes.Job, o NodesOptions) (*Plan, error) {
	g := Analyze(j.Model, j.Facts, Rules{Widths: o.Widths})
	for _, b := range g.Blocked {
		j.SkipAt(b.Group.Name, "the model does not follow a cut: %v", b.Err)
	}
	for _, r := range g.Refused {
		if r.Size == r.Kept {
			j.SkipAt(fmt.Sprintf("%s:%d", r.Weight.Weight.Name(), r.Weight.Axis), "%s", r.Reason)
		}
	}
	w := g.newWork()
	p := &Plan{Groups: g, Before: w.total, After: w.total}
	scores, err := o.scores(j, g, w)
	if err != nil || len(scores) == 0 {
		return p, err
	}
	c := newChoice(g, scores, o.Scope)
	c.multiple, c.limit = o.Multiple, o.Limit
	want, measure := o.target(j, g, w, c)
	var got float64
	if p.Gone, got, err = c.search(want, o.steps(), measure); err != nil {
		return nil, err
	}
	if got > want {
		j.Note("the target of %.3g is not reached, the least is %.3g: groups may lose no more than %.3g", want, got, o.Limit)
	}
	p.After = w.after(p.Gone)
	return p, nil
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
func (o NodesOptions) scores(j *passes.Job, g *Groups, w *work) (map[*Group][]float64, error) {
	s := &scorer{criterion: o.Criterion, aggregate: o.Aggregate, rand: j.Rand(), readers: g.findReaders()}
	if o.Criterion == "wanda" {
		if err := s.observe(j); err != nil {
			return nil, err
		}
	}
	scores := map[*Group][]float64{}
	for _, group := range g.List {
		if why := o.leavesOut(group); why != "" {
			j.SkipAt(group.Name, "%s", why)
			continue
		}
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

// latencyOf measures copies of the model against the model itself.
func latencyOf(j *passes.Job, g *Groups) func([]*Unit) (float64, error) {
	var whole time.Duration
	return func(units []*Unit) (float64, error) {
		if j.Env.Latency == nil {
			return 0, fmt.Errorf("pass %q: option latency needs a way to measure, none was given", "prune-nodes")
		}
		if whole == 0 {
			var err error
			if whole, err = j.Env.Latency(j.Context(), g.model); err != nil {
				return 0, err
			}
		}
		c, same := g.On(units)
		if _, err := c.Cut(same); err != nil {
			return 0, err
		}
		d, err := j.Env.Latency(j.Context(), c.model)
		return float64(d) / float64(max(whole, 1)), err
	}
}

// report says how many units of each group went.
func report(j *passes.Job, p *Plan) {
	j.Changed(len(p.Gone))
	j.Figure("macs_before", float64(p.Before.MACs))
	j.Figure("macs_after", float64(p.After.MACs))
	j.Figure("params_before", float64(p.Before.Params))
	j.Figure("params_after", float64(p.After.Params))
	for _, w := range p.Widths() {
		j.Note("%s: %d of %d kept", w.Group.Name, w.Kept, w.Size)
	}
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
