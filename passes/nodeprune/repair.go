package nodeprune

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

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
	// for each input of a layer.
	repairColumns = 24
	// repairDamp is the share of the mean diagonal of the normal equations
	// that holds weights near what they were.
	repairDamp = 1e-2
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
	limit, every := most, max(1, j.Env.Samples/most)
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

	x, y  *saliency.Inputs // of the original, and of what is left
	skip  *skip            // what is added to the result, nil if nothing is
	gram  *mat.Dense       // of y with itself; the last row and column are of ones
	cross *mat.Dense       // of x with y
	owed  *mat.Dense       // of what the skip lacks with y
}

func (p *pair) mend() error {
	n := p.layer.node
	weight := constant(n.In(p.layer.slot))
	bias, axis := biasSlot(n)
	if n.Is("ConvTranspose") && n.Int("group", 1) != 1 || weight.DType() != tensor.Float32 || bias == nil || axis < 0 && len(dimsOf(n.In(p.layer.slot))) != 2 {
		p.job.Skip(n, "it is not mended: it has no float weight of its own with a bias")
		return nil
	}
	oldWeight := constant(p.old.In(p.layer.slot))
	var err error
	if p.y, err = saliency.InputsOf(n, p.layer.slot, weight.Shape(), 0); err != nil {
		p.job.Skip(n, "it is not mended: %v", err)
		return nil
	}
	limit := max(1, repairColumns*p.y.Matrix.Cols/max(1, p.samples))
	if p.y, err = saliency.InputsOf(n, p.layer.slot, weight.Shape(), limit); err != nil {
		return err
	}
	if p.x, err = saliency.InputsOf(p.old, p.layer.slot, oldWeight.Shape(), limit); err != nil {
		return err
	}
	if p.y.Matrix.Groups > 1 || !p.fit {
		return p.matchMeans(bias, axis)
	}
	p.skip = p.findSkip(bias)
	if err := p.gather(); err != nil {
		return err
	}
	return p.solve(bias)
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

// rows are n rows of cols numbers.
type rows struct {
	n, cols int
	data    []float32
}

// addProduct adds a * b^T to sum.
func (m *mender) addProduct(sum *mat.Dense, a, b rows) {
	saliency.AddProduct(sum.RawMatrix().Data, a.data, b.data, a.n, b.n, a.cols, m.kernels, m.job.Env.Threads)
}

// columns returns the inputs of a sample before and after the cut, each with a
// last row of ones.
func (p *pair) columns(i int) (x, y rows, err error) {
	read := func(in *saliency.Inputs, s saliency.State) (rows, error) {
		t, ok := s[in.Value].(*tensor.Tensor)
		if !ok {
			return rows{}, fmt.Errorf("%q is no tensor", in.Value.Name())
		}
		c, err := in.Read(t, i)
		if err != nil {
			return rows{}, err
		}
		k := in.Matrix.Cols
		return rows{k + 1, c.N, slices.Concat(c.Groups[0][:k*c.N], slices.Repeat([]float32{1}, c.N))}, nil
	}
	if x, err = read(p.x, p.was.States()[i]); err != nil {
		return x, y, err
	}
	y, err = read(p.y, p.is.States()[i])
	return x, y, err
}

// gather sums up the products of inputs over all samples.
func (p *pair) gather() error {
	k, k0 := p.y.Matrix.Cols+1, p.x.Matrix.Cols+1
	p.gram, p.cross, p.owed = mat.NewDense(k, k, nil), mat.NewDense(k0, k, nil), mat.NewDense(len(p.left), k, nil)
	for i := range p.samples {
		if err := p.job.Context().Err(); err != nil {
			return err
		}
		x, y, err := p.columns(i)
		if err != nil {
			return err
		}
		if x.cols != y.cols {
			return fmt.Errorf("%v: %d columns of inputs, the original has %d", p.layer.node, y.cols, x.cols)
		}
		p.addProduct(p.gram, y, y)
		p.addProduct(p.cross, x, y)
		if p.skip == nil {
			continue
		}
		lack, err := p.lack(i)
		if err != nil {
			return err
		}
		p.addProduct(p.owed, lack, y)
	}
	return nil
}

// lack returns what the shortcut of a sample is short of, at the positions of
// its columns.
func (p *pair) lack(i int) (rows, error) {
	read := func(in *saliency.Inputs, s saliency.State, v *graph.Value, channels []int) ([]float32, error) {
		t, ok := s[v].(*tensor.Tensor)
		if !ok {
			return nil, fmt.Errorf("%q is no tensor", v.Name())
		}
		return in.Results(t, i, channels)
	}
	was, err := read(p.x, p.was.States()[i], p.skip.was, p.left)
	if err != nil {
		return rows{}, err
	}
	all := make([]int, len(p.left))
	for r := range all {
		all[r] = r
	}
	is, err := read(p.y, p.is.States()[i], p.skip.is, all)
	if err != nil {
		return rows{}, err
	}
	if len(was) != len(is) {
		return rows{}, fmt.Errorf("%v: its shortcut has %d numbers, the original's %d", p.layer.node, len(is), len(was))
	}
	for k, x := range is {
		was[k] -= x
	}
	return rows{len(p.left), len(was) / max(len(p.left), 1), was}, nil
}

// solve sets the weights W and bias that make the least of
//
//	sum over columns |W y - W0 x - lack|^2 + damp |W - W1|^2,
//
// where W0 are the original's rows that are left, x its inputs, y those that
// are left of them, lack what a shortcut has lost, and W1 the weights as they
// were cut.
func (p *pair) solve(bias *holder) error {
	n := p.layer.node
	m, m0 := p.y.Matrix, p.x.Matrix
	k := m.Cols + 1
	w1, b1 := tensor.Float64s(constant(n.In(p.layer.slot))), bias.values(m.Rows)
	w0 := tensor.Float64s(constant(p.old.In(p.layer.slot)))
	oldBias, _ := biasSlot(p.old)
	b0 := oldBias.values(m0.Rows)
	if b0 == nil || b1 == nil {
		p.job.Skip(n, "it is not mended: its bias is no constant vector")
		return nil
	}
	trace := 0.0
	for i := range k - 1 {
		trace += p.gram.At(i, i)
	}
	damp := repairDamp * trace / float64(k-1)
	a := mat.NewSymDense(k, nil)
	for i := range k {
		for j := i; j < k; j++ {
			a.SetSym(i, j, p.gram.At(i, j))
		}
		a.SetSym(i, i, a.At(i, i)+damp+1e-12)
	}
	var chol mat.Cholesky
	if !chol.Factorize(a) {
		p.job.Skip(n, "it is not mended: its inputs depend on each other")
		return nil
	}
	left := mat.NewDense(len(p.left), m0.Cols+1, nil)
	for i, r := range p.left {
		for c := range m0.Cols {
			left.Set(i, c, w0[m0.At(0, r, c)])
		}
		left.Set(i, m0.Cols, b0[r])
	}
	var rhs mat.Dense
	rhs.Mul(left, p.cross)
	rhs.Add(&rhs, p.owed)
	for i := range m.Rows {
		for c := range m.Cols {
			rhs.Set(i, c, rhs.At(i, c)+damp*w1[m.At(0, i, c)])
		}
		rhs.Set(i, m.Cols, rhs.At(i, m.Cols)+damp*b1[i])
	}
	var solved mat.Dense
	if err := chol.SolveTo(&solved, rhs.T()); err != nil {
		p.job.Skip(n, "it is not mended: %v", err)
		return nil
	}
	p.store(&solved, bias)
	return nil
}

// store writes weights [Cols+1, Rows] back.
func (p *pair) store(solved *mat.Dense, bias *holder) {
	n, m := p.layer.node, p.y.Matrix
	t := constant(n.In(p.layer.slot))
	w := slices.Clone(tensor.Float64s(t))
	b := make([]float64, m.Rows)
	for i := range m.Rows {
		for c := range m.Cols {
			w[m.At(0, i, c)] = solved.At(c, i)
		}
		b[i] = solved.At(m.Cols, i)
	}
	setOperand(n, p.layer.slot, tensor.FromFloat64s(t.DType(), t.Shape(), w))
	bias.set(b)
}

// matchMeans shifts the bias so that every output channel has the mean that it
// has in the original, and, where weights are fitted, scales the weights so
// that it has the same variance.
func (p *pair) matchMeans(bias *holder, axis int) error {
	n := p.layer.node
	is, err := channelStats(p.is, n, axis)
	if err != nil {
		return err
	}
	was, err := channelStats(p.was, p.old, axis)
	if err != nil {
		return err
	}
	mean, meanWas := is.Means(), was.Means()
	variance, varianceWas := is.Variances(), was.Variances()
	b := bias.values(len(mean))
	if b == nil {
		p.job.Skip(n, "it is not mended: its bias is no constant vector")
		return nil
	}
	scale := make([]float64, len(mean))
	for i, r := range p.left {
		scale[i] = 1
		if p.fit && variance[i] > 1e-12 && varianceWas[r] > 1e-12 {
			scale[i] = min(2, max(0.5, math.Sqrt(varianceWas[r]/variance[i])))
		}
		b[i] = meanWas[r] - scale[i]*(mean[i]-b[i])
	}
	if p.fit {
		t := constant(n.In(p.layer.slot))
		w := slices.Clone(tensor.Float64s(t))
		s := t.Shape()
		inner := s[p.layer.outputs+1:].Len()
		for i := range w {
			w[i] *= scale[i/inner%s[p.layer.outputs]]
		}
		setOperand(n, p.layer.slot, tensor.FromFloat64s(t.DType(), s, w))
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
