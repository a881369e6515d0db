package nodeprune

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

const (
	// repairSamples is how many calibration samples layers are fitted on.
	repairSamples = 128
	// repairColumns is how many columns of inputs are taken of them together,
	// for each input of a layer.
	repairColumns = 6
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
}

func repair(j *passes.Job, original *graph.Model, kept map[string][]int, fit bool) error {
	feeds, err := samples(j, original)
	if err != nil {
		return err
	}
	m := &mender{
		job: j, original: original, kept: kept, fit: fit, samples: len(feeds),
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

// samples returns calibration samples, spread evenly, as many as can be walked
// at once.
func samples(j *passes.Job, original *graph.Model) ([]map[string]tensor.Value, error) {
	limit, every := repairSamples, max(1, j.Env.Samples/repairSamples)
	var feeds []map[string]tensor.Value
	n := 0
	for s, err := range j.Env.Calibration(j.Context()) {
		if err != nil {
			return nil, fmt.Errorf("calibration data: %w", err)
		}
		if n == 0 {
			peak, err := saliency.Peak(j.Context(), original, s.Feeds, j.Env.Threads)
			if err != nil {
				return nil, err
			}
			limit = max(1, min(limit, int(walkBytes/max(peak, 1))))
		}
		if n%every == 0 {
			feeds = append(feeds, s.Feeds)
		}
		if n++; len(feeds) == limit {
			break
		}
	}
	if len(feeds) == 0 {
		return nil, fmt.Errorf("calibration data has no samples")
	}
	return feeds, nil
}

// mend fits one layer.
func (m *mender) mend(n *graph.Node) error {
	l, ok := layerOf(n)
	if !ok || n.Out(0) == nil {
		return nil
	}
	rows, known := m.kept[n.Out(0).Name()]
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
	p := &pair{mender: m, layer: l, old: old.Producer(), rows: rows}
	return p.mend()
}

// pair is a layer and what it was in the original.
type pair struct {
	*mender
	layer layer
	old   *graph.Node
	rows  []int // of the original's outputs that are left

	x, y     *saliency.Inputs // of the original, and of what is left
	gram     *mat.Dense       // of y with itself; the last row and column are of ones
	cross    *mat.Dense       // of x with y
	n        int              // columns
	sumError float64
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
	if err := p.gather(); err != nil {
		return err
	}
	return p.solve(bias)
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

// columns returns the inputs of a sample before and after the cut, each with a
// last row of ones.
func (p *pair) columns(i int) (x, y blas32.General, err error) {
	read := func(in *saliency.Inputs, s saliency.State) (blas32.General, error) {
		t, ok := s[in.Value].(*tensor.Tensor)
		if !ok {
			return blas32.General{}, fmt.Errorf("%q is no tensor", in.Value.Name())
		}
		c, err := in.Read(t, i)
		if err != nil {
			return blas32.General{}, err
		}
		k := in.Matrix.Cols
		data := slices.Concat(c.Groups[0][:k*c.N], slices.Repeat([]float32{1}, c.N))
		return blas32.General{Rows: k + 1, Cols: c.N, Stride: max(c.N, 1), Data: data}, nil
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
	p.gram, p.cross = mat.NewDense(k, k, nil), mat.NewDense(k0, k, nil)
	for i := range p.samples {
		if err := p.job.Context().Err(); err != nil {
			return err
		}
		x, y, err := p.columns(i)
		if err != nil {
			return err
		}
		if x.Cols != y.Cols {
			return fmt.Errorf("%v: %d columns of inputs, the original has %d", p.layer.node, y.Cols, x.Cols)
		}
		p.n += y.Cols
		addProduct(p.gram, y, y)
		addProduct(p.cross, x, y)
	}
	return nil
}

// addProduct adds a * b^T to sum.
func addProduct(sum *mat.Dense, a, b blas32.General) {
	rows, cols := a.Rows, b.Rows
	c := blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, a, b, 0, c)
	raw := sum.RawMatrix()
	for i, v := range c.Data {
		raw.Data[i] += float64(v)
	}
}

// solve sets the weights W and bias that make the least of
//
//	sum over columns |W y - W0 x|^2 + damp |W - W1|^2,
//
// where W0 are the original's rows that are left, x its inputs, y those that
// are left of them, and W1 the weights as they were cut.
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
	left := mat.NewDense(len(p.rows), m0.Cols+1, nil)
	for i, r := range p.rows {
		for c := range m0.Cols {
			left.Set(i, c, w0[m0.At(0, r, c)])
		}
		left.Set(i, m0.Cols, b0[r])
	}
	var rhs mat.Dense
	rhs.Mul(left, p.cross)
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
	for i, r := range p.rows {
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
