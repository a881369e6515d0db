package weightprune

import (
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

const (
	// heldEvery is which samples a fit is judged on: every so many-th.
	heldEvery = 4
	// fitRounds is how often the wanted results are chosen anew at last, and
	// stepRounds before that.
	fitRounds, stepRounds = 4, 2
)

// fitDamps are the dampings that a fit is tried with, and fewDamp is taken where
// no samples are held back to judge them.
var fitDamps = []float64{1e-3, 1e-2, 1e-1, 1}

const fewDamp = 1e-2

// fit is what one layer is fitted on: columns of inputs, and of the results
// that are wanted of them.
type fit struct {
	l       *layer
	bias    []float64 // of the original; nil if there is no place for one
	clamp   clamp     // of what follows
	kernels *kernel.Table
	threads int

	samples          int
	pending          [2]pending // of samples that are fitted, and of those held back
	chunks           []chunk
	train, held, all *saliency.Regression

	gated *saliency.Gated // by what the activation lets through; nil without one
}

// chunk is columns of several samples. Some are held back: fits are judged on
// them.
type chunk struct {
	x, y *saliency.Columns
	held bool
}

// pending is columns that are to become a chunk.
type pending struct {
	x, y []*saliency.Columns
	n    int
	held bool
}

// chunkColumns is how many columns a chunk has at least, but for the last.
const chunkColumns = 4096

func newFit(l *layer, bias []float64, kernels *kernel.Table, threads int) *fit {
	f := &fit{l: l, bias: bias, clamp: clamp{saliency.ClampOf(l.uses[0].node)}, kernels: kernels, threads: threads}
	if !f.clamp.IsNone() {
		f.gated = saliency.NewGated(l.matrix, kernels, threads)
	}
	for _, r := range []**saliency.Regression{&f.train, &f.held} {
		*r = saliency.NewRegression(l.matrix, kernels, threads)
		(*r).Inputs.Centered = bias != nil
	}
	return f
}

// add takes the columns of a sample, of inputs and of wanted results.
func (f *fit) add(x, y *saliency.Columns) error {
	held := f.samples/2%heldEvery == heldEvery-1
	f.samples++
	p := &f.pending[0]
	if held {
		p = &f.pending[1]
	}
	p.held, p.n, p.x, p.y = held, p.n+x.N, append(p.x, x), append(p.y, y)
	if p.n < chunkColumns {
		return nil
	}
	return f.count(p)
}

// end counts what was taken last.
func (f *fit) end() error {
	for i := range f.pending {
		if err := f.count(&f.pending[i]); err != nil {
			return err
		}
	}
	f.all = saliency.Sum(f.train, f.held)
	return nil
}

// count makes one chunk of pending columns, and counts it.
func (f *fit) count(p *pending) error {
	if p.n == 0 {
		return nil
	}
	c := chunk{x: saliency.Join(p.x), y: saliency.Join(p.y), held: p.held}
	*p = pending{}
	f.chunks = append(f.chunks, c)
	if f.gated != nil {
		f.gated.Add(c.x, f.clamp.gate(c.y))
	}
	if c.held {
		return f.held.Add(c.x, c.y)
	}
	return f.train.Add(c.x, c.y)
}

// rounds is n, or none if nothing is cut off, so that all results are wanted.
func (f *fit) rounds(n int) int {
	if f.clamp.IsNone() {
		return 0
	}
	return n
}

// worth returns how much each weight of a group counts by row and column, nil
// if all count alike.
func (f *fit) worth() func(g int) []float64 {
	if f.gated == nil {
		return nil
	}
	return f.gated.Shares
}

// apply gives the layer weights that were fitted to all columns, and the bias
// that goes with them.
func (f *fit) apply(w []float64) {
	f.l.set(w)
	if f.bias != nil {
		setBias(f.l.uses[0].node, f.intercept(f.all, w))
	}
}

// sameShare is the change of weights and biases, over the largest of them, below
// which they count as what they were.
const sameShare = 1e-5

// near reports whether weights x, with the bias that goes with them, are those
// that the layer has.
func (f *fit) near(x []float64) bool {
	b := f.intercept(f.all, x)
	return alike(slices.Concat(x, b), slices.Concat(f.l.current(), biasValues(f.l.uses[0].node, len(b))))
}

func alike(a, b []float64) bool {
	top, apart := 0.0, 0.0
	for i := range a {
		top, apart = max(top, math.Abs(b[i])), max(apart, math.Abs(a[i]-b[i]))
	}
	return apart <= sameShare*top
}

// bestDamp returns the damping with which weights that are fitted to the other
// samples, near w and without those that are gone, do best on the samples that
// are held back.
func (f *fit) bestDamp(w []float64, gone []bool) float64 {
	damp, least := fewDamp, math.Inf(1)
	for _, d := range fitDamps {
		if f.held.Inputs.Count == 0 {
			break
		}
		x := f.fitted(f.train, w, gone, d, f.rounds(1))
		if e := f.error(x); e < least {
			damp, least = d, e
		}
	}
	return damp
}

// fitted returns weights near w that are fitted to the columns of a regression.
// Where the wanted result and that of the weights come to the same behind the
// activation, there is nothing to fit: in each round, the wanted results are
// replaced by the nearest to the present ones that the activation makes the
// same of. (Zhang et al. 2015, arXiv 1505.06798, section 3.2.)
func (f *fit) fitted(on *saliency.Regression, w []float64, gone []bool, damp float64, rounds int) []float64 {
	on.Rewind()
	x := f.solve(on, w, w, gone, damp)
	for range rounds {
		b := f.intercept(on, x)
		on.Clear()
		for _, c := range f.chunks {
			if on != f.all && c.held != (on == f.held) {
				continue
			}
			got := f.l.matrix.Apply(x, b, c.x, f.kernels, f.threads)
			for g := range got.Groups {
				f.clamp.Nearest(got.Groups[g], c.y.Groups[g])
			}
			on.AddResults(c.x, got)
		}
		x = f.solve(on, w, x, gone, damp)
	}
	return x
}

// error is the squared error behind the activation on the samples that are
// held back, with the bias of those that are not.
func (f *fit) error(x []float64) float64 {
	b := f.intercept(f.train, x)
	sum := 0.0
	for _, c := range f.chunks {
		if !c.held {
			continue
		}
		got := f.l.matrix.Apply(x, b, c.x, f.kernels, f.threads)
		for g, y := range got.Groups {
			sum += f.clamp.SquaredError(y, c.y.Groups[g])
		}
	}
	return sum
}

// intercept is the bias that gives the results of weights x the mean that is
// wanted; nil if there is no place for it.
func (f *fit) intercept(on *saliency.Regression, x []float64) []float64 {
	if f.bias == nil {
		return nil
	}
	m := f.l.matrix
	var b []float64
	for g := range m.Groups {
		means, want := on.Inputs.Means(g), on.Means(g)
		w := m.Load(g, x)
		for r := range m.Rows {
			v := want[r]
			for c, mean := range means {
				v -= w[r*m.Cols+c] * mean
			}
			b = append(b, v)
		}
	}
	return b
}

// solve returns the weights nearest to the wanted results without those that
// are gone, held near w, starting at x.
func (f *fit) solve(on *saliency.Regression, w, x []float64, gone []bool, damp float64) []float64 {
	m := f.l.matrix
	out := make([]float64, len(x))
	for g := range m.Groups {
		e := equations{
			h: on.Inputs.Hessian(g), c: on.Cross(g), rows: m.Rows, n: m.Cols,
			kernels: f.kernels, threads: f.threads,
		}
		keep := make([]bool, m.Rows*m.Cols)
		for r := range m.Rows {
			for c := range m.Cols {
				keep[r*m.Cols+c] = !gone[m.At(g, r, c)]
			}
		}
		m.Store(g, out, e.solve(m.Load(g, w), m.Load(g, x), keep, damp))
	}
	return out
}

// clamp is what follows a layer, as far as it bounds the layer's results.
type clamp struct{ saliency.Clamp }

// shut is how much a result counts that the activation cuts off: it may come
// through once weights change.
const shut = 0.02

// gate returns how much each of the results y counts.
func (c clamp) gate(y *saliency.Columns) *saliency.Columns {
	gates := &saliency.Columns{N: y.N}
	for _, row := range y.Groups {
		g := make([]float32, len(row))
		for i, v := range row {
			if g[i] = shut; v > c.Lo && v < c.Hi {
				g[i] = 1
			}
		}
		gates.Groups = append(gates.Groups, g)
	}
	return gates
}
