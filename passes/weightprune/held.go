package weightprune

import (
	"context"
	"iter"

	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
)

// fewToHold is how many samples have to be there for some to be held back.
const fewToHold = 8

// learns reports whether weights are scored or mended by calibration samples, so
// that these are no fair judges of the result.
func (p *pruner) learns() bool {
	return max(p.needs, p.applyNeeds()) != nothing || p.prepare != nil || len(p.o.Repair) > 0
}

// holding returns two jobs: one that sees the calibration samples but for every
// so many-th, and one that sees those. Both see all if there are few, or if
// nothing is learnt from them.
func (p *pruner) holding(every int) (learn, judge *passes.Job) {
	if !p.learns() || p.job.Env.Calibration == nil || p.job.Env.Samples > 0 && p.job.Env.Samples < fewToHold {
		return p.job, p.job
	}
	return p.seeing(every, false), p.seeing(every, true)
}

// seeing returns a job that sees every so many-th calibration sample, or only
// the others.
func (p *pruner) seeing(every int, held bool) *passes.Job {
	job, env := *p.job, *p.job.Env
	job.Env = &env
	env.Samples = p.job.Env.Samples / every
	if !held {
		env.Samples = p.job.Env.Samples - env.Samples
	}
	data := p.job.Env.Calibration
	env.Calibration = func(ctx context.Context) iter.Seq2[dataset.Sample, error] {
		return func(yield func(dataset.Sample, error) bool) {
			n := 0
			for s, err := range data(ctx) {
				if n++; err == nil && (n%every == 0) != held {
					continue
				}
				if !yield(s, err) {
					return
				}
			}
		}
	}
	return &job
}
