package passes

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
)

// Job is one run of a pass over a model. It is the pass's only way to the
// world: the model to edit, what the environment offers, and the report.
type Job struct {
	Model *graph.Model
	Env   *Env
	Facts *op.Inference // what shape inference knows of the model as the pass finds it

	ctx    context.Context
	pass   *Pass
	report *StepReport
	rand   *rand.Rand
}

// Context ends when the caller gives up; long passes ask it now and then.
func (j *Job) Context() context.Context { return j.ctx }

// Changed counts n things that the pass changed.
func (j *Job) Changed(n int) { j.report.Changed += n }

// Skip reports that the pass left n as it was, and why.
func (j *Job) Skip(n *graph.Node, format string, args ...any) {
	j.SkipAt(n.String(), format, args...)
}

// SkipAt reports that the pass left something as it was, and why.
func (j *Job) SkipAt(where, format string, args ...any) {
	j.report.skip(Skip{Where: where, Reason: fmt.Sprintf(format, args...)})
}

// Note adds a remark to the report.
func (j *Job) Note(format string, args ...any) {
	j.report.note(fmt.Sprintf(format, args...))
}

// Figure adds x to a figure of the report.
func (j *Job) Figure(key string, x float64) { j.report.figure(key, x) }

// Curve adds a row of numbers to the report, such as the loss of each epoch.
func (j *Job) Curve(name string, y []float64) {
	j.report.Curves = append(j.report.Curves, Curve{name, y})
}

// Layer adds a row about a layer to the report.
func (j *Job) Layer(l Layer) { j.report.Layers = append(j.report.Layers, l) }

// ProgressAt is Progress that says what the pass is at.
func (j *Job) ProgressAt(what string, done, total int) {
	if j.Env.Progress != nil {
		j.Env.Progress(j.pass.Name+": "+what, done, total)
	}
}

// Progress tells whoever watches how far the pass is; total is 0 if unknown.
func (j *Job) Progress(done, total int) {
	if j.Env.Progress != nil {
		j.Env.Progress(j.pass.Name, done, total)
	}
}

// Log returns the logger of the pass.
func (j *Job) Log() *slog.Logger {
	if j.Env.Log == nil {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return j.Env.Log.With("pass", j.pass.Name)
}

// Rand returns the source of random numbers of the pass. It depends on the
// seed and the pass's name alone.
func (j *Job) Rand() *rand.Rand {
	if j.rand == nil {
		h := fnv.New64a()
		io.WriteString(h, j.pass.Name)
		j.rand = rand.New(rand.NewPCG(j.Env.Seed, h.Sum64()))
	}
	return j.rand
}
