package weightprune

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// repairSamples is how many samples are walked to repair biases and
// statistics.
const repairSamples = 64

// repair mends what stands beside the weights: biases by what the original
// computes, then the statistics of normalizations.
func (p *pruner) repair(original *graph.Model) error {
	if p.o.keepsOriginal() {
		if _, err := restoreChannels(p.job, original, p.scaledLayer); err != nil {
			return fmt.Errorf("repair of channels: %w", err)
		}
	}
	if p.o.repairs(repairBatchNorm) {
		if err := reestimate(p.job); err != nil {
			return fmt.Errorf("repair batchnorm: %w", err)
		}
	}
	return nil
}

// restoresMean reports whether the repairs give the results of l the mean back
// that they had, so that of its inputs only the deviations count.
func (p *pruner) restoresMean(l *layer) bool {
	if !p.o.keepsOriginal() {
		return false
	}
	for _, u := range l.uses {
		n := u.node
		if n.Is("ConvTranspose") || biasValues(n, l.matrix.Groups*l.matrix.Rows) == nil || twin(n, p.original) == nil {
			return false
		}
	}
	return true
}

// reestimate gives every BatchNormalization, from the first to the last, the
// mean and variance that its input now has on calibration data.
func reestimate(j *passes.Job) error {
	var list []*graph.Node
	for n := range j.Model.Graph.Nodes() {
		if n.Is("BatchNormalization") {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return nil
	}
	feeds, _, err := walkSamples(j, repairSamples)
	if err != nil {
		return err
	}
	w := saliency.NewWalk(j.Context(), j.Model, feeds, j.Env.Threads)
	for _, n := range list {
		if n.Int("training_mode", 0) != 0 || literalOf(n.In(3)) == nil || literalOf(n.In(4)) == nil {
			j.Skip(n, "its statistics are not constant")
			continue
		}
		if err := w.To(n); err != nil {
			return err
		}
		s := &saliency.ChannelStats{}
		for _, state := range w.States() {
			x := state[n.In(0)]
			t, ok := x.(*tensor.Tensor)
			if !ok {
				return fmt.Errorf("%v: input is no tensor", n)
			}
			if err := s.Add(t, 1); err != nil {
				return fmt.Errorf("%v: %w", n, err)
			}
		}
		if setStatistics(n, s.Means(), s.Variances()) {
			j.Changed(1)
		}
	}
	return nil
}

// setStatistics gives n, a BatchNormalization, a mean and a variance, and reports
// whether they differ from its own.
func setStatistics(n *graph.Node, mean, variance []float64) bool {
	moved := false
	for i, x := range [][]float64{mean, variance} {
		lit := literalOf(n.In(3 + i))
		t := tensor.FromFloat64s(lit.DType(), tensor.Shape{len(x)}, x)
		if old, err := contents(lit); err == nil && old.Len() == t.Len() && alike(x, tensor.Float64s(old)) {
			continue
		}
		own(n, 3+i, n.In(3+i).Name(), t)
		moved = true
	}
	return moved
}
