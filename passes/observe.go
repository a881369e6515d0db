package passes

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Observe runs the model on the calibration data and calls f with the
// contents of each of the given values, for every sample. The values belong
// to the main graph; those that are no tensors are left out. What f gets is
// valid during the call.
func (j *Job) Observe(values []*graph.Value, f func(v *graph.Value, t *tensor.Tensor)) error {
	wanted := map[*graph.Value]bool{}
	inputs := map[string]*graph.Value{}
	for _, v := range values {
		wanted[v] = true
		if v.IsInput() {
			inputs[v.Name()] = v
		}
	}
	give := func(v *graph.Value, x tensor.Value) {
		if t, ok := x.(*tensor.Tensor); ok && v != nil && wanted[v] {
			f(v, t)
		}
	}
	s, err := engine.Compile(j.ctx, j.Model, engine.Options{
		Threads: j.Env.Threads,
		Observe: func(n *graph.Node, outs []tensor.Value) {
			for i, x := range outs {
				give(n.Out(i), x)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("the model cannot be run for calibration: %w", err)
	}
	return j.runAll(s, func(name string, x tensor.Value) { give(inputs[name], x) })
}

// runAll runs the session on every calibration sample and shows the feeds to
// fed.
func (j *Job) runAll(s *engine.Session, fed func(name string, x tensor.Value)) error {
	n := 0
	for sample, err := range j.Env.Calibration(j.ctx) {
		if err != nil {
			return fmt.Errorf("calibration data: %w", err)
		}
		for name, x := range sample.Feeds {
			fed(name, x)
		}
		if _, err := s.Run(j.ctx, sample.Feeds); err != nil {
			return fmt.Errorf("calibration sample %d: %w", n, err)
		}
		n++
		j.Progress(n, j.Env.Samples)
	}
	if n == 0 {
		return fmt.Errorf("calibration data has no samples")
	}
	return nil
}
