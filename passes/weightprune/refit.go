package weightprune

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// refitDamp is the share of the Hessian's mean diagonal that is added to it,
// which holds weights near what they were where inputs do not decide them.
const refitDamp = 1e-3

// refit returns the weights of l without those that are gone, where those that
// stay give the least squared error of the node's result on the calibration
// inputs. With inverse Hessian V, and G the weights of a row that go, the
// closed form is w - V[:,G] V[G,G]^-1 w[G].
func refit(l *layer, gone []bool) ([]float64, error) {
	out := masked(l.w, gone)
	m := l.matrix
	for g := range m.Groups {
		inv, err := saliency.Inverse(l.moments.Hessian(g), m.Cols, refitDamp)
		if err != nil {
			return nil, err
		}
		for r := range m.Rows {
			refitRow(l, g, r, inv, gone, out)
		}
	}
	return out, nil
}

// refitRow is refit of one row; a row whose equations cannot be solved stays
// as it is.
func refitRow(l *layer, g, r int, inv *mat.SymDense, gone []bool, out []float64) {
	m := l.matrix
	var at []int // columns that go and were not zero before
	for c := range m.Cols {
		if i := m.At(g, r, c); gone[i] {
			at = append(at, c)
		}
	}
	if len(at) == 0 || len(at) == m.Cols {
		return
	}
	sub, rhs := mat.NewSymDense(len(at), nil), mat.NewVecDense(len(at), nil)
	for i, c := range at {
		rhs.SetVec(i, l.w[m.At(g, r, c)])
		for j := i; j < len(at); j++ {
			sub.SetSym(i, j, inv.At(c, at[j]))
		}
	}
	var chol mat.Cholesky
	if !chol.Factorize(sub) {
		return
	}
	x := mat.NewVecDense(len(at), nil)
	if err := chol.SolveVecTo(x, rhs); err != nil {
		return
	}
	for c := range m.Cols {
		i := m.At(g, r, c)
		if gone[i] {
			continue
		}
		for k, d := range at {
			out[i] -= inv.At(c, d) * x.AtVec(k)
		}
	}
}

// dsnotCycles bounds how many weights of a row are exchanged.
const dsnotCycles = 50

// dsnot exchanges weights that go for weights that stay, row by row, as long as
// that brings the mean of the node's result closer to what it was: of those
// that go, the one returns that gives back most of the mean, measured against
// the variance of its input; of those that stay, the one goes that Wanda values
// least and whose mean points the right way. (Zhang et al. 2024, arXiv
// 2310.08915.) Blocks are left as they are.
func dsnot(l *layer, p Pattern, gone []bool) {
	if p.Rows > 0 {
		return
	}
	m := l.matrix
	for g := range m.Groups {
		e := exchange{l: l, pattern: p, gone: gone, means: l.moments.Means(g), squares: l.moments.MeanSquares(g)}
		for r := range m.Rows {
			e.row(g, r)
		}
	}
}

type exchange struct {
	l              *layer
	pattern        Pattern
	gone           []bool
	means, squares []float64
}

func (e *exchange) row(g, r int) {
	m := e.l.matrix
	off := 0.0 // mean of the result, less what it was
	for c := range m.Cols {
		if i := m.At(g, r, c); e.gone[i] {
			off -= e.l.w[i] * e.means[c]
		}
	}
	for range dsnotCycles {
		back, out := e.pair(g, r, off)
		if back < 0 || out < 0 {
			return
		}
		i, j := m.At(g, r, back), m.At(g, r, out)
		next := off + e.l.w[i]*e.means[back] - e.l.w[j]*e.means[out]
		if math.Abs(next) >= math.Abs(off) {
			return
		}
		e.gone[i], e.gone[j], off = false, true, next
	}
}

// pair returns the column that is to return and the one that is to go, -1 if
// there is none.
func (e *exchange) pair(g, r int, off float64) (back, out int) {
	m := e.l.matrix
	back, out = -1, -1
	most, least := 0.0, math.Inf(1)
	for c := range m.Cols {
		i := m.At(g, r, c)
		part := e.l.w[i] * e.means[c]
		variance := e.squares[c] - e.means[c]*e.means[c]
		if v := math.Abs(part) / (variance + 1e-12); e.gone[i] && part*off < 0 && v > most {
			most, back = v, c
		}
	}
	if back < 0 {
		return back, out
	}
	lo, hi := 0, m.Cols
	if n := e.pattern.M; n > 0 {
		lo = back / n * n
		hi = min(lo+n, m.Cols)
	}
	for c := lo; c < hi; c++ {
		i := m.At(g, r, c)
		cost := math.Abs(e.l.w[i]) * math.Sqrt(e.squares[c])
		if !e.gone[i] && e.l.w[i]*e.means[c]*off > 0 && cost < least {
			least, out = cost, c
		}
	}
	return back, out
}
