package nodeprune

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// outcome is what the cuts of a model came to.
type outcome struct {
	gone          int
	before, after Size
	order         []string // names of groups
	widths        map[string]Width
	kept          map[string][]int // of the original's outputs, by layer
}

// cut cuts the job's model in rounds, and repairs it after each. It returns nil
// if nothing can go.
func (o NodesOptions) cut(j *passes.Job) (*outcome, error) {
	original := j.Model.Clone()
	var done *outcome
	for round := range o.Rounds {
		plan, err := MakePlan(j, o.inRound(round))
		if err != nil {
			return nil, err
		}
		if round == 0 {
			plan.Groups.reportRefused(j)
		}
		if len(plan.Gone) == 0 {
			continue
		}
		if done == nil {
			done = &outcome{before: plan.Before, widths: map[string]Width{}}
		}
		done.add(plan)
		if j.Facts, err = plan.Groups.Cut(plan.Gone); err != nil {
			return nil, err
		}
		if o.Repair == "none" {
			continue
		}
		if err := repair(j, original, done.kept, o.Mending); err != nil {
			return nil, err
		}
	}
	if done != nil && o.Repair != "none" {
		return done, reestimate(j)
	}
	return done, nil
}

// inRound returns the options of one of several rounds, whose amounts are
// shares of what the rounds before have left. Rounds remove equal parts.
func (o NodesOptions) inRound(round int) NodesOptions {
	left := func(keep float64, rounds int) float64 {
		return 1 - (1-keep)*float64(rounds)/float64(o.Rounds)
	}
	part := func(keep float64) float64 { return left(keep, round+1) / left(keep, round) }
	r := o
	switch {
	case o.MACs > 0:
		r.MACs = part(o.MACs)
	case o.Params > 0:
		r.Params = part(o.Params)
	case o.Latency > 0:
		r.Latency = part(o.Latency)
	default:
		r.Ratio = 1 - part(1-o.Ratio)
	}
	if o.Rounds > 1 {
		r.Limit = 1 - math.Pow(1-o.Limit, 1/float64(o.Rounds))
	}
	return r
}

// add counts a cut.
func (d *outcome) add(p *Plan) {
	d.gone += len(p.Gone)
	d.after = p.After
	for _, w := range p.Widths() {
		before, known := d.widths[w.Group.Name]
		if !known {
			d.order = append(d.order, w.Group.Name)
			before.Size = w.Size
		}
		d.widths[w.Group.Name] = Width{w.Group, w.Kept, before.Size}
	}
	kept := p.keptRows()
	for name, rows := range kept {
		if first, ok := d.kept[name]; ok {
			for i, r := range rows {
				rows[i] = first[r]
			}
		}
	}
	d.kept = kept
}

// report says how many units of each group went.
func (d *outcome) report(j *passes.Job) {
	j.Changed(d.gone)
	j.Figure("macs_before", float64(d.before.MACs))
	j.Figure("macs_after", float64(d.after.MACs))
	j.Figure("params_before", float64(d.before.Params))
	j.Figure("params_after", float64(d.after.Params))
	for _, name := range d.order {
		w := d.widths[name]
		j.Note("%s: %d of %d kept", name, w.Kept, w.Size)
	}
}

// budgetSteps is how many cuts are tried for a budget of accuracy.
const budgetSteps = 6

// cutWithin cuts as many multiply-accumulates as the budget of accuracy allows,
// as halving the interval finds it.
func (o NodesOptions) cutWithin(j *passes.Job) (*outcome, error) {
	original := j.Model
	judge, err := saliency.NewJudge(j.Context(), original, j.Env.Calibration, j.Env.Labelled, j.Env.Threads)
	if err != nil {
		return nil, err
	}
	best, bestModel := (*outcome)(nil), original
	lo, hi := 0.0, 1.0 // shares of the work to keep: too few, enough
	for step := range budgetSteps {
		j.ProgressAt("budget", step, budgetSteps)
		try := o
		try.Budget, try.MACs = 0, (lo+hi)/2
		j.Model = original.Clone()
		j.Facts = op.InferModel(j.Model, op.InferOptions{})
		done, err := try.cut(j)
		if err != nil {
			return nil, err
		}
		if done == nil {
			lo = try.MACs
			continue
		}
		lost, err := judge.Lost(j.Context(), j.Model)
		if err != nil {
			return nil, err
		}
		if j.Log().Debug("cut", "macs", try.MACs, "lost", lost); 100*lost <= o.Budget {
			best, bestModel, hi = done, j.Model, try.MACs
		} else {
			lo = try.MACs
		}
	}
	j.Model = bestModel
	j.Facts = op.InferModel(j.Model, op.InferOptions{})
	if best == nil {
		j.Note("no cut that was tried stays within %v points", o.Budget)
	}
	return best, nil
}

// normSamples is the least number of samples that statistics are taken of.
const normSamples = 32

// reestimate takes the statistics of batch normalizations anew.
func reestimate(j *passes.Job) error {
	norms := false
	for n := range j.Model.Graph.Nodes() {
		norms = norms || n.Is("BatchNormalization")
	}
	if !norms {
		return nil
	}
	data, err := train.Collect(j.Context(), j.Env.Calibration(j.Context()))
	if err != nil {
		return fmt.Errorf("calibration data: %w", err)
	}
	if data.Len() < normSamples {
		j.Note("statistics of batch normalizations stay: %d samples, want %d", data.Len(), normSamples)
		return nil
	}
	m, _, err := train.Reestimate(j.Context(), j.Model, data, train.Options{Batch: normSamples, Threads: j.Env.Threads})
	if err != nil {
		return err
	}
	j.Model = m
	j.Facts = op.InferModel(m, op.InferOptions{})
	return nil
}
