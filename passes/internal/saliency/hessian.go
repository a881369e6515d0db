package saliency

import (
	"fmt"

	"gonum.org/v1/gonum/mat"
)

// Inverse returns the inverse of a symmetric matrix of n x n elements, after
// damp times the mean of its diagonal is added to the diagonal, which makes
// room for inputs that depend on each other. An input that is always zero
// counts as having the mean square of the others. damp is raised tenfold, at
// most five times, until the matrix is positive definite.
func Inverse(h []float64, n int, damp float64) (*mat.SymDense, error) {
	mean := 0.0
	for i := range n {
		mean += h[i*n+i] / float64(n)
	}
	if mean == 0 {
		mean = 1
	}
	a := mat.NewSymDense(n, nil)
	for try := 0; ; try++ {
		for i := range n {
			for j := i; j < n; j++ {
				a.SetSym(i, j, h[i*n+j])
			}
			d := h[i*n+i]
			if d == 0 {
				d = mean
			}
			a.SetSym(i, i, d+damp*mean)
		}
		var c mat.Cholesky
		if c.Factorize(a) {
			inv := mat.NewSymDense(n, nil)
			if err := c.InverseTo(inv); err == nil {
				return inv, nil
			}
		}
		if try == 5 {
			return nil, fmt.Errorf("the Hessian of %d inputs is not positive definite", n)
		}
		damp = max(10*damp, 1e-8)
	}
}

// UpperFactor returns U, upper triangular, row by row, with inv = U^T U.
// Row i of U, over its first element, says by how much the weights after i have
// to change for each unit that weight i changes, once those before i are fixed
// (Frantar & Alistarh 2023, arXiv 2301.00774, section 3.2).
func UpperFactor(inv *mat.SymDense) ([]float64, error) {
	n := inv.SymmetricDim()
	var c mat.Cholesky
	if !c.Factorize(inv) {
		return nil, fmt.Errorf("the inverse Hessian of %d inputs is not positive definite", n)
	}
	var u mat.TriDense
	c.UTo(&u)
	flat := make([]float64, n*n)
	for i := range n {
		for j := i; j < n; j++ {
			flat[i*n+j] = u.At(i, j)
		}
	}
	return flat, nil
}
