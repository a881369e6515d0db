package passes

import (
	"errors"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Observe runs the model on the calibration data and calls f with the
// contents of each of the given values, for every sample, in the order of the
// list. The values belong to the main graph; those that are no tensors are left
// out. What f gets is valid during the call.
func (j *Job) Observe(values []*graph.Value, f func(v *graph.Value, t *tensor.Tensor)) error {
	o := engine.Options{Threads: j.Env.Threads}
	for _, v := range values {
		if !v.IsInput() {
			o.Outputs = append(o.Outputs, v.Name())
		}
	}
	s, err := engine.Compile(j.ctx, j.Model, o)
	if err != nil {
		return fmt.Errorf("the model cannot be run for calibration: %w", err)
	}
	n := 0
	for sample, err := range j.Env.Calibration(j.ctx) {
		if err != nil {
			return fmt.Errorf("calibration data: %w", err)
		}
		out, err := s.Run(j.ctx, sample.Feeds)
		if err != nil {
			return fmt.Errorf("calibration sample %d: %w", n, err)
		}
		for _, v := range values {
			x := out[v.Name()]
			if v.IsInput() {
				x = sample.Feeds[v.Name()]
			}
			if t, ok := x.(*tensor.Tensor); ok {
				f(v, t)
			}
		}
		n++
		j.Progress(n, j.Env.Samples)
	}
	if n == 0 {
		return errors.New("calibration data has no samples")
	}
	return nil
}
