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

// valuesPerSample is how many elements of each channel of a sample are looked
// at to restore it.
const valuesPerSample = 256

// restorer gives the channels of products, from the first to the last, the mean
// that they have in the original model, behind the activation that follows (Nagel
// et al. 2019, arXiv 1906.04721, appendix D). In front of a Relu it would be
// misleading: pruning makes results vary less, so that with the mean that they
// had, far below zero, hardly any would still come through. If asked for, the
// deviation is restored first, by a factor on the weights of the channel (Jordan
// et al. 2022, arXiv 2211.08403). The nodes that read a value have the same names
// in both models (see [twin]). Each node sees inputs that are restored already.
type restorer struct {
	job      *passes.Job
	original *graph.Model
	was, is  *saliency.Walk
	// layerOf returns the layer whose rows may be scaled, nil for none.
	layerOf func(n *graph.Node) *layer
}

// restoreChannels restores the biases of all products of the job's model, and
// the deviations of those that layerOf knows.
func restoreChannels(j *passes.Job, original *graph.Model, layerOf func(n *graph.Node) *layer) (changed int, err error) {
	feeds, _, err := walkSamples(j, repairSamples)
	if err != nil {
		return 0, err
	}
	r := &restorer{
		job: j, original: original, layerOf: layerOf,
		was: saliency.NewWalk(j.Context(), original, feeds, j.Env.Threads),
		is:  saliency.NewWalk(j.Context(), j.Model, feeds, j.Env.Threads),
	}
	for n := range j.Model.Graph.Nodes() {
		if _, ok := weightSlot(n); !ok {
			continue
		}
		moved, why, err := r.restore(n)
		switch {
		case err != nil:
			return changed, err
		case why != "":
			j.Skip(n, "its channels are not restored: %s", why)
		case moved:
			changed++
		}
	}
	return changed, nil
}

// restore restores the channels of n, and reports whether that moves them, or says
// why not.
func (r *restorer) restore(n *graph.Node) (moved bool, why string, err error) {
	holder, _, axis := biasOf(n)
	o := twin(n, r.original)
	switch {
	case holder == nil:
		return false, "it has no bias", nil
	case o == nil:
		return false, noTwin, nil
	}
	was, err := channelsOf(r.was, o.Producer(), axis)
	if err != nil {
		return false, "", err
	}
	is, err := channelsOf(r.is, n, axis)
	if err != nil {
		return false, "", err
	}
	if len(was.values) != len(is.values) {
		return false, fmt.Sprintf("the original has %d channels, not %d", len(was.values), len(is.values)), nil
	}
	b := biasValues(n, len(is.values))
	before := b // in the values already, where n itself adds it
	if holder != n {
		before = biasValues(o.Producer(), len(was.values))
	}
	if before == nil || b == nil {
		return false, "its bias is not one constant number for each channel", nil
	}
	scale := r.scales(n, was, is)
	c := clamp{saliency.ClampOf(n)}
	first := slices.Clone(b)
	for i := range b {
		want, got := was.values[i], is.values[i]
		if holder != n { // the bias is not in the values
			addConstant(want, before[i])
		} else {
			addConstant(got, -b[i])
		}
		for k := range got {
			got[k] *= float32(scale[i])
		}
		b[i] = c.balance(want, got, b[i])
	}
	if alike(b, first) && alike(scale, slices.Repeat([]float64{1}, len(scale))) {
		return false, "", nil
	}
	setBias(n, b)
	r.scaleRows(n, scale)
	return true, "", nil
}

func addConstant(x []float32, c float64) {
	for i := range x {
		x[i] += float32(c)
	}
}

// channels is what is seen of the channels of a node's result.
type channels struct {
	saliency.ChannelStats
	values [][]float32 // by channel, at the same places in each
}

// channelsOf walks to n and looks at its result.
func channelsOf(w *saliency.Walk, n *graph.Node, axis int) (*channels, error) {
	if err := w.To(n); err != nil {
		return nil, err
	}
	run, err := w.Node(n)
	if err != nil {
		return nil, err
	}
	c := &channels{}
	for _, state := range w.States() {
		out, err := run(state)
		if err != nil {
			return nil, err
		}
		t, ok := out[n.Out(0)].(*tensor.Tensor)
		if !ok {
			return nil, fmt.Errorf("%v: result is no tensor", n)
		}
		if err := c.add(t, axis); err != nil {
			return nil, fmt.Errorf("%v: %w", n, err)
		}
	}
	return c, nil
}

func (c *channels) add(t *tensor.Tensor, axis int) error {
	if err := c.Add(t, axis); err != nil {
		return err
	}
	shape := t.Shape()
	if axis < 0 {
		axis += len(shape)
	}
	count, inner := shape[axis], shape[axis+1:].Len()
	if c.values == nil {
		c.values = make([][]float32, count)
	}
	x := tensor.Float32s(t)
	each := len(x) / max(1, count)
	step := max(1, each/valuesPerSample)
	for k := range c.values {
		for p := 0; p < each; p += step {
			c.values[k] = append(c.values[k], x[(p/inner*count+k)*inner+p%inner])
		}
	}
	return nil
}

// balance returns the bias b that gives x+b the mean of want, both behind the
// activation; old if that does so already, or if no bias does.
func (c clamp) balance(want, x []float32, old float64) float64 {
	goal := c.mean(want, 0)
	if len(x) == 0 || c.mean(x, old) == goal {
		return old
	}
	unbound := clamp{saliency.NoClamp}
	middle := unbound.mean(want, 0) - unbound.mean(x, 0)
	if c.IsNone() {
		return middle
	}
	reach := float64(max(slices.Max(want), slices.Max(x)) - min(slices.Min(want), slices.Min(x)))
	lo, hi := min(middle, old)-2*reach, max(middle, old)+2*reach
	if goal <= c.mean(x, lo) || goal >= c.mean(x, hi) {
		return old
	}
	for range 40 {
		if middle = (lo + hi) / 2; c.mean(x, middle) < goal {
			lo = middle
		} else {
			hi = middle
		}
	}
	return middle
}

// mean is that of x+b behind the activation.
func (c clamp) mean(x []float32, b float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(c.Of(v + float32(b)))
	}
	return sum / float64(len(x))
}

// maxScale bounds by how much the weights of a channel are scaled, and by its
// inverse.
const maxScale = 2

// scales returns by how much the weights of each channel have to be scaled for
// the channel to vary as it did; ones if the weight is not to be scaled.
func (r *restorer) scales(n *graph.Node, was, is *channels) []float64 {
	v, w := was.Variances(), is.Variances()
	scale := slices.Repeat([]float64{1}, len(w))
	if r.layerOf(n) == nil {
		return scale
	}
	for i := range scale {
		if v[i] > 0 && w[i] > 0 {
			scale[i] = min(max(math.Sqrt(v[i]/w[i]), 1.0/maxScale), maxScale)
		}
	}
	return scale
}

// scaleRows multiplies the weights of each channel of n's result.
func (r *restorer) scaleRows(n *graph.Node, scale []float64) {
	l := r.layerOf(n)
	if l == nil {
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

// scaledLayer returns the layer that n alone reads, if repair scale is asked
// for, nil if there is none.
func (p *pruner) scaledLayer(n *graph.Node) *layer {
	if !p.o.repairs(repairScale) {
		return nil
	}
	for _, l := range p.layers {
		if len(l.uses) == 1 && l.uses[0].node == n && !n.Is("ConvTranspose") && l.uses[0].slot == 1 {
			return l
		}
	}
	return nil
}
