package weightprune

import (
	"fmt"
	"math"
	"slices"

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
		if err := p.restoreChannels(original); err != nil {
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

// restoreChannels gives each channel of every prunable node's result, from the
// first to the last, the mean that it has in the original model (repair bias;
// Nagel et al. 2019, arXiv 1906.04721, appendix D), or the mean and the
// deviation (repair scale), which pruning makes smaller from layer to layer
// (Jordan et al. 2022, arXiv 2211.08403). Values have the same names in both
// models. Each node sees inputs that are restored already.
func (p *pruner) restoreChannels(original *graph.Model) error {
	j := p.job
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
			j.Skip(n, "its channels are not restored: it has no bias")
			continue
		}
		was, err := nodeStats(want, o.Producer(), axis)
		if err != nil {
			return err
		}
		is, err := nodeStats(got, n, axis)
		if err != nil {
			return err
		}
		scale := p.rescale(n, was, is)
		if err := shiftBias(holder, slot, was.Means(), is.Means(), scale); err != nil {
			j.Skip(n, "its channels are not restored: %v", err)
			continue
		}
		p.scaleRows(n, scale)
	}
	return nil
}

// nodeStats walks to n and returns the statistics of its result's channels.
func nodeStats(w *saliency.Walk, n *graph.Node, axis int) (*saliency.ChannelStats, error) {
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
	return s, nil
}

// maxScale bounds by how much the weights of a channel are scaled, and by its
// inverse.
const maxScale = 2

// rescale returns by how much the weights of each channel have to be scaled for
// the channel to vary as it did; ones if that is not asked for, or if the weight
// has other readers, whose channels it would scale too.
func (p *pruner) rescale(n *graph.Node, was, is *saliency.ChannelStats) []float64 {
	v, w := was.Variances(), is.Variances()
	scale := slices.Repeat([]float64{1}, len(w))
	if !p.o.repairs(repairScale) || len(v) != len(w) || p.layerOf(n) == nil {
		return scale
	}
	for i := range scale {
		if v[i] > 0 && w[i] > 0 {
			scale[i] = min(max(math.Sqrt(v[i]/w[i]), 1.0/maxScale), maxScale)
		}
	}
	return scale
}

// layerOf returns the layer that n alone reads, nil if there is none.
func (p *pruner) layerOf(n *graph.Node) *layer {
	for _, l := range p.layers {
		if len(l.uses) == 1 && l.uses[0].node == n && !n.Is("ConvTranspose") && l.uses[0].slot == 1 {
			return l
		}
	}
	return nil
}

// scaleRows multiplies the weights of each channel of n's result.
func (p *pruner) scaleRows(n *graph.Node, scale []float64) {
	l := p.layerOf(n)
	if l == nil || !p.o.repairs(repairScale) {
		return
	}
	x := slices.Clone(l.current())
	for g := range l.matrix.Groups {
		for r := range l.matrix.Rows {
			for c := range l.matrix.Cols {
				x[l.matrix.At(g, r, c)] *= scale[g*l.matrix.Rows+r]
			}
		}
	}
	l.set(x)
}

// shiftBias changes the constant that is input slot of n so that the mean of
// each channel, once its weights are scaled, is what it was. The means are those
// of n's result, or, if n is the Add after a product, of the product.
func shiftBias(n *graph.Node, slot int, was, is, scale []float64) error {
	if len(was) != len(is) {
		return fmt.Errorf("the original has %d channels, not %d", len(was), len(is))
	}
	b := make([]float64, len(is))
	dtype, name := tensor.Float32, n.Out(0).Name()+"_bias"
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
		dtype, name = t.DType(), v.Name()
	} else if t := n.Out(0).Type; t != nil && t.Kind == graph.KindTensor {
		dtype = t.Elem
	}
	for i := range b {
		if n.Is("Add") {
			b[i] += was[i] - scale[i]*is[i]
		} else {
			b[i] = was[i] - scale[i]*(is[i]-b[i])
		}
	}
	own(n, slot, name, tensor.FromFloat64s(dtype, tensor.Shape{len(b)}, b))
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
