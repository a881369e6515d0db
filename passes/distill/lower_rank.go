package distill

import (
	"errors"
	"fmt"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// LowerRank splits layers into two that are cheaper together.
var LowerRank = passes.Define(passes.Pass{
	Name: "lower-rank",
	Doc: `split layers into two that pass through fewer channels

	y = Conv (x, W, b)   =>   h = Conv (x, U^T W)  y = Conv (h, U, b)

and the same for Gemm and MatMul with constant weights. U holds the directions
in which the layer's results are largest on calibration data, so that no other
two layers through as many channels come closer to them (Zhang et al. 2016,
arXiv 1505.06798). The ranks of all layers are chosen together: those that cost
the least share of their layers' energy for the work that they save.`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, LowerRankOptions{MACs: 0.5}, lowerRank)

// LowerRankOptions are the options of [LowerRank].
type LowerRankOptions struct {
	MACs    float64  `opt:"macs" help:"multiply-accumulates to keep, as a share of the model's"`
	Include []string `opt:"include" help:"weights that are split, patterns with * and ?; all if empty"`
	Exclude []string `opt:"exclude" help:"weights that are left alone, patterns with * and ?"`
}

// Validate reports an option out of range.
func (o LowerRankOptions) Validate() error {
	if o.MACs <= 0 || o.MACs >= 1 {
		return fmt.Errorf("option \"macs\": got %v, want more than 0 and less than 1", o.MACs)
	}
	return nil
}

// rankLayer is a layer that may be split.
type rankLayer struct {
	node   *graph.Node
	matrix *saliency.Matrix
	macs   float64 // of the layer as it is

	moments *mat.SymDense // of its results without the bias, summed over positions
	vectors *mat.Dense    // their eigenvectors in columns, the largest first
	lost    []float64     // by rank, the share of the energy that is lost
	rank    int           // chosen, 0 for the layer as it is
}

func lowerRank(j *passes.Job, o LowerRankOptions) error {
	sample, err := firstSample(j)
	if err != nil {
		return err
	}
	costs := macsByNode(j.Model, sample)
	layers, total := rankLayers(j, o, costs)
	if err := measureEnergy(j, layers); err != nil {
		return err
	}
	for _, l := range layers {
		if err := l.decompose(); err != nil {
			return fmt.Errorf("%v: %w", l.node, err)
		}
	}
	got := chooseRanks(layers, total, o.MACs)
	if got > o.MACs {
		j.Note("the target of %.3g of the multiply-accumulates is not reached, the least is %.3g", o.MACs, got)
	}
	for _, l := range layers {
		if l.rank == 0 {
			continue
		}
		j.Note("%s: rank %d of %d, %.2f %% of the energy lost", l.node.In(1).Name(), l.rank, l.matrix.Rows, 100*l.lost[l.rank])
		l.split()
		j.Changed(1)
	}
	j.Figure("macs_before", total)
	j.Figure("macs_after", got*total)
	return nil
}

func firstSample(j *passes.Job) (dataset.Sample, error) {
	for s, err := range j.Env.Calibration(j.Context()) {
		return s, err
	}
	return dataset.Sample{}, errors.New("calibration data has no samples")
}

// rankLayers lists the layers that the options let be split, and the work of
// the whole model.
func rankLayers(j *passes.Job, o LowerRankOptions, costs []int64) (layers []*rankLayer, total float64) {
	at := 0
	for n := range j.Model.Nodes(graph.InMain | graph.InSubgraphs) {
		macs := float64(costs[at])
		at++
		total += macs
		if !n.Is("Conv", "Gemm", "MatMul") || n.Graph() != j.Model.Graph || !splits(n) {
			continue
		}
		name := n.In(1).Name()
		if passes.Match(o.Exclude, name) || len(o.Include) > 0 && !passes.Match(o.Include, name) {
			continue
		}
		m, err := saliency.MatrixOf(n, 1, n.In(1).Init.Shape())
		switch {
		case err != nil || m.Groups != 1:
			j.Skip(n, "its weight is not one matrix")
		case m.Rows*m.Cols/(m.Rows+m.Cols) < 1:
			j.Skip(n, "no rank makes it cheaper")
		default:
			layers = append(layers, &rankLayer{node: n, matrix: m, macs: macs})
		}
	}
	return layers, total
}

// splits reports whether n is a product with a constant float32 matrix, to
// which at most a bias is added.
func splits(n *graph.Node) bool {
	w := n.In(1)
	if w == nil || !w.IsConst() || w.Init.Tensor == nil || w.Init.Tensor.DType() != tensor.Float32 || n.In(0) == nil || n.In(0).IsConst() {
		return false
	}
	if n.Is("Conv") {
		return len(w.Init.Shape()) >= 3 && (n.In(2) == nil || isVector(n.In(2)))
	}
	plain := n.Int("transA", 0) == 0 && n.Float("alpha", 1) == 1 && n.Float("beta", 1) == 1
	return len(w.Init.Shape()) == 2 && plain && (n.In(2) == nil || isVector(n.In(2)))
}

func isVector(v *graph.Value) bool {
	return v.IsConst() && v.Init.Tensor != nil && v.Init.Tensor.DType() == tensor.Float32 && len(v.Init.Shape()) == 1
}

// measureEnergy sums up the products of each layer's results with themselves.
func measureEnergy(j *passes.Job, layers []*rankLayer) error {
	var values []*graph.Value
	byValue := map[*graph.Value]*rankLayer{}
	for _, l := range layers {
		l.moments = mat.NewSymDense(l.matrix.Rows, nil)
		v := l.node.Out(0)
		values = append(values, v)
		byValue[v] = l
	}
	return j.Observe(values, func(v *graph.Value, t *tensor.Tensor) { byValue[v].add(t) })
}

// add counts a result of the layer, in which channels are the second axis of
// a convolution's and the last of a product's.
func (l *rankLayer) add(t *tensor.Tensor) {
	rows := l.matrix.Rows
	inner := 1
	if l.node.Is("Conv") {
		inner = t.Shape()[2:].Len()
	}
	var bias []float32
	if b := l.node.In(2); b != nil {
		bias = tensor.Float32s(b.Init.Tensor)
	}
	x := tensor.Float32s(t)
	y := blas32.General{Rows: rows, Cols: len(x) / rows, Stride: len(x) / rows, Data: make([]float32, len(x))}
	for i, v := range x {
		c, outer := i/inner%rows, i/(inner*rows)
		if bias != nil {
			v -= bias[c%len(bias)]
		}
		y.Data[c*y.Stride+outer*inner+i%inner] = v
	}
	sum := blas32.Symmetric{N: rows, Stride: rows, Uplo: blas.Upper, Data: make([]float32, rows*rows)}
	blas32.Syrk(blas.NoTrans, 1, y, 0, sum)
	for r := range rows {
		for c := r; c < rows; c++ {
			l.moments.SetSym(r, c, l.moments.At(r, c)+float64(sum.Data[r*rows+c]))
		}
	}
}

// decompose finds the directions of the results, and what each rank loses.
func (l *rankLayer) decompose() error {
	var e mat.EigenSym
	if !e.Factorize(l.moments, true) {
		return errors.New("the directions of its results cannot be found")
	}
	values := e.Values(nil) // increasing
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	n := len(values)
	l.vectors = mat.NewDense(n, n, nil)
	l.lost = make([]float64, n+1)
	for i, x := range values {
		l.lost[n-1-i] = max(x, 0)
		for r := range n {
			l.vectors.Set(r, n-1-i, vectors.At(r, i))
		}
	}
	for i := n - 1; i >= 0; i-- { // from the energy of each direction to that of all from it on
		l.lost[i] += l.lost[i+1]
	}
	if all := l.lost[0]; all > 0 {
		for i := range l.lost {
			l.lost[i] /= all
		}
	}
	return nil
}

// work is what the layer costs at a rank.
func (l *rankLayer) work(rank int) float64 {
	if rank == 0 {
		return l.macs
	}
	o, k := float64(l.matrix.Rows), float64(l.matrix.Cols)
	return l.macs * float64(rank) * (o + k) / (o * k)
}

// chooseRanks picks the ranks with the least lost energy, summed over layers,
// that bring the work down to a share of the total, and returns the share: for
// a price of work, each layer takes the rank whose loss and price are least,
// and the price is searched.
func chooseRanks(layers []*rankLayer, total, share float64) float64 {
	at := func(price float64) float64 {
		left := total
		for _, l := range layers {
			l.rank = l.cheapest(price / total)
			left += l.work(l.rank) - l.macs
		}
		return left / total
	}
	lo, hi := 0.0, 1.0
	for range 40 {
		if at(hi) <= share {
			break
		}
		hi *= 2
	}
	for range 40 {
		if mid := (lo + hi) / 2; at(mid) <= share {
			hi = mid
		} else {
			lo = mid
		}
	}
	return at(hi)
}

// cheapest returns the rank whose lost energy, with what its work costs, is
// least.
func (l *rankLayer) cheapest(price float64) int {
	best, least := 0, price*l.macs
	for rank := 1; l.work(rank) < l.macs; rank++ {
		if x := l.lost[rank] + price*l.work(rank); x < least {
			best, least = rank, x
		}
	}
	return best
}

// split puts the layer of the rank's directions before the layer, which
// becomes the product with them.
func (l *rankLayer) split() {
	n, g := l.node, l.node.Graph()
	w := n.In(1)
	up := l.vectors.Slice(0, l.matrix.Rows, 0, l.rank)
	var down mat.Dense
	down.Mul(up.T(), mat.NewDense(l.matrix.Rows, l.matrix.Cols, l.matrix.Load(0, tensor.Float64s(w.Init.Tensor))))

	first := graph.NewNode("", n.Op, []*graph.Value{n.In(0), l.weight(&down, w.Name()+"_down")}, 1)
	for _, a := range n.Attrs() {
		first.SetAttr(a.Clone())
	}
	g.InsertBefore(n, first)
	n.SetIn(0, first.Out(0))
	n.SetIn(1, l.weight(up, w.Name()+"_up"))
	for _, name := range []string{"auto_pad", "dilations", "pads", "strides"} {
		n.DropAttr(name)
	}
	if kernel := n.Ints("kernel_shape"); len(kernel) > 0 {
		n.SetAttr(graph.IntsAttr("kernel_shape", ones(len(kernel))...))
	}
	if !w.Used() {
		g.DropInit(w)
	}
}

// weight stores a matrix [outputs, inputs] as the layer has its weight.
func (l *rankLayer) weight(m mat.Matrix, name string) *graph.Value {
	rows, cols := m.Dims()
	old := l.node.In(1).Init.Shape()
	shape := tensor.Shape{cols, rows}
	switch {
	case l.node.Is("Conv") && cols == l.matrix.Cols:
		shape = append(tensor.Shape{rows}, old[1:]...)
	case l.node.Is("Conv"):
		shape = tensor.Shape{rows, cols}
		for range old[2:] {
			shape = append(shape, 1)
		}
	case l.node.Int("transB", 0) != 0:
		shape = tensor.Shape{rows, cols}
	}
	laid, _ := saliency.MatrixOf(l.node, 1, shape)
	x, w := make([]float64, 0, rows*cols), make([]float64, rows*cols)
	for r := range rows {
		for c := range cols {
			x = append(x, m.At(r, c))
		}
	}
	laid.Store(0, w, x)
	return l.node.Graph().AddInit(name, tensor.FromFloat64s(tensor.Float32, shape, w))
}

func ones(n int) []int64 {
	x := make([]int64, n)
	for i := range x {
		x[i] = 1
	}
	return x
}
