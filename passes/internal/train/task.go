package train

import (
	"context"
	"io"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Task says what is trained, on what, and towards what.
type Task struct {
	Model *graph.Model // not changed
	Loss  []Term       // their weighted sum is what is made small
	Data  Source
	// Held are samples that training does not see: before the first epoch and
	// after each the model is validated on them, and the best weights are kept.
	// nil keeps the last.
	Held Source
	// Scores names the output whose highest element is the class. Where held
	// samples have labels, and it is set, validation is the share of right
	// answers; else it is the loss.
	Scores  string
	Options Options

	// Watch is told of each point of the curve; nil tells nobody.
	Watch func(Point)
	// Stop, once closed, ends the run with the best weights so far.
	Stop <-chan struct{}
	// Checkpoints keeps the state of the run; nil keeps none.
	Checkpoints Checkpoints
}

// Checkpoints keeps states of runs, by key, over the end of the process.
type Checkpoints interface {
	// Load opens the state last saved under the key, nil if there is none.
	Load(key string) (io.ReadCloser, error)
	// Due reports whether it is time to save again.
	Due() bool
	// Save replaces the state under the key, whole or not at all.
	Save(key string, write func(io.Writer) error) error
}

// Term is one summand of a loss.
type Term struct {
	Name   string // in reports
	Weight float64
	// Build appends the nodes that compute the term, a scalar.
	Build func(*Scope) (*graph.Value, error)
	// Feed returns what the inputs that Build declared hold for a batch; it is
	// called after Build. nil if Build declares none.
	Feed func(context.Context, *Batch) (map[string]tensor.Value, error)
}

// Point is the state of a run after a step or, where Validated is set, after
// an epoch.
type Point struct {
	Step, Steps int // done, of all
	Epoch       int // from 0
	Rate        float64
	Loss        float64   // of the step, or the mean of the epoch
	Terms       []float64 // the loss by terms, not weighted

	Validated bool
	HeldLoss  float64
	Score     float64 // share of right answers, NaN where there are no labels
}

// Result is what a run made.
type Result struct {
	Model   *graph.Model // the task's model with trained weights
	Start   Point        // the validation of the task's weights
	Curve   []Point      // one for each epoch
	Best    int          // index of the point whose weights these are, -1 for the task's
	Steps   int          // updates done
	Resumed int          // the step at which the run was resumed, 0 if it was not
	Trained int          // numbers that were trained
	Stopped string       // why the run ended early, "" if it did not
	Notes   []string
}
