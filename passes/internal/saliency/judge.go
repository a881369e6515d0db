package saliency

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Judge says how much of its accuracy a model has lost on samples: the share
// of right answers, or, where there are no labels, of those that are still what
// they were.
type Judge struct {
	data    func(context.Context) iter.Seq2[dataset.Sample, error]
	labels  bool
	threads int
	answers []int // of the model as it was
	right   int   // of them, if there are labels
}

// NewJudge asks m for its answers. labels says that the samples have classes.
func NewJudge(ctx context.Context, m *graph.Model, data func(context.Context) iter.Seq2[dataset.Sample, error], labels bool, threads int) (*Judge, error) {
	if data == nil {
		return nil, errors.New("a budget of accuracy needs calibration data, none was given")
	}
	g := &Judge{data: data, labels: labels, threads: threads}
	err := g.ask(ctx, m, func(s dataset.Sample, answer int) {
		g.answers = append(g.answers, answer)
		if answer == s.Label {
			g.right++
		}
	})
	return g, err
}

// Lost returns the share of answers that m has lost.
func (g *Judge) Lost(ctx context.Context, m *graph.Model) (float64, error) {
	right, same, n := 0, 0, 0
	err := g.ask(ctx, m, func(s dataset.Sample, answer int) {
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

// ask runs m on the samples and calls f with the place of the highest score of
// its first output of floats.
func (g *Judge) ask(ctx context.Context, m *graph.Model, f func(s dataset.Sample, answer int)) error {
	s, err := engine.Compile(ctx, m, engine.Options{Threads: g.threads})
	if err != nil {
		return err
	}
	n := 0
	for sample, err := range g.data(ctx) {
		if err != nil {
			return fmt.Errorf("calibration data: %w", err)
		}
		out, err := s.Run(ctx, sample.Feeds)
		if err != nil {
			return fmt.Errorf("calibration sample %d: %w", n, err)
		}
		scores := firstFloats(m, out)
		if scores == nil {
			return errors.New("the model has no output of floats to be judged by")
		}
		f(sample, argmax(scores))
		n++
	}
	if n == 0 {
		return errors.New("calibration data has no samples")
	}
	return nil
}

// firstFloats returns the elements of the first output that holds floats, nil
// if none does.
func firstFloats(m *graph.Model, out map[string]tensor.Value) []float64 {
	for _, v := range m.Graph.Outputs() {
		if t, ok := out[v.Name()].(*tensor.Tensor); ok && t.DType().IsFloat() && t.Len() > 0 {
			return tensor.Float64s(t)
		}
	}
	return nil
}
