package nodeprune

import (
	"errors"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// latencyOf measures copies of the model without units.
func latencyOf(j *passes.Job, g *Groups) func([]*Unit) (float64, error) {
	return func(units []*Unit) (float64, error) {
		c, same := g.On(units)
		if _, err := c.Cut(same); err != nil {
			return 0, err
		}
		return latencyShare(j, g.model, c.model)
	}
}

// latencyShare returns the latency of a part of a model, as a share of the
// whole's. Both are measured, one right after the other.
func latencyShare(j *passes.Job, whole, part *graph.Model) (float64, error) {
	if j.Env.Latency == nil {
		return 0, errors.New("a target of latency needs a way to measure, none was given")
	}
	w, err := j.Env.Latency(j.Context(), whole)
	if err != nil {
		return 0, err
	}
	p, err := j.Env.Latency(j.Context(), part)
	return float64(p) / float64(max(w, 1)), err
}

// latencies tells the latency of a model without units from what those of each
// group save alone, which is measured once for groups of the same structure,
// size and work.
type latencies struct {
	groups  *Groups
	work    *work
	measure func([]*Unit) (float64, error) // the latency without units, as a share of the model's
	saved   map[string]float64
}

func newLatencies(g *Groups, w *work, measure func([]*Unit) (float64, error)) *latencies {
	return &latencies{groups: g, work: w, measure: measure, saved: map[string]float64{}}
}

// left returns the latency without units, as a share of the model's.
func (l *latencies) left(gone []*Unit) (float64, error) {
	left := 1.0
	for len(gone) > 0 {
		n := 1
		for n < len(gone) && gone[n].Group == gone[0].Group {
			n++
		}
		s, err := l.of(gone[:n])
		if err != nil {
			return 0, err
		}
		left -= s
		gone = gone[n:]
	}
	return left, nil
}

// of returns what units of one group save.
func (l *latencies) of(gone []*Unit) (float64, error) {
	g := gone[0].Group
	key := fmt.Sprintf("%s %d of %d, %.3g", l.groups.shape(g), len(gone), len(g.Units), l.work.saved(g))
	if s, ok := l.saved[key]; ok {
		return s, nil
	}
	share, err := l.measure(gone)
	l.saved[key] = max(0, 1-share)
	return l.saved[key], err
}

// latencyTries is how often the target is corrected by what was measured.
const latencyTries = 3

// allotLatency is allot for a latency. What groups save alone does not add up
// exactly: what comes out is measured, and the target corrected by that.
func (c *choice) allotLatency(curves []*curve, want float64, l *latencies) (gone []*Unit, got float64, err error) {
	target := want
	for range latencyTries {
		for _, x := range curves {
			x.at = 0
		}
		var told float64
		if gone, told, err = c.allot(curves, target, l.left); err != nil {
			return nil, 0, err
		}
		if got, err = l.measure(gone); err != nil || got <= want || told > target {
			break
		}
		target -= got - want
	}
	return gone, got, err
}
