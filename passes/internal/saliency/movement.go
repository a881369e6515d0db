package saliency

import (
	"context"
	"errors"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// Moves trains some weights of m, float32 initializers of its main graph, for
// an epoch by plain gradient descent on the labels of data. It returns by how
// much each element has changed, by name; m stays as it is. Of o, Rate, Seed
// and Threads count.
func Moves(ctx context.Context, m *graph.Model, by []*graph.Value, data train.Source, o train.Options) (map[string][]float64, error) {
	output, err := firstScores(m)
	if err != nil {
		return nil, err
	}
	moved := map[string][]float64{}
	for _, v := range by {
		moved[v.Name()] = nil
	}
	t := train.Task{Model: m, Data: data, Options: train.Defaults(), Loss: []train.Term{train.Labelled("cross-entropy", output, 0)}}
	t.Options.Seed, t.Options.Threads = o.Seed, o.Threads
	t.Options.Optimizer, t.Options.Momentum, t.Options.Decay = "sgd", 0, 0
	t.Options.Schedule.Kind, t.Options.Rate = "constant", o.Rate
	t.Options.Epochs, t.Options.Batch = 1, min(8, data.Len())
	t.Options.FrozenBN = true
	t.Options.Frozen = func(name string) bool { _, ok := moved[name]; return !ok }
	r, err := train.Run(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, v := range by {
		d := tensor.Float64s(r.Model.Graph.Value(v.Name()).Init.Tensor)
		for i, w := range tensor.Float64s(v.Init.Tensor) {
			d[i] -= w
		}
		moved[v.Name()] = d
	}
	return moved, nil
}

// firstScores returns the name of the first output of floats.
func firstScores(m *graph.Model) (string, error) {
	for _, v := range m.Graph.Outputs() {
		if t := v.Type; t == nil || t.Kind == graph.KindTensor && t.Elem.IsFloat() {
			return v.Name(), nil
		}
	}
	return "", errors.New("the model has no output of floats")
}
