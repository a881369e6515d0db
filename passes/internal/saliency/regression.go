package saliency

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// Regression sums what a fit of a weight to wanted results needs: of the
// inputs x that the weight multiplies, the [Moments] with Hessian, and of the
// wanted results y their sums and their products with the inputs, y x^T.
type Regression struct {
	Inputs *Moments

	sums  [][]float64    // of y, by group, of Rows
	cross [][]float64    // by group, Rows x Cols
	first [2][][]float64 // sums and cross as they were first
}

// NewRegression returns a regression without columns.
func NewRegression(m *Matrix, kernels *kernel.Table, threads int) *Regression {
	return &Regression{
		Inputs: NewMoments(m, true, kernels, threads),
		sums:   zeros(m.Groups, m.Rows), cross: zeros(m.Groups, m.Rows*m.Cols),
	}
}

// Sum returns the regression of the columns of two.
func Sum(a, b *Regression) *Regression {
	s := NewRegression(a.Inputs.Matrix, a.Inputs.kernels, a.Inputs.threads)
	s.Inputs.Count = a.Inputs.Count + b.Inputs.Count
	s.Inputs.Centered = a.Inputs.Centered
	for _, r := range []*Regression{a, b} {
		for g := range s.sums {
			addAll(s.sums[g], r.sums[g])
			addAll(s.cross[g], r.cross[g])
			addAll(s.Inputs.sums[g], r.Inputs.sums[g])
			addAll(s.Inputs.squares[g], r.Inputs.squares[g])
			addAll(s.Inputs.hessian[g], r.Inputs.hessian[g])
		}
	}
	return s
}

func addAll(dst, x []float64) {
	for i, v := range x {
		dst[i] += v
	}
}

// Add counts columns of inputs and of the results that are wanted of them.
func (r *Regression) Add(x, y *Columns) error {
	if err := r.Inputs.Add(x); err != nil {
		return err
	}
	r.AddResults(x, y)
	return nil
}

// AddResults counts results that are wanted of columns of inputs, which are
// counted already.
func (r *Regression) AddResults(x, y *Columns) {
	m, s := r.Inputs.Matrix, r.Inputs
	groups, threads := shared(s.threads, m.Groups)
	Parallel(groups, m.Groups, func(g int) {
		for i := range m.Rows {
			r.sums[g][i] += float64(s.kernels.Sum(y.Groups[g][i*y.N : (i+1)*y.N]))
		}
		p := product{a: y.Groups[g], b: x.Groups[g], rows: m.Rows, cols: m.Cols, n: x.N}
		p.each(s.kernels, threads, func(i int, z []float32) { addTo(r.cross[g][i*m.Cols:], z) })
	})
}

// Clear forgets the wanted results, so that others can be added. Those that were
// wanted first come back with [Regression.Rewind].
func (r *Regression) Clear() {
	if r.first[0] == nil {
		r.first = [2][][]float64{cloned(r.sums), cloned(r.cross)}
	}
	for g := range r.sums {
		clear(r.sums[g])
		clear(r.cross[g])
	}
}

// Rewind makes the results wanted that were counted first.
func (r *Regression) Rewind() {
	for g := 0; r.first[0] != nil && g < len(r.sums); g++ {
		copy(r.sums[g], r.first[0][g])
		copy(r.cross[g], r.first[1][g])
	}
}

func cloned(x [][]float64) [][]float64 {
	y := make([][]float64, len(x))
	for i := range x {
		y[i] = slices.Clone(x[i])
	}
	return y
}

// Means returns the means of the wanted results of a group.
func (r *Regression) Means(g int) []float64 { return r.Inputs.divided(r.sums[g]) }

// Cross returns the mean of y x^T of a group, row by row; of the deviations of
// both from their means, if the inputs are Centered.
func (r *Regression) Cross(g int) []float64 {
	c := r.Inputs.divided(r.cross[g])
	if r.Inputs.Centered {
		y, x := r.Means(g), r.Inputs.Means(g)
		for i := range y {
			for k := range x {
				c[i*len(x)+k] -= y[i] * x[k]
			}
		}
	}
	return c
}
