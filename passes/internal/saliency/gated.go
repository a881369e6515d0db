package saliency

import "github.com/onnxpack/onnxpack/graph/kernel"

// Gated sums, for each row of a weight, the squares of the inputs in those
// columns where the row's result counts.
type Gated struct {
	matrix  *Matrix
	kernels *kernel.Table
	threads int
	squares [][]float64 // by group, of Cols
	gated   [][]float64 // by group, Rows x Cols
}

// NewGated returns sums without columns.
func NewGated(m *Matrix, kernels *kernel.Table, threads int) *Gated {
	return &Gated{
		matrix: m, kernels: kernels, threads: threads,
		squares: zeros(m.Groups, m.Cols), gated: zeros(m.Groups, m.Rows*m.Cols),
	}
}

// Add counts columns of inputs x; gate tells of each row and column how much it
// counts.
func (s *Gated) Add(x, gate *Columns) {
	m := s.matrix
	groups, threads := shared(s.threads, m.Groups)
	Parallel(groups, m.Groups, func(g int) {
		squares := make([]float32, len(x.Groups[g]))
		s.kernels.Mul(squares, x.Groups[g], x.Groups[g])
		for i := range m.Cols {
			s.squares[g][i] += float64(s.kernels.Sum(squares[i*x.N : (i+1)*x.N]))
		}
		p := product{a: gate.Groups[g], b: squares, rows: m.Rows, cols: m.Cols, n: x.N}
		p.each(s.kernels, threads, func(i int, z []float32) { addTo(s.gated[g][i*m.Cols:], z) })
	})
}

// Shares returns, row by row of a group, which share of each input's squares
// lies in columns that count, over the mean of the shares of the row.
func (s *Gated) Shares(g int) []float64 {
	cols := s.matrix.Cols
	shares := make([]float64, len(s.gated[g]))
	for at := 0; at < len(shares); at += cols {
		row, sum := shares[at:at+cols], 0.0
		for i, q := range s.squares[g] {
			if q > 0 {
				row[i] = s.gated[g][at+i] / q
			}
			sum += row[i]
		}
		for i := range row {
			row[i] *= float64(cols) / max(sum, 1e-30)
		}
	}
	return shares
}
