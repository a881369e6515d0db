package nodeprune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/targets"
)

const (
	// repairSamples is how many calibration samples layers are fitted on.
	repairSamples = 256
	// repairColumns is how many columns of inputs are taken of them together,
	// for each input of a layer, and fewColumns how many of a sample at least.
	repairColumns, fewColumns = 32, 32
	// walkBytes bounds what a walk over the samples holds.
	walkBytes = 1 << 30
)

// mender fits the layers of a model that was cut to what the original computes,
// from the first to the last. Each layer sees inputs that are mended already.
type mender struct {
	job       *passes.Job
	was, is   *saliency.Walk
	original  *graph.Model
	kept      map[string][]int
	fit       bool // weights, not biases alone
	differs   map[*graph.Value]bool
	samples   int
	processed int
	kernels   *kernel.Table
}

func repair(j *passes.Job, original *graph.Model, kept map[string][]int, fit bool) error {
	feeds, _, err := samples(j, original, repairSamples)
	if err != nil {
		return err
	}
	kernels, err := targets.Host().Kernels()
	if err != nil {
		return err
	}
	m := &mender{
		job: j, kernels: kernels, original: original, kept: kept, fit: fit, samples: len(feeds),
		was: saliency.NewWalk(j.Context(), original, feeds, j.Env.Threads),
		is:  saliency.NewWalk(j.Context(), j.Model, feeds, j.Env.Threads),
	}
	total := j.Model.Graph.NumNodes()
	for n := range j.Model.Graph.Nodes() {
		if err := m.mend(n); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
		m.processed++
		j.Progress(m.processed, total)
	}
	return nil
}

// samples returns calibration samples and their labels, spread evenly, as many
// as can be walked at once and at most the given number.
func samples(j *passes.Job, original *graph.Model, most int) (feeds []map[string]tensor.Value, labels []int, err error) {
	limit, every := most, spacing(j, most)
	n := 0
	for s, err := range j.Env.Calibration(j.Context()) {
		if err != nil {
			return nil, nil, fmt.Errorf("calibration data: %w", err)
		}
		if n == 0 {
			peak, err := saliency.Peak(j.Context(), original, s.Feeds, j.Env.Threads)
			if err != nil {
				return nil, nil, err
			}
			limit = max(1, min(limit, int(walkBytes/max(peak, 1))))
		}
		if n%every == 0 {
			feeds, labels = append(feeds, s.Feeds), append(labels, s.Label)
		}
		if n++; len(feeds) == limit {
			break
		}
	}
	if len(feeds) == 0 {
		return nil, nil, errors.New("calibration data has no samples")
	}
	return feeds, labels, nil
}

// spacing is how far the samples are apart of which so many are taken.
func spacing(j *passes.Job, most int) int { return max(1, j.Env.Samples/most) }

// mend fits one layer.
func (m *mender) mend(n *graph.Node) error {
	l, ok := layerOf(n)
	if !ok || n.Out(0) == nil {
		return nil
	}
	left, known := m.kept[n.Out(0).Name()]
	old := m.original.Graph.Value(n.Out(0).Name())
	if !known || old == nil || old.Producer() == nil || constant(n.In(l.slot)) == nil {
		return nil
	}
	if err := m.was.To(old.Producer()); err != nil {
		return err
	}
	if err := m.is.To(n); err != nil {
		return err
	}
	p := &pair{mender: m, layer: l, old: old.Producer(), left: left}
	return p.mend()
}

// pair is a layer and what it was in the original.
type pair struct {
	*mender
	layer layer
	old   *graph.Node
	left  []int // of the original's outputs

	x, y *saliency.Inputs // of the original, and of what is left
	skip *skip            // what is added to the result, nil if nothing is
}

func (p *pair) mend() error {
	n := p.layer.node
	weight := constant(n.In(p.layer.slot))
	bias, axis := biasSlot(n)
	if n.Is("ConvTranspose") || weight.DType() != tensor.Float32 || bias == nil || axis < 0 && len(dimsOf(n.In(p.layer.slot))) != 2 {
		p.job.Skip(n, "it is not mended: it has no float weight of its own with a bias, or is transposed")
		return nil
	}
	b1 := bias.values(len(p.left))
	if b1 == nil {
		p.job.Skip(n, "it is not mended: its bias is no constant vector")
		return nil
	}
	if !p.fit {
		return p.matchMeans(bias, b1, axis)
	}
	oldWeight := constant(p.old.In(p.layer.slot))
	var err error
	if p.y, err = saliency.InputsOf(n, p.layer.slot, weight.Shape(), 0); err != nil {
		p.job.Skip(n, "it is not mended: %v", err)
		return nil
	}
	limit := max(fewColumns, repairColumns*p.y.Matrix.Cols/max(1, p.samples))
	if p.y, err = saliency.InputsOf(n, p.layer.slot, weight.Shape(), limit); err != nil {
		return err
	}
	if p.x, err = saliency.InputsOf(p.old, p.layer.slot, oldWeight.Shape(), limit); err != nil {
		return err
	}
	p.skip = p.findSkip(bias)
	f, err := p.gather()
	if err != nil {
		return err
	}
	w, b := f.solve(tensor.Float64s(weight))
	setOperand(n, p.layer.slot, tensor.FromFloat64s(weight.DType(), weight.Shape(), w))
	bias.set(b)
	return nil
}

// skip is what is added to the result of a layer: a shortcut around it. Where
// it has lost something already, the layer makes up for that too. (He et al.
// 2017, section 3.3.)
type skip struct{ was, is *graph.Value }

// findSkip returns the shortcut around the layer, if the walks hold it.
func (p *pair) findSkip(bias *holder) *skip {
	old, _ := biasSlot(p.old)
	if old == nil {
		return nil
	}
	s := &skip{was: addedTo(p.old, old), is: addedTo(p.layer.node, bias)}
	if s.was == nil || s.is == nil || p.was.States()[0][s.was] == nil || p.is.States()[0][s.is] == nil {
		return nil
	}
	return s
}

// addedTo returns what an Add that is the only reader of a layer adds to its
// result, nil if there is none of the same shape.
func addedTo(n *graph.Node, bias *holder) *graph.Value {
	v := n.Out(0)
	if bias.node != n {
		v = bias.node.Out(0)
	}
	u, ok := v.SoleUse()
	if !ok || !u.Node.Is("Add") {
		return nil
	}
	x := u.Node.In(1 - u.Index)
	if x.IsConst() || !dimsOf(x).Same(dimsOf(v)) {
		return nil
	}
	return x
}

// holder is where a constant is added to every output channel of a layer.
type holder struct {
	node *graph.Node
	slot int
}

// biasSlot returns where n has its bias, and the axis of channels in its
// result; nil if there is no place for one.
func biasSlot(n *graph.Node) (*holder, int) {
	switch {
	case n.Is("Conv", "ConvTranspose"):
		return &holder{n, 2}, 1
	case n.Is("Gemm") && n.Float("beta", 1) == 1 && n.Float("alpha", 1) == 1:
		return &holder{n, 2}, 1
	case n.Is("MatMul"):
		if u, ok := n.Out(0).SoleUse(); ok && u.Node.Is("Add") && u.Node.Graph() == n.Graph() {
			if v := u.Node.In(1 - u.Index); constant(v) != nil && len(dimsOf(v)) == 1 {
				return &holder{u.Node, 1 - u.Index}, -1
			}
		}
	}
	return nil, 0
}

// values returns the bias, zeros where there is none, or nil if it is not a
// constant of n numbers.
func (h *holder) values(n int) []float64 {
	v := h.node.In(h.slot)
	if v == nil {
		return make([]float64, n)
	}
	t := constant(v)
	if t == nil || t.Rank() != 1 || t.Len() != n {
		return nil
	}
	return slices.Clone(tensor.Float64s(t))
}

// set gives n a bias of its own.
func (h *holder) set(b []float64) {
	setOperand(h.node, h.slot, tensor.FromFloat64s(tensor.Float32, tensor.Shape{len(b)}, b))
}

// setOperand gives n an operand with new contents, which other readers of the
// old one do not see.
func setOperand(n *graph.Node, slot int, t *tensor.Tensor) {
	v := n.In(slot)
	if v != nil && v.IsConst() && v.Graph() == n.Graph() {
		if _, sole := v.SoleUse(); sole {
			setConstant(v, t)
			return
		}
	}
	name := n.Out(0).Name() + "_mended"
	n.SetIn(slot, n.Graph().AddInit(name, t))
}

// matchMeans shifts bias b so that every output channel has the mean that it
// has in the original.
func (p *pair) matchMeans(bias *holder, b []float64, axis int) error {
	is, err := channelStats(p.is, p.layer.node, axis)
	if err != nil {
		return err
	}
	was, err := channelStats(p.was, p.old, axis)
	if err != nil {
		return err
	}
	mean, meanWas := is.Means(), was.Means()
	for i, r := range p.left {
		b[i] += meanWas[r] - mean[i]
	}
	bias.set(b)
	return nil
}

// channelStats runs n, which the walk has reached, on every sample.
func channelStats(w *saliency.Walk, n *graph.Node, axis int) (*saliency.ChannelStats, error) {
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
