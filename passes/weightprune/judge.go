package weightprune

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// judge says how much of its accuracy a model has lost on the calibration
// data: the share of right answers, or, where there are no labels, of those
// that are still what they were.
type judge struct {
	answers []int // of the model as it was
	right   int   // of them, if there are labels
	labels  bool
}

func newJudge(j *passes.Job) (*judge, error) {
	if j.Env.Calibration == nil {
		return nil, fmt.Errorf("a budget of accuracy needs calibration data, none was given")
	}
	g := &judge{labels: j.Env.Labelled}
	err := answers(j, j.Model, func(s dataset.Sample, answer int) {
		g.answers = append(g.answers, answer)
		if answer == s.Label {
			g.right++
		}
	})
	return g, err
}

// lost returns the loss of the job's model as it is now.
func (g *judge) lost(j *passes.Job) (float64, error) {
	right, same, n := 0, 0, 0
	err := answers(j, j.Model, func(s dataset.Sample, answer int) {
		if answer == s.Label {
			right++
		}
		if n < len(g.answers) && answer == g.answers[n] {
			same++
		}
		n++
	})
	if err != nil {
		return 0, err
	}
	if g.labels {
		return float64(g.right-right) / float64(n), nil
	}
	return 1 - float64(same)/float64(n), nil
}

// answers runs a model on the calibration data and calls f with the place of
// the highest score of its first output of floats.
func answers(j *passes.Job, m *graph.Model, f func(s dataset.Sample, answer int)) error {
	s, err := engine.Compile(j.Context(), m, engine.Options{Threads: j.Env.Threads})
	if err != nil {
		return err
	}
	n := 0
	for sample, err := range j.Env.Calibration(j.Context()) {
		if err != nil {
			return fmt.Errorf("calibration data: %w", err)
		}
		out, err := s.Run(j.Context(), sample.Feeds)
		if err != nil {
			return fmt.Errorf("calibration sample %d: %w", n, err)
		}
		scores := firstFloats(m, out)
		if scores == nil {
			return fmt.Errorf("the model has no output of floats to be judged by")
		}
		best := 0
		for i, x := range scores {
			if x > scores[best] {
				best = i
			}
		}
		f(sample, best)
		n++
	}
	if n == 0 {
		return fmt.Errorf("calibration data has no samples")
	}
	return nil
}

// firstFloats returns the elements of the first output that holds floats, nil
// if none does.
func firstFloats(m *graph.Model, out map[string]tensor.Value) []float32 {
	for _, v := range m.Graph.Outputs() {
		if t, ok := out[v.Name()].(*tensor.Tensor); ok && t.DType().IsFloat() && t.Len() > 0 {
			return tensor.Float32s(t)
		}
	}
	return nil
}
