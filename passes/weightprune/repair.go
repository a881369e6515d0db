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
	if p.o.repairs(repairBias) {
		if err := correctBias(p.job, original); err != nil {
			return fmt.Errorf("repair bias: %w", err)
		}
	}
	if p.o.repairs(repairBatchNorm) {
		if err := reestimate(p.job); err != nil {
			return fmt.Errorf("repair batchnorm: %w", err)
		}
	}
	return nil
}

// biasOf returns the constant that is added to each channel of n's result, as
// an input slot of a node, and the channels' axis; nil if there is no place for
// one. A missing bias of a Conv or Gemm is added, as zeros.
func biasOf(n *graph.Node) (holder *graph.Node, slot, axis int) {
	switch {
	case n.Is("Conv", "ConvTranspose"):
		return n, 2, 1
	case n.Is("Gemm") && n.Float("beta", 1) == 1:
		return n, 2, -1
	case n.Is("MatMul"):
		if u, ok := n.Out(0).SoleUse(); ok && u.Node.Is("Add") && u.Node.Graph() == n.Graph() {
			return u.Node, 1 - u.Index, -1
		}
	}
	return nil, 0, 0
}

// correctBias adds to the bias of every prunable node, from the first to the
// last, what its result now lacks in each channel's mean against the original
// model, whose nodes have the same names of results. Each node sees inputs
// that are corrected already. (Nagel et al. 2019, arXiv 1906.04721, appendix D.)
func correctBias(j *passes.Job, original *graph.Model) error {
	feeds, _, err := walkSamples(j, repairSamples)
	if err != nil {
		return err
	}
	want := saliency.NewWalk(j.Context(), original, feeds, j.Env.Threads)
	got := saliency.NewWalk(j.Context(), j.Model, feeds, j.Env.Threads)
	for n := range j.Model.Graph.Nodes() {
		if _, ok := weightSlot(n); !ok {
			continue
		}
		holder, slot, axis := biasOf(n)
		o := original.Graph.Value(n.Out(0).Name())
		if holder == nil || o == nil || o.Producer() == nil {
			j.Skip(n, "its bias is not corrected: there is none")
			continue
		}
		was, err := nodeMeans(want, o.Producer(), axis)
		if err != nil {
			return err
		}
		is, err := nodeMeans(got, n, axis)
		if err != nil {
			return err
		}
		if err := addBias(holder, slot, was, is); err != nil {
			j.Skip(n, "its bias is not corrected: %v", err)
		}
	}
	return nil
}

// nodeMeans walks to n and returns the mean of each channel of its result.
func nodeMeans(w *saliency.Walk, n *graph.Node, axis int) ([]float64, error) {
	if err := w.To(n); err != nil {
		return nil, err
	}
	run, err := w.Node(n)
	if err != nil {
		return nil, err
	}
	s := &saliency.ChannelStats{}
	for _, state := range w.States() {
		out, err := run(state)
		if err != nil {
			return nil, err
		}
		t, ok := out[n.Out(0)].(*tensor.Tensor)
		if !ok {
			return nil, fmt.Errorf("%v: result is no tensor", n)
		}
		if err := s.Add(t, axis); err != nil {
			return nil, fmt.Errorf("%v: %w", n, err)
		}
	}
	return s.Means(), nil
}

// addBias adds was-is to the constant that is input slot of n.
func addBias(n *graph.Node, slot int, was, is []float64) error {
	if len(was) != len(is) {
		return fmt.Errorf("the original has %d channels, not %d", len(was), len(is))
	}
	b := make([]float64, len(is))
	dtype, shape := tensor.Float32, tensor.Shape{len(is)}
	v := n.In(slot)
	if v != nil {
		lit := literalOf(v)
		if lit == nil {
			return fmt.Errorf("%v is not constant", v)
		}
		t, err := contents(lit)
		if err != nil {
			return err
		}
		if t.Rank() != 1 || t.Len() != len(is) {
			return fmt.Errorf("%v has shape %v, want one number for each of %d channels", v, t.Shape(), len(is))
		}
		copy(b, tensor.Float64s(t))
		dtype = t.DType()
	} else if t := n.Out(0).Type; t != nil && t.Kind == graph.KindTensor {
		dtype = t.Elem
	}
	for i := range b {
		b[i] += was[i] - is[i]
	}
	name := n.Out(0).Name() + "_bias"
	if v != nil {
		name = v.Name()
	}
	own(n, slot, name, tensor.FromFloat64s(dtype, shape, b))
	return nil
}

// own gives n an input with new contents. An initializer that only n reads
// takes them; any other is left to its other readers.
func own(n *graph.Node, slot int, name string, t *tensor.Tensor) {
	g := n.Graph()
	if v := n.In(slot); v != nil && v.IsConst() && v.Graph() == g {
		if _, sole := v.SoleUse(); sole {
			g.SetInit(v, &graph.Literal{Tensor: t})
			return
		}
	}
	n.SetIn(slot, g.AddInit(name, t))
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
		dtype := literalOf(n.In(3)).DType()
		for i, x := range [][]float64{s.Means(), s.Variances()} {
			own(n, 3+i, n.In(3+i).Name(), tensor.FromFloat64s(dtype, tensor.Shape{len(x)}, x))
		}
		j.Changed(1)
	}
	return nil
}
