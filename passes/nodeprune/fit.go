package nodeprune

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

const (
	// heldEvery is which samples a fit is judged on: every so many-th.
	heldEvery = 4
	// fitRounds is how often the wanted results are chosen anew at last.
	fitRounds = 4
	// fewDamp is the damping where no samples are held back to choose it by.
	fewDamp = 1e-1
)

// fitDamps are the dampings that a fit is tried with: shares of the mean
// variance of the inputs. With the last, which is all of keepWeights, weights
// stay as they are, and the bias alone is fitted.
var (
	fitDamps    = []float64{1e-4, 1e-3, 1e-2, 1e-1, 1, math.Inf(1)}
	keepWeights = []float64{math.Inf(1)}
)

// fit is what a layer is fitted on: the inputs that it has, with the results
// that the original gives in their places, of the samples that are fitted and
// of those that are held back.
type fit struct {
	matrix      *saliency.Matrix
	clamp       saliency.Clamp // of what follows
	train, held *saliency.Regression
	chunks      []chunk // what was counted, if there is a clamp
	kernels     *kernel.Table
	threads     int
}

// chunk is the columns of a sample, of inputs and of wanted results.
type chunk struct {
	x, y *saliency.Columns
	held bool
}

// gather reads all samples.
func (p *pair) gather() (*fit, error) {
	f := &fit{matrix: p.y.Matrix, clamp: saliency.ClampOf(p.layer.node), kernels: p.kernels, threads: p.job.Env.Threads}
	for _, r := range []**saliency.Regression{&f.train, &f.held} {
		*r = saliency.NewRegression(p.y.Matrix, p.kernels, p.job.Env.Threads)
		(*r).Inputs.Centered = true
	}
	read, err := p.reader()
	if err != nil {
		return nil, err
	}
	for i := range p.samples {
		if err := p.job.Context().Err(); err != nil {
			return nil, err
		}
		y, want, err := read(i)
		if err != nil {
			return nil, err
		}
		to := f.train
		held := i/p.views%heldEvery == heldEvery-1
		if held {
			to = f.held
		}
		if err := to.Add(y, want); err != nil {
			return nil, err
		}
		if !f.clamp.IsNone() {
			f.chunks = append(f.chunks, chunk{y, want, held})
		}
	}
	return f, nil
}

// reader goes on to the layer, and returns how to read the inputs of a sample
// that are left, and the results that are wanted of them.
func (p *pair) reader() (func(sample int) (y, want *saliency.Columns, err error), error) {
	thenValues, nowValues := []*graph.Value{p.x.Value}, []*graph.Value{p.y.Value}
	if p.skip != nil {
		thenValues, nowValues = append(thenValues, p.skip.was), append(nowValues, p.skip.is)
	}
	then, err := p.was.Before(p.old, thenValues...)
	if err != nil {
		return nil, err
	}
	now, err := p.is.Before(p.layer.node, nowValues...)
	if err != nil {
		return nil, err
	}
	m := p.x.Matrix
	weights := tensor.Float64s(constant(p.old.In(p.layer.slot)))
	var bias []float64
	if b, _ := biasSlot(p.old); b != nil {
		bias = b.values(m.Groups * m.Rows)
	}
	return func(sample int) (y, want *saliency.Columns, err error) {
		was, err := then(sample)
		if err != nil {
			return nil, nil, err
		}
		is, err := now(sample)
		if err != nil {
			return nil, nil, err
		}
		x, err := columns(p.x, was, sample)
		if err != nil {
			return nil, nil, err
		}
		if y, err = columns(p.y, is, sample); err != nil {
			return nil, nil, err
		}
		if x.N != y.N {
			return nil, nil, fmt.Errorf("%v: %d columns of inputs, the original has %d", p.layer.node, y.N, x.N)
		}
		want, err = p.wanted(m.Apply(weights, bias, x, p.kernels, p.job.Env.Threads), sample, was, is)
		return y, want, err
	}, nil
}

// columns returns the inputs of a sample.
func columns(in *saliency.Inputs, s saliency.State, sample int) (*saliency.Columns, error) {
	t, ok := s[in.Value].(*tensor.Tensor)
	if !ok {
		return nil, fmt.Errorf("%q is no tensor", in.Value.Name())
	}
	return in.Read(t, sample)
}

// wanted returns the original's results of a sample without those that are
// gone, with what a shortcut has lost.
func (p *pair) wanted(results *saliency.Columns, sample int, was, is saliency.State) (*saliency.Columns, error) {
	m, n := p.y.Matrix, results.N
	all := slices.Concat(results.Groups...)
	flat := make([]float32, 0, len(p.left)*n)
	for _, r := range p.left {
		flat = append(flat, all[r*n:(r+1)*n]...)
	}
	if p.skip != nil {
		lack, err := p.lack(sample, was, is)
		if err != nil {
			return nil, err
		}
		if len(lack) != len(flat) {
			return nil, fmt.Errorf("%v: its shortcut has %d numbers, want %d", p.layer.node, len(lack), len(flat))
		}
		for i, x := range lack {
			flat[i] += x
		}
	}
	c := &saliency.Columns{N: n}
	for g := range m.Groups {
		c.Groups = append(c.Groups, flat[g*m.Rows*n:(g+1)*m.Rows*n])
	}
	return c, nil
}

// lack returns what the shortcut of a sample is short of, at the positions of
// its columns.
func (p *pair) lack(sample int, then, now saliency.State) ([]float32, error) {
	read := func(in *saliency.Inputs, s saliency.State, v *graph.Value, channels []int) ([]float32, error) {
		t, ok := s[v].(*tensor.Tensor)
		if !ok {
			return nil, fmt.Errorf("%q is no tensor", v.Name())
		}
		return in.Results(t, sample, channels)
	}
	was, err := read(p.x, then, p.skip.was, p.left)
	if err != nil {
		return nil, err
	}
	is, err := read(p.y, now, p.skip.is, ascending(len(p.left)))
	if err != nil {
		return nil, err
	}
	if len(was) != len(is) {
		return nil, fmt.Errorf("%v: its shortcut has %d numbers, the original's %d", p.layer.node, len(is), len(was))
	}
	for k, x := range is {
		was[k] -= x
	}
	return was, nil
}

// solve returns the weights W and bias b that make the least of
//
//	mean over columns |a(W y + b) - a(want)|^2 + damp |W - near|^2,
//
// a being the activation behind, with the one of dampings that does best on the
// samples that are held back.
func (f *fit) solve(near, damps []float64) (weights, bias []float64) {
	damp, least := fewDamp, math.Inf(1)
	if len(damps) == 1 {
		damp = damps[0]
	}
	for _, d := range damps {
		if f.held.Inputs.Count == 0 || len(damps) == 1 {
			break
		}
		w, b := f.fitted(f.train, near, d, 1)
		if e := f.error(w, b); e < least {
			damp, least = d, e
		}
	}
	return f.fitted(saliency.Sum(f.train, f.held), near, damp, fitRounds)
}

// fitted returns weights near the given ones, and the bias, that are fitted to
// columns. Where the wanted result and the present one come to the same behind
// the activation, there is nothing to fit: in each of rounds, see
// [saliency.Clamp.Nearest].
func (f *fit) fitted(on *saliency.Regression, near []float64, damp float64, rounds int) (weights, bias []float64) {
	on.Rewind()
	weights = f.ridge(on, near, damp)
	bias = f.intercept(on, weights)
	if f.clamp.IsNone() {
		return weights, bias
	}
	for range rounds {
		on.Clear()
		for _, c := range f.chunks {
			if on == f.train && c.held {
				continue
			}
			got := f.matrix.Apply(weights, bias, c.x, f.kernels, f.threads)
			for g, y := range got.Groups {
				f.clamp.Nearest(y, c.y.Groups[g])
			}
			on.AddResults(c.x, got)
		}
		weights = f.ridge(on, near, damp)
		bias = f.intercept(on, weights)
	}
	return weights, bias
}

// ridge returns weights near the given ones that are fitted to columns, or the
// given ones where inputs depend on each other.
func (f *fit) ridge(on *saliency.Regression, near []float64, damp float64) []float64 {
	m := f.matrix
	out := slices.Clone(near)
	if math.IsInf(damp, 1) {
		return out
	}
	for g := range m.Groups {
		if x := ridge(on.Inputs.Hessian(g), on.Cross(g), m.Load(g, near), m.Cols, damp); x != nil {
			m.Store(g, out, x)
		}
	}
	return out
}

// ridge returns the rows of n weights W with W (H + d) = cross + d near, d being
// damp times the mean of H's diagonal; nil if the inputs depend on each other. It
// changes h and cross.
func ridge(h, cross, near []float64, n int, damp float64) []float64 {
	rows := len(near) / max(n, 1)
	mean := 0.0
	for c := range n {
		mean += h[c*n+c] / float64(n)
	}
	hold := damp*mean + 1e-12
	for c := range n {
		h[c*n+c] += hold
	}
	floats.AddScaled(cross, hold, near)
	var chol mat.Cholesky
	var solved mat.Dense
	if !chol.Factorize(mat.NewSymDense(n, h)) || chol.SolveTo(&solved, mat.NewDense(rows, n, cross).T()) != nil {
		return nil
	}
	w := make([]float64, 0, len(near))
	for r := range rows {
		w = append(w, mat.Col(nil, r, &solved)...)
	}
	return w
}

// intercept is the bias that gives the results of weights the mean that is
// wanted.
func (f *fit) intercept(on *saliency.Regression, weights []float64) []float64 {
	m := f.matrix
	var b []float64
	for g := range m.Groups {
		x, want, w := on.Inputs.Means(g), on.Means(g), m.Load(g, weights)
		for r := range m.Rows {
			b = append(b, want[r]-floats.Dot(w[r*m.Cols:(r+1)*m.Cols], x))
		}
	}
	return b
}

// error is the squared error behind the activation on the samples that are held
// back; without an activation, less what it is with weights of zero, and by
// column.
func (f *fit) error(weights, bias []float64) float64 {
	m := f.matrix
	sum := 0.0
	for _, c := range f.chunks {
		if !c.held {
			continue
		}
		got := m.Apply(weights, bias, c.x, f.kernels, f.threads)
		for g, y := range got.Groups {
			sum += f.clamp.SquaredError(y, c.y.Groups[g])
		}
	}
	if !f.clamp.IsNone() {
		return sum
	}
	for g := range m.Groups {
		h, cross := f.held.Inputs.Hessian(g), f.held.Cross(g)
		x, want, w := f.held.Inputs.Means(g), f.held.Means(g), m.Load(g, weights)
		var wh mat.Dense
		wh.Mul(mat.NewDense(m.Rows, m.Cols, w), mat.NewDense(m.Cols, m.Cols, h))
		sum += floats.Dot(wh.RawMatrix().Data, w) - 2*floats.Dot(cross, w)
		for r := range m.Rows {
			off := floats.Dot(w[r*m.Cols:(r+1)*m.Cols], x) + bias[g*m.Rows+r] - want[r]
			sum += off * off
		}
	}
	return sum
}
