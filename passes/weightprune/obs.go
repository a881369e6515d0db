package weightprune

import (
	"slices"

	"gonum.org/v1/gonum/blas/blas64"

	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// obsBlock is how many columns are pruned before the columns after them are
// brought up to date.
const obsBlock = 128

// obs prunes one matrix column by column. Each weight that goes is made up for
// by those after it in its row, as the inverse Hessian says (optimal brain
// surgeon). Since the weights before it no longer change, one factor U of the
// inverse, inv = U^T U, serves all rows: when w[c] goes, the weights from c on
// change by -w[c]/U[c,c] * U[c,c:]. (Frantar & Alistarh 2023, arXiv 2301.00774.)
type obs struct {
	pattern    Pattern
	w          []float64 // rows x cols
	rows, cols int
	u          []float64 // cols x cols
	gone       []bool    // rows x cols
	worth      []float64 // rows x cols, what a weight's cost is multiplied by; nil for one
	threads    int
}

// solveOBS prunes drop tiles of l, whose elements are w, and adjusts those that
// stay. damp is the share of the Hessian's mean diagonal that is added to it.
func solveOBS(l *layer, pattern Pattern, w []float64, drop int, damp float64, threads int) ([]float64, error) {
	m := l.matrix
	out := slices.Clone(w)
	for g := range m.Groups {
		inv, err := saliency.Inverse(l.moments.Hessian(g), m.Cols, damp)
		if err != nil {
			return nil, err
		}
		u, err := saliency.UpperFactor(inv)
		if err != nil {
			return nil, err
		}
		o := &obs{
			pattern: pattern, w: m.Load(g, w), rows: m.Rows, cols: m.Cols, u: u,
			gone: make([]bool, m.Rows*m.Cols), threads: threads,
		}
		if l.worth != nil {
			o.worth = l.worth(g)
		}
		diagonal := make([]float64, m.Cols)
		for i := range diagonal {
			diagonal[i] = inv.At(i, i)
		}
		o.run(o.shares((g+1)*drop/m.Groups-g*drop/m.Groups, diagonal))
		m.Store(g, out, o.w)
	}
	return out, nil
}

// width is how many columns are pruned together, a whole number of tiles or
// runs.
func (o *obs) width() int {
	each := max(1, o.pattern.Cols, o.pattern.M)
	return max(1, obsBlock/each) * each
}

// shares divides the tiles that go among the blocks of columns, by the rank of
// what each weight would cost if it alone went.
func (o *obs) shares(drop int, diagonal []float64) []int {
	scores := make([]float64, len(o.w))
	for i, x := range o.w {
		scores[i] = x * x / diagonal[i%o.cols]
		if o.worth != nil {
			scores[i] *= o.worth[i]
		}
	}
	g := o.grid(0, o.cols)
	tiles := g.scores(scores)
	shares := make([]int, (o.cols+o.width()-1)/o.width())
	for _, t := range saliency.Least(tiles, min(drop, len(tiles))) {
		shares[t%g.wide*g.cols/o.width()]++
	}
	return shares
}

// grid divides columns lo to hi-1 of the matrix into tiles.
func (o *obs) grid(lo, hi int) grid {
	g := o.pattern.grid(saliency.Dense(o.rows, lo, hi, o.cols))
	return g
}

// run prunes block after block, shares[i] tiles of block i.
func (o *obs) run(shares []int) {
	for i, drop := range shares {
		lo := i * o.width()
		hi := min(lo+o.width(), o.cols)
		if o.pattern.M == 0 {
			o.choose(lo, hi, drop)
		}
		const chunk = 16
		saliency.Parallel(o.threads, (o.rows+chunk-1)/chunk, func(c int) {
			errs := make([]float64, hi-lo)
			for r := c * chunk; r < min((c+1)*chunk, o.rows); r++ {
				o.row(r, lo, hi, errs)
			}
		})
	}
}

// choose picks the tiles of a block that go by what they cost now.
func (o *obs) choose(lo, hi, drop int) {
	g := o.grid(lo, hi)
	scores := make([]float64, len(o.w))
	for r := range o.rows {
		for c := lo; c < hi; c++ {
			scores[r*o.cols+c] = o.cost(r, c)
		}
	}
	for _, t := range saliency.Least(g.scores(scores), drop) {
		g.each(t, func(at int) { o.gone[at] = true })
	}
}

// cost is the rise of the squared error if w[r,c] goes and those after it make
// up for it.
func (o *obs) cost(r, c int) float64 {
	x := o.w[r*o.cols+c] / o.u[c*o.cols+c]
	if o.worth != nil {
		return x * x * o.worth[r*o.cols+c]
	}
	return x * x
}

// row prunes columns lo to hi-1 of a row and brings the rest of it up to date.
func (o *obs) row(r, lo, hi int, errs []float64) {
	w := o.w[r*o.cols : (r+1)*o.cols]
	gone := o.gone[r*o.cols : (r+1)*o.cols]
	clear(errs)
	for c := lo; c < hi; c++ {
		if m := o.pattern.M; m > 0 && c%m == 0 {
			o.pattern.chooseRun(min(m, o.cols-c), func(i int) float64 { return o.cost(r, c+i) },
				func(i int) { gone[c+i] = true })
		}
		if !gone[c] {
			continue
		}
		e := w[c] / o.u[c*o.cols+c]
		if e != 0 {
			subtract(w[c:hi], e, o.u[c*o.cols+c:c*o.cols+hi])
		}
		w[c], errs[c-lo] = 0, e
	}
	for c := lo; c < hi; c++ {
		if e := errs[c-lo]; e != 0 {
			subtract(w[hi:], e, o.u[c*o.cols+hi:(c+1)*o.cols])
		}
	}
}

// subtract takes a*x from y.
func subtract(y []float64, a float64, x []float64) {
	if len(y) > 0 {
		blas64.Axpy(-a, blas64.Vector{N: len(y), Inc: 1, Data: x}, blas64.Vector{N: len(y), Inc: 1, Data: y})
	}
}
