package nodeprune

import (
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
	repairSamples = 512
	// repairColumns is how many columns of inputs are taken of them together,
	// for each input of a layer, and fewColumns how many of a sample at least.
	repairColumns, fewColumns = 32, 32
	// walkBytes bounds what a walk over samples holds.
	walkBytes = 1 << 30
)

// mender fits the layers of a model that was cut to what the original computes,
// from the first to the last. Each layer sees inputs that are mended already.
type mender struct {
	job      *passes.Job
	was, is  *saliency.Stream
	original *graph.Model
	kept     map[string][]int
	damps    []float64 // that are tried
	samples  int
	views    int // of each sample in a row
	kernels  *kernel.Table
}

// Mending is how what is left of a model is fitted to the original.
type Mending struct {
	Repair string `opt:"repair" oneof:"lstsq|bias|none" help:"how the rest is fitted to what the original computes"`
	Views  int    `opt:"views" help:"how often the repair looks at each image, as it is and then mirrored and cut out at random"`
}

var mending = Mending{Repair: "none", Views: 1}

// Validate reports an option out of range.
func (m Mending) Validate() error {
	if m.Views < 1 {
		return fmt.Errorf("option \"views\": got %d, want at least 1", m.Views)
	}
	return nil
}

// repair mends the job's model.
func repair(j *passes.Job, original *graph.Model, kept map[string][]int, how Mending) error {
	s, err := takeSamples(j, repairSamples, 0)
	if err != nil {
		return err
	}
	s.vary(j, how.Views)
	kernels, err := targets.Host().Kernels()
	if err != nil {
		return err
	}
	m := &mender{job: j, kernels: kernels, original: original, kept: kept, samples: len(s.feeds), views: how.Views, damps: keepWeights}
	if how.Repair == "lstsq" {
		m.damps = fitDamps
	}
	if m.was, err = saliency.NewStream(j.Context(), original, s.feeds, j.Env.Threads, walkBytes/2); err != nil {
		return err
	}
	if m.is, err = saliency.NewStream(j.Context(), j.Model, s.feeds, j.Env.Threads, walkBytes/2); err != nil {
		return err
	}
	done, total := 0, j.Model.Graph.NumNodes()
	for n := range j.Model.Graph.Nodes() {
		if err := m.mend(n); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
		done++
		j.Progress(done, total)
	}
	return nil
}

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
	bias, _ := biasSlot(n)
	if n.Is("ConvTranspose") || weight.DType() != tensor.Float32 || bias == nil || n.Is("MatMul") && weight.Rank() != 2 {
		p.job.Skip(n, "it is not mended: it has no float weight of its own with a bias, or is transposed")
		return nil
	}
	if bias.values(len(p.left)) == nil {
		p.job.Skip(n, "it is not mended: its bias is no constant vector")
		return nil
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
	w, b := f.solve(tensor.Float64s(weight), p.damps)
	setOperand(n, p.layer.slot, tensor.FromFloat64s(weight.DType(), weight.Shape(), w))
	bias.set(b)
	return nil
}

// skip is what is added to the result of a layer: a shortcut around it. Where
// it has lost something already, the layer makes up for that too. (He et al.
// 2017, section 3.3.)
type skip struct{ was, is *graph.Value }

// findSkip returns the shortcut around the layer, if it is computed before.
func (p *pair) findSkip(bias *holder) *skip {
	old, _ := biasSlot(p.old)
	if old == nil {
		return nil
	}
	s := &skip{was: addedTo(p.old, old), is: addedTo(p.layer.node, bias)}
	if s.was == nil || s.is == nil || !p.was.Precedes(s.was, p.old) || !p.is.Precedes(s.is, p.layer.node) {
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
