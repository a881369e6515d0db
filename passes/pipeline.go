package passes

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
)

// Pipeline is a list of steps, run in order.
type Pipeline struct {
	Steps []Step
	// Verify compares outputs after each step; the zero Verify does not.
	Verify Verify
	// After is told of each step when it has ended; nil tells nobody.
	After func(*StepReport)
}

// StepError says which step of a pipeline failed, and holds what is needed to
// see it fail again.
type StepError struct {
	Step   Step
	Index  int          // of the step
	Before *graph.Model // the model that the step was given
	Rest   []Step       // the step and those after it
	Stack  []byte       // where the pass panicked, nil if it returned an error
	Err    error
}

func (e *StepError) Error() string {
	if e.Stack != nil {
		return fmt.Sprintf("step %d, pass %q: panic: %v", e.Index+1, e.Step.Pass.Name, e.Err)
	}
	return fmt.Sprintf("step %d, pass %q: %v", e.Index+1, e.Step.Pass.Name, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// Run runs the steps on m and returns the model that they made, with the
// report of those that ended. It edits m: after the call only the returned
// model is to be used. An error is a *StepError, or one about the pipeline
// itself or about m as it was given.
func (p Pipeline) Run(ctx context.Context, m *graph.Model, env *Env) (*graph.Model, *Report, error) {
	if env == nil {
		env = &Env{}
	}
	for _, s := range p.Steps {
		if err := env.check(s.Pass); err != nil {
			return m, &Report{}, err
		}
	}
	report := &Report{Repairs: graph.Repair(m)}
	if err := graph.Check(m); err != nil {
		return m, report, fmt.Errorf("model: %w", err)
	}
	r := &runner{ctx: ctx, env: env, model: m, verify: newVerifier(p.Verify, env.Threads)}
	r.facts = op.InferModel(m, op.InferOptions{})
	for i, s := range p.Steps {
		before := r.model.Clone()
		step, err := r.step(s)
		if err != nil {
			return before, report, stepError(err, i, p.Steps[i:], before)
		}
		report.Steps = append(report.Steps, step)
		if p.After != nil {
			p.After(step)
		}
	}
	return r.model, report, nil
}

func stepError(err error, index int, rest []Step, before *graph.Model) *StepError {
	e := &StepError{Step: rest[0], Index: index, Before: before, Rest: rest, Err: err}
	if p, ok := err.(*panicError); ok {
		e.Stack, e.Err = p.stack, p.err
	}
	return e
}

// runner is a pipeline while it runs.
type runner struct {
	ctx    context.Context
	env    *Env
	model  *graph.Model
	facts  *op.Inference
	verify *verifier
}

// step runs one step and verifies it. Where it may be taken back, the model
// before is kept.
func (r *runner) step(s Step) (*StepReport, error) {
	if r.verify == nil {
		return r.apply(s)
	}
	if err := r.verify.baseline(r.ctx, r.model); err != nil {
		return nil, err
	}
	before := r.model.Clone()
	report, err := r.apply(s)
	if err != nil || report.Changed == 0 {
		return report, err
	}
	drift, err := r.verify.drift(r.ctx, r.model)
	if err != nil {
		return nil, err
	}
	report.Drift = &drift
	if why := r.verify.breach(s.Pass.Kind, drift); why != "" {
		return r.breached(s, report, before, why)
	}
	r.verify.accept()
	return report, nil
}

// breached takes a step back that broke its budget, or fails. A fixpoint is
// run once more, each of its members on its own, so that only those at fault
// are taken back.
func (r *runner) breached(s Step, report *StepReport, before *graph.Model, why string) (*StepReport, error) {
	if r.verify.OnBreach == Fail {
		return nil, fmt.Errorf("%s", why)
	}
	r.restore(before)
	if s.Pass.members == nil {
		report.Outcome, report.Reason = RolledBack, why
		return report, nil
	}
	return r.runMembers(s, r.step)
}

func (r *runner) restore(before *graph.Model) {
	r.model = before
	r.facts = op.InferModel(before, op.InferOptions{})
}

// apply runs one step, checks the model, and derives its types anew.
func (r *runner) apply(s Step) (*StepReport, error) {
	if s.Pass.members != nil {
		return r.runMembers(s, r.apply)
	}
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	report := newStepReport(s)
	start := time.Now()
	j := &Job{Model: r.model, Env: r.env, Facts: r.facts, ctx: r.ctx, pass: s.Pass, report: report}
	if err := runRecovered(s, j); err != nil {
		return nil, err
	}
	r.model = j.Model
	if report.Changed > 0 {
		if err := graph.Check(r.model); err != nil {
			return nil, fmt.Errorf("leaves a broken model: %w", err)
		}
		r.facts = op.InferModel(r.model, op.InferOptions{})
	}
	report.Elapsed = time.Since(start)
	return report, nil
}

func newStepReport(s Step) *StepReport {
	r := &StepReport{Pass: s.Pass.Name, Kind: s.Pass.Kind, Outcome: Done}
	for _, t := range s.Settings {
		if r.Options == nil {
			r.Options = map[string]string{}
		}
		r.Options[t.Key] = t.text()
	}
	return r
}

// panicError is a panic of a pass.
type panicError struct {
	err   error
	stack []byte
}

func (e *panicError) Error() string { return e.err.Error() }

func runRecovered(s Step, j *Job) (err error) {
	defer func() {
		if x := recover(); x != nil {
			err = &panicError{fmt.Errorf("%v", x), debug.Stack()}
		}
	}()
	return s.Pass.run(j, s.options)
}
