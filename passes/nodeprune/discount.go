package nodeprune

import (
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// A curve is measured with all other layers as they were. In the end each is fitted
// to what the original computes on the inputs that those before it leave, and makes
// up for some of what they have lost. How much that is depends on the model: the
// losses of a group with n others behind it are divided by 1 + n*d, and a few
// discounts d are tried.

// discounts are those that are tried. The first is taken where none can be tried.
var discounts = []float64{0.1, 0, 0.3, 1}

const (
	// trialEvery is which samples a trial is judged on: every so many-th. It is
	// repaired on the others.
	trialEvery = 4
	// trialSamples is how many samples a trial is repaired on at most, fewToTry how
	// many there have to be at least.
	trialSamples, fewToTry = 192, 32
	// judgeSamples is how many samples a trial is judged on at most.
	judgeSamples = 96
)

// discounted returns the curves with losses that count less the more groups stand
// behind. Curves stand in the order of the graph.
func discounted(curves []*curve, by float64) []*curve {
	list := make([]*curve, len(curves))
	for i, x := range curves {
		y := *x
		y.losses = slices.Clone(x.losses)
		for k := range y.losses {
			y.losses[k] /= 1 + by*float64(len(curves)-1-i)
		}
		list[i] = &y
	}
	return list
}

// bestDiscount returns the units that allot lets go by the discount whose cut, once
// it is repaired, diverges least on samples that it was not repaired on.
func (o NodesOptions) bestDiscount(j *passes.Job, p *Plan, curves []*curve, allot func([]*curve) ([]*Unit, float64, error)) (gone []*Unit, got float64, err error) {
	if o.Repair != "lstsq" || j.Env.Samples < fewToTry {
		return allot(discounted(curves, discounts[0]))
	}
	judge, err := takeSamples(j.Part(trialEvery, true), judgeSamples, walkBytes)
	if err != nil {
		return nil, 0, err
	}
	least := math.Inf(1)
	for i, d := range discounts {
		j.ProgressAt("discounts", i, len(discounts))
		units, left, err := allot(discounted(curves, d))
		if err != nil {
			return nil, 0, err
		}
		lost, err := o.lostWithout(j, p, units, judge)
		if err != nil {
			return nil, 0, err
		}
		j.Log().Debug("discount", "of", d, "left", left, "lost", lost)
		if i == 0 || lost < least {
			gone, got, least = units, left, lost
		}
	}
	return gone, got, nil
}

// lostWithout returns by how much the outputs on some samples diverge without units,
// after a repair on others.
func (o NodesOptions) lostWithout(j *passes.Job, p *Plan, units []*Unit, judge *sampled) (float64, error) {
	c, same := p.Groups.On(units)
	kept := (&Plan{Groups: p.Groups, Gone: units}).keptRows()
	facts, err := c.Cut(same)
	if err != nil {
		return 0, err
	}
	trial := j.Part(trialEvery, false).Aside(c.Model(), facts)
	if err := repairOn(trial, trialSamples, j.Model, kept, Mending{Repair: o.Repair, Views: 1}); err != nil {
		return 0, err
	}
	if err := reestimate(trial); err != nil {
		return 0, err
	}
	var e saliency.Effect
	e, err = saliency.Compare(j.Context(), j.Model, trial.Model, judge.feeds, j.Env.Threads)
	return e.KL + e.Error, err
}
