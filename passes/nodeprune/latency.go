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
// group save, which is measured once for groups of the same structure, size and
// work. All of these lose units at once then, as one alone makes a difference
// that is smaller than what two measurements of the same model differ by.
type latencies struct {
	groups  *Groups
	work    *work
	measure func([]*Unit) (float64, error) // the latency without units, as a share of the model's
	kinds   map[*Group]string
	alike   map[string][]*Group
	saved   map[string]float64
}

// savedMost is how many times its share of the work a group can save at most of
// the time. More is noise.
const savedMost = 2

func newLatencies(g *Groups, w *work, measure func([]*Unit) (float64, error)) *latencies {
	l := &latencies{groups: g, work: w, measure: measure, kinds: map[*Group]string{}, alike: map[string][]*Group{}, saved: map[string]float64{}}
	for _, x := range g.List {
		kind := fmt.Sprintf("%s %d, %.3g", g.shape(x), len(x.Units), w.saved(x))
		l.kinds[x] = kind
		l.alike[kind] = append(l.alike[kind], x)
	}
	return l
}

// left returns the latency without units, as a share of the model's.
func (l *latencies) left(gone []*Unit) (float64, error) {
	left := 1.0
	for len(gone) > 0 {
		n := 1
		for n < len(gone) && gone[n].Group == gone[0].Group {
			n++
		}
		s, err := l.of(gone[0].Group, n)
		if err != nil {
			return 0, err
		}
		left -= s
		gone = gone[n:]
	}
	return left, nil
}

// of returns what n units of a group save.
func (l *latencies) of(g *Group, n int) (float64, error) {
	key := fmt.Sprint(n, " of ", l.kinds[g])
	if s, ok := l.saved[key]; ok {
		return s, nil
	}
	alike := l.alike[l.kinds[g]]
	var gone []*Unit
	for _, x := range alike {
		gone = append(gone, x.Units[:n]...)
	}
	share, err := l.measure(gone)
	if err != nil {
		return 0, err
	}
	work := 1 - float64(l.work.after(gone).MACs)/float64(max(l.work.total.MACs, 1))
	l.saved[key] = min(max(0, 1-share), savedMost*work) / float64(len(alike))
	return l.saved[key], nil
}

// latencyTries is how often the target is corrected by what was measured.
const latencyTries = 3

// allotLatency is allot for a latency. What groups save alone does not add up
// exactly: what comes out is measured, and the target corrected by that.
func (c *choice) allotLatency(curves []*curve, want float64, l *latencies) (gone []*Unit, got float64, err error) {
	target := want
	for range latencyTries {
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
