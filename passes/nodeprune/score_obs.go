package nodeprune

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// observeHessians scores the units of groups by what the layers that read them
// lose if these are fitted anew to the rest: the optimal brain surgeon, with a
// unit in the place of a weight. Units leave one after the other, each time the
// one that costs least, and the score is the cost. (Hassibi & Stork 1993; for
// structures, Kurtic et al. 2023, ZipLM, arXiv 2302.04089.)
func (s *scorer) observeHessians(j *passes.Job, g *Groups, groups []*Group) error {
	of := s.readersOf(j, g, groups)
	var all []*reader
	for _, group := range groups {
		all = append(all, of[group]...)
	}
	if err := s.gather(j, all); err != nil {
		return err
	}
	s.measured = map[*Group][]float64{}
	for i, group := range groups {
		if err := j.Context().Err(); err != nil {
			return err
		}
		list, err := leave(g.web, group, of[group])
		if err != nil {
			return err
		}
		if list != nil {
			s.measured[group] = list
		}
		j.ProgressAt("importance", i+1, len(groups))
	}
	return nil
}

// leave lets the units of a group leave its readers one after the other, and
// returns what each costs, as a share of the energy of results, or the most
// before it if that is more. It is nil if the group has no readers.
func leave(w *web, g *Group, readers []*reader) ([]float64, error) {
	if len(readers) == 0 {
		return nil, nil
	}
	var from []*elimination
	for _, r := range readers {
		e, err := newElimination(r)
		if err != nil {
			return nil, err
		}
		from = append(from, e)
	}
	columns := func(k, unit int) []int {
		r := readers[k]
		return r.columns(g.Units[unit].cuts[w.of(r.node.In(r.slot), r.from)])
	}
	left := ascending(len(g.Units))
	scores := make([]float64, len(g.Units))
	least := 0.0
	for len(left) > 0 {
		best, cost := 0, math.Inf(1)
		for i, unit := range left {
			sum := 0.0
			for k, e := range from {
				sum += e.cost(columns(k, unit))
			}
			if sum < cost {
				best, cost = i, sum
			}
		}
		unit := left[best]
		for k, e := range from {
			e.remove(columns(k, unit))
		}
		if !math.IsInf(cost, 1) {
			least = max(least, cost)
		}
		scores[unit] = least
		left = slices.Delete(left, best, best+1)
	}
	return scores, nil
}

// elimination is a matrix product that loses inputs, the weights of the others
// being fitted anew each time.
type elimination struct {
	n, rows int
	left    []int     // columns
	inverse []float64 // of the Hessian of those that are left, n x n
	weights []float64 // by column, n x rows
	energy  float64   // of the results
}

func newElimination(r *reader) (*elimination, error) {
	m := r.inputs.Matrix
	h := r.moments.Hessian(0)
	inv, err := saliency.Inverse(h, m.Cols, refitDamp)
	if err != nil {
		return nil, err
	}
	e := &elimination{n: m.Cols, rows: m.Rows, inverse: make([]float64, m.Cols*m.Cols), weights: make([]float64, m.Cols*m.Rows)}
	for c := range m.Cols {
		e.left = append(e.left, c)
		for d := range m.Cols {
			e.inverse[c*m.Cols+d] = inv.At(c, d)
		}
	}
	w := r.matrix()
	for row := range m.Rows {
		for c := range m.Cols {
			e.weights[c*m.Rows+row] = w[row*m.Cols+c]
		}
	}
	var hw mat.Dense
	byColumn := mat.NewDense(m.Cols, m.Rows, e.weights)
	hw.Mul(mat.NewDense(m.Cols, m.Cols, h), byColumn)
	e.energy = max(floats.Dot(hw.RawMatrix().Data, e.weights), 1e-30)
	return e, nil
}

func (e *elimination) column(c int) []float64 { return e.weights[c*e.rows : (c+1)*e.rows] }

// cost is what the results lose without some columns, of their energy: the
// trace of W[G]^T V[G,G]^-1 W[G], for the inverse Hessian V.
func (e *elimination) cost(gone []int) float64 {
	if len(gone) == 1 {
		w, c := e.column(gone[0]), gone[0]
		return floats.Dot(w, w) / max(e.inverse[c*e.n+c], 1e-30) / e.energy
	}
	solved := e.solve(gone)
	if solved == nil {
		return math.Inf(1)
	}
	sum := 0.0
	for i, c := range gone {
		sum += floats.Dot(solved.RawRowView(i), e.column(c))
	}
	return sum / e.energy
}

// solve returns V[G,G]^-1 W[G], of a row for each column that is gone; nil if
// they depend on each other.
func (e *elimination) solve(gone []int) *mat.Dense {
	v, w := mat.NewSymDense(len(gone), nil), mat.NewDense(len(gone), e.rows, nil)
	for i, c := range gone {
		for k, d := range gone {
			v.SetSym(i, k, e.inverse[c*e.n+d])
		}
		w.SetRow(i, e.column(c))
	}
	var chol mat.Cholesky
	if !chol.Factorize(v) {
		return nil
	}
	var solved mat.Dense
	if chol.SolveTo(&solved, w) != nil {
		return nil
	}
	return &solved
}

// remove takes columns out one by one: the weights W and the inverse V become
//
//	W - V[:,c] W[c] / V[c,c]   and   V - V[:,c] V[c,:] / V[c,c].
func (e *elimination) remove(gone []int) {
	for _, c := range gone {
		e.left = slices.DeleteFunc(e.left, func(x int) bool { return x == c })
		w, v := e.column(c), e.inverse[c*e.n:(c+1)*e.n]
		if v[c] <= 1e-30 {
			continue
		}
		for _, d := range e.left {
			row := e.inverse[d*e.n : (d+1)*e.n]
			f := -row[c] / v[c]
			if f == 0 {
				continue
			}
			floats.AddScaled(e.column(d), f, w)
			for _, k := range e.left {
				row[k] += f * v[k]
			}
		}
	}
}
