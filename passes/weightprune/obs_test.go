package weightprune

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// leastSquares solves, by QR over all its free columns, for the change d of a
// row that makes d H d^T least where the columns of fixed are given.
func leastSquares(t *testing.T, h []float64, n int, fixed map[int]float64) []float64 {
	t.Helper()
	d := make([]float64, n)
	var free []int
	for c := range n {
		if x, ok := fixed[c]; ok {
			d[c] = x
		} else {
			free = append(free, c)
		}
	}
	if len(free) == 0 {
		return d
	}
	a, b := mat.NewDense(len(free), len(free), nil), mat.NewDense(len(free), 1, nil)
	for i, r := range free {
		for k, c := range free {
			a.Set(i, k, h[r*n+c])
		}
		for c, x := range fixed {
			b.Set(i, 0, b.At(i, 0)-h[r*n+c]*x)
		}
	}
	var x mat.Dense
	var qr mat.QR
	qr.Factorize(a)
	if err := qr.SolveTo(&x, false, b); err != nil {
		t.Fatal(err)
	}
	for i, c := range free {
		d[c] = x.At(i, 0)
	}
	return d
}

// goneRow returns by how much the weights of a row that go change, by column.
func goneRow(l *layer, g, r int, gone []bool) map[int]float64 {
	fixed := map[int]float64{}
	for c := range l.matrix.Cols {
		if i := l.matrix.At(g, r, c); gone[i] {
			fixed[c] = -l.w[i]
		}
	}
	return fixed
}

// bruteForce is the layer without what is gone, every row solved for by itself.
func bruteForce(t *testing.T, l *layer, gone []bool) []float64 {
	t.Helper()
	out := masked(l.w, gone)
	m := l.matrix
	for g := range m.Groups {
		h := l.moments.Hessian(g)
		for r := range m.Rows {
			for c, d := range leastSquares(t, h, m.Cols, goneRow(l, g, r, gone)) {
				if i := m.At(g, r, c); !gone[i] {
					out[i] = l.w[i] + d
				}
			}
		}
	}
	return out
}

// TestAgainstBruteForce solves every row over for the masks of SparseGPT and of
// magnitude: the refit is that solution, SparseGPT comes near it, and its mask is no worse
// than that of magnitude.
func TestAgainstBruteForce(t *testing.T) {
	for _, groups := range []int{1, 2} {
		l := sample(t, groups)
		for _, p := range patterns {
			g := p.grid(l.matrix)
			drop := g.tiles() / 2
			solved, err := solveOBS(l, p, l.w, drop, 0, 2)
			if err != nil {
				t.Fatal(err)
			}
			gone := zeroed(solved)
			best := bruteForce(t, l, gone)
			fitted, err := refit(l, gone)
			if err != nil {
				t.Fatal(err)
			}
			byMagnitude := bruteForce(t, l, p.choose(l.matrix, saliency.Magnitude(l.w), drop, false))
			least, other := squaredError(l, best), squaredError(l, byMagnitude)
			if e := squaredError(l, fitted); e > least*1.001 {
				t.Errorf("%d groups, %v: the refit errs by %.4f, the solution of its rows by %.4f", groups, p, e, least)
			}
			if e := squaredError(l, solved); e < least*0.9999 || e > least*1.6 {
				t.Errorf("%d groups, %v: SparseGPT errs by %.4f, the solution of its rows by %.4f", groups, p, e, least)
			}
			if least > other*1.05 {
				t.Errorf("%d groups, %v: the mask errs by %.4f, that of magnitude by %.4f", groups, p, least, other)
			}
			t.Logf("%d groups, %v: solution %.2f, refit %.2f, sparsegpt %.2f, magnitude with solution %.2f",
				groups, p, least, squaredError(l, fitted), squaredError(l, solved), other)
		}
	}
}

// TestElimination lets single weights go and expects of those after them, in
// blocks of every size, what solving for them gives.
func TestElimination(t *testing.T) {
	l := sample(t, 1)
	m := l.matrix
	h := l.moments.Hessian(0)
	inv, err := saliency.Inverse(h, m.Cols, 0)
	if err != nil {
		t.Fatal(err)
	}
	u, err := saliency.UpperFactor(inv)
	if err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{1, 7, m.Cols} {
		o := &obs{w: m.Load(0, l.w), rows: m.Rows, cols: m.Cols, u: u, gone: make([]bool, m.Rows*m.Cols)}
		was := slices.Clone(o.w)
		for r := range m.Rows {
			o.gone[r*m.Cols+5*r] = true
		}
		for lo := 0; lo < m.Cols; lo += width {
			hi := min(lo+width, m.Cols)
			for r := range m.Rows {
				o.row(r, lo, hi, make([]float64, hi-lo))
			}
		}
		for r := range m.Rows {
			fixed := map[int]float64{5 * r: -was[r*m.Cols+5*r]}
			for c := range 5 * r {
				fixed[c] = 0
			}
			for c, d := range leastSquares(t, h, m.Cols, fixed) {
				if got := o.w[r*m.Cols+c] - was[r*m.Cols+c]; math.Abs(got-d) > 1e-6 {
					t.Fatalf("blocks of %d: weight %d of row %d changes by %v, want %v", width, c, r, got, d)
				}
			}
		}
	}
}

// TestConjugateGradients compares the solver of all rows together with the
// solution of each.
func TestConjugateGradients(t *testing.T) {
	l := sample(t, 1)
	kernels, err := hostKernels()
	if err != nil {
		t.Fatal(err)
	}
	m := l.matrix
	gone := Pattern{}.choose(m, saliency.Magnitude(l.w), len(l.w)/2, false)
	want := bruteForce(t, l, gone)
	e := equations{h: l.moments.Hessian(0), c: make([]float64, m.Rows*m.Cols), rows: m.Rows, n: m.Cols, kernels: kernels, threads: 2}
	w := m.Load(0, l.w)
	keep := make([]bool, len(w))
	for r := range m.Rows {
		for c := range m.Cols {
			keep[r*m.Cols+c] = !gone[m.At(0, r, c)]
			for k := range m.Cols {
				e.c[r*m.Cols+c] += w[r*m.Cols+k] * e.h[k*m.Cols+c]
			}
		}
	}
	got := make([]float64, len(l.w))
	m.Store(0, got, e.solve(w, slices.Clone(w), keep, 1e-9))
	if a, b := squaredError(l, got), squaredError(l, want); a > b*1.001 {
		t.Errorf("error is %v, the least %v", a, b)
	}
}

// TestBalance expects the mean behind an activation, not in front of it.
func TestBalance(t *testing.T) {
	relu, unbound := clamp{saliency.Clamp{Hi: saliency.NoClamp.Hi}}, clamp{saliency.NoClamp}
	want := []float32{-30, -20, -10, -5, 4} // mean behind a Relu: 0.8
	x := []float32{-6, -4, -2, -1, 1}       // the same, shrunk
	b := relu.balance(want, x, 0)
	if m := relu.mean(x, b); math.Abs(m-0.8) > 1e-6 {
		t.Errorf("mean is %v, want 0.8", m)
	}
	if b := unbound.balance(want, x, 0); math.Abs(b-(-12.2+2.4)) > 1e-6 {
		t.Errorf("bias is %v, want -9.8", b)
	}
	dead := []float32{-3, -2}
	if b := relu.balance(dead, []float32{-1, -0.5}, 0.25); b != 0.25 {
		t.Errorf("a channel that never comes through gets the bias %v, want its own", b)
	}
}
