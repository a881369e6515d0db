package nodeprune

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// PruneLayers removes whole layers and blocks.
var PruneLayers = passes.Define(passes.Pass{
	Name: "prune-layers",
	Doc: `remove the layers and blocks that contribute least

A layer whose result has the type of its operand can be left out, and so can all
that stands between a shortcut and the sum that it ends in, such as a residual
block, an attention or a feed-forward part of a transformer:

	before: y = Add (x, f (x))
	after:  x in the place of y

What each contributes is measured: the rest of the model is run without it, and
its outputs are compared. The least goes, and the others are measured anew, until
so many layers are gone (layers), so little work is left (macs), the model takes
so little of its time on the target (latency), or no more accuracy may be lost on
the calibration data (budget). For macs and latency, contributions are counted for
each multiply-accumulate. (Men et al. 2024, ShortGPT, arXiv 2403.03853.)`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, LayersOptions{By: "kl", Mending: mending}, pruneLayers)

// LayersOptions are the options of [PruneLayers]. One of Layers, MACs, Latency
// and Budget is set.
type LayersOptions struct {
	Mending
	Layers  int      `opt:"layers" help:"number of layers or blocks to remove"`
	MACs    float64  `opt:"macs" help:"multiply-accumulates to keep, as a share of the model's"`
	Latency float64  `opt:"latency" help:"measured latency to reach, as a share of the model's"`
	Budget  float64  `opt:"budget" help:"points of accuracy on the calibration data that may be lost"`
	By      string   `opt:"by" oneof:"kl|error|loss" help:"contribution: divergence of the scores, error of all outputs, or loss on labels"`
	Exclude []string `opt:"exclude" help:"nodes that stay, patterns with * and ?"`
}

// Validate reports options that contradict each other or are out of range.
func (o LayersOptions) Validate() error {
	given := 0
	for _, set := range []bool{o.Layers != 0, o.MACs != 0, o.Latency != 0, o.Budget != 0} {
		if set {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("want one of the options \"layers\", \"macs\", \"latency\" and \"budget\"")
	case o.Layers < 0:
		return fmt.Errorf("option \"layers\": got %d, want at least 1", o.Layers)
	case o.MACs < 0 || o.MACs >= 1:
		return fmt.Errorf("option \"macs\": got %v, want more than 0 and less than 1", o.MACs)
	case o.Latency < 0 || o.Latency >= 1:
		return fmt.Errorf("option \"latency\": got %v, want more than 0 and less than 1", o.Latency)
	case o.Budget < 0 || o.Budget >= 100:
		return fmt.Errorf("option \"budget\": got %v, want points of accuracy, more than 0 and less than 100", o.Budget)
	}
	return o.Mending.Validate()
}

// scanSamples is how many samples contributions are measured on.
const scanSamples = 64

func pruneLayers(j *passes.Job, o LayersOptions) error {
	if err := o.Validate(); err != nil { // defaults are not asked
		return err
	}
	if o.By == "loss" && !j.Env.Labelled {
		return fmt.Errorf("pass %q: by:loss needs labelled data, none was given", "prune-layers")
	}
	t := &thinner{job: j, options: o, original: j.Model.Clone()}
	s, err := takeSamples(j, scanSamples, walkBytes)
	if err != nil {
		return err
	}
	t.feeds, t.labels = s.feeds, s.labels
	t.whole = macsOf(t.original)
	if o.Budget > 0 {
		if t.judge, err = saliency.NewJudge(j.Context(), t.original, j.Env.Calibration, j.Env.Labelled, j.Env.Threads); err != nil {
			return err
		}
	}
	removed := 0
	for {
		enough, err := t.enough(removed)
		if err != nil {
			return err
		}
		if enough {
			break
		}
		done, err := t.removeLeast()
		if err != nil {
			return err
		}
		if !done {
			if o.Budget == 0 {
				j.Note("the target is not reached: nothing else can be left out")
			}
			break
		}
		removed++
	}
	if removed == 0 {
		return nil
	}
	j.Changed(removed)
	j.Figure("macs_before", float64(t.whole))
	j.Figure("macs_after", float64(macsOf(j.Model)))
	if o.Repair == "none" {
		return nil
	}
	if err := repair(j, t.original, allRows(j.Model), o.Mending); err != nil {
		return err
	}
	return reestimate(j)
}

// thinner removes one layer after the other.
type thinner struct {
	job      *passes.Job
	options  LayersOptions
	original *graph.Model
	feeds    []map[string]tensor.Value
	labels   []int
	whole    int64 // multiply-accumulates of the original
	judge    *saliency.Judge
	costs    map[string]float64 // last measured, by the value that is left out
}

// remeasured is how many candidates are measured anew after a removal, those
// that cost least before: the others have hardly become free meanwhile.
const remeasured = 8

// enough reports whether the target is reached.
func (t *thinner) enough(removed int) (bool, error) {
	switch {
	case t.options.Layers > 0:
		return removed == t.options.Layers, nil
	case t.options.MACs > 0:
		return float64(macsOf(t.job.Model)) <= t.options.MACs*float64(t.whole), nil
	case t.options.Latency > 0:
		share, err := latencyShare(t.job, t.original, t.job.Model)
		return share <= t.options.Latency, err
	}
	return false, nil
}

// removeLeast removes what contributes least for the work that it takes. It
// reports false if nothing can go.
func (t *thinner) removeLeast() (bool, error) {
	list := t.promising(t.candidates())
	if len(list) == 0 {
		return false, nil
	}
	if err := t.measure(list); err != nil {
		return false, err
	}
	best := slices.MinFunc(list, func(a, b saliency.Bypass) int { return cmp.Compare(t.cost(a), t.cost(b)) })
	return t.remove(best)
}

// promising returns the candidates that are worth measuring, in order.
func (t *thinner) promising(list []saliency.Bypass) []saliency.Bypass {
	if t.costs == nil || len(list) <= remeasured {
		return list
	}
	costs := make([]float64, len(list))
	for i, b := range list {
		costs[i] = t.cost(b)
	}
	slices.Sort(costs)
	return slices.DeleteFunc(list, func(b saliency.Bypass) bool { return t.cost(b) > costs[remeasured-1] })
}

// cost is what a candidate contributed when it was measured last.
func (t *thinner) cost(b saliency.Bypass) float64 { return t.costs[b.Node.Out(0).Name()] }

// measure measures what candidates contribute; where the target is one of work
// or time, for each multiply-accumulate.
func (t *thinner) measure(list []saliency.Bypass) error {
	j := t.job
	var labels []int
	if j.Env.Labelled {
		labels = t.labels
	}
	effects, err := saliency.ScanBypasses(j.Context(), t.original, j.Model, t.feeds, labels, list, j.Env.Threads,
		func(done int) { j.ProgressAt("contributions", done, len(list)) })
	if err != nil {
		return err
	}
	if t.costs == nil {
		t.costs = map[string]float64{}
	}
	now := macsOf(j.Model)
	for i, e := range effects {
		cost := t.contribution(e)
		if t.options.MACs+t.options.Latency > 0 {
			cost *= float64(t.whole) / float64(max(now-macsOf(leaveOut(j.Model, list[i])), 1))
		}
		t.costs[list[i].Node.Out(0).Name()] = cost
	}
	return nil
}

func (t *thinner) contribution(e saliency.Effect) float64 {
	switch t.options.By {
	case "error":
		return e.Error
	case "loss":
		return e.Loss
	}
	return e.KL
}

// remove takes a bypass, unless the budget forbids it.
func (t *thinner) remove(b saliency.Bypass) (bool, error) {
	j := t.job
	next := leaveOut(j.Model, b)
	if t.judge != nil {
		lost, err := t.judge.Lost(j.Context(), next)
		if err != nil || 100*lost > t.options.Budget {
			return false, err
		}
	}
	j.Note("%v: %s %.3g", b.Node, t.options.By, t.cost(b))
	j.Model = next
	j.Facts = op.InferModel(next, op.InferOptions{})
	return true, nil
}

// leaveOut returns a copy of m in which a bypass is taken, and what nothing
// reads then is gone.
func leaveOut(m *graph.Model, b saliency.Bypass) *graph.Model {
	c := m.Clone()
	out, instead := c.Graph.Value(b.Node.Out(0).Name()), c.Graph.Value(b.Instead.Name())
	c.Graph.Replace(out, instead)
	for n := range c.Graph.Backward() {
		if !slices.ContainsFunc(n.Outs(), func(v *graph.Value) bool { return v != nil && v.Used() }) {
			c.Graph.Remove(n)
		}
	}
	for _, v := range c.Graph.Inits() {
		if !v.Used() && !v.IsInput() {
			c.Graph.DropInit(v)
		}
	}
	return c
}

func macsOf(m *graph.Model) int64 {
	sum := int64(0)
	for _, n := range staticCosts(m) {
		sum += n
	}
	return sum
}

// candidates lists what can be left out, in the order of the nodes.
func (t *thinner) candidates() []saliency.Bypass {
	var list []saliency.Bypass
	for n := range t.job.Model.Graph.Nodes() {
		x := shortcut(n)
		if x == nil || passes.Match(t.options.Exclude, n.Name) || n.Out(0).IsOutput() {
			continue
		}
		list = append(list, saliency.Bypass{Node: n, Instead: x})
	}
	return list
}

// shortcut returns the value that can stand in the place of n's result: the
// operand of a sum that the other is made from, or that of a layer; nil if
// there is none of the same type.
func shortcut(n *graph.Node) *graph.Value {
	if n.Is("Add") {
		for i := range 2 {
			if x := n.In(i); sameType(x, n.Out(0)) && descends(n.In(1-i), x) {
				return x
			}
		}
		return nil
	}
	if _, ok := layerOf(n); ok && constant(n.In(0)) == nil && sameType(n.In(0), n.Out(0)) {
		return n.In(0)
	}
	return nil
}

func sameType(x, y *graph.Value) bool {
	return x != nil && y != nil && constant(x) == nil && x.Graph() == y.Graph() &&
		dimsOf(x) != nil && x.Type.Elem == y.Type.Elem && dimsOf(x).Same(dimsOf(y))
}

// descends reports whether v is made from x by more than nothing.
func descends(v, x *graph.Value) bool {
	seen := map[*graph.Value]bool{v: true}
	queue := []*graph.Value{v}
	for len(queue) > 0 {
		n := queue[0].Producer()
		queue = queue[1:]
		if n == nil {
			continue
		}
		for u := range n.Reads() {
			if u == x {
				return true
			}
			if !seen[u] {
				seen[u] = true
				queue = append(queue, u)
			}
		}
	}
	return false
}

// allRows returns all outputs of every layer of a model, by the name of its
// result.
func allRows(m *graph.Model) map[string][]int {
	rows := map[string][]int{}
	for n := range m.Graph.Nodes() {
		l, ok := layerOf(n)
		if !ok || constant(n.In(l.slot)) == nil {
			continue
		}
		rows[n.Out(0).Name()] = ascending(dimsOf(n.In(l.slot))[l.outputs].Size)
	}
	return rows
}
