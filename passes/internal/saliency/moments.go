package saliency

import (
	"fmt"
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// Moments are sums over columns of inputs: of the inputs, of their squares,
// and, if wanted, of all their products, which make up the Hessian
// H = sum of x x^T of the squared error of each row of a weight (Hassibi &
// Stork 1993; Frantar & Alistarh 2022, arXiv 2208.11580). Sums are kept in
// float64 and do not depend on the number of threads.
type Moments struct {
	Matrix *Matrix
	Count  int // columns
	// Centered makes Hessian and Energies those of the deviations of inputs from
	// their means: they are those of a weight whose results have a bias to make up
	// for their mean.
	Centered bool

	sums    [][]float64 // by group, of Cols
	squares [][]float64
	hessian [][]float64 // by group, Cols x Cols, the lower triangle; nil if not wanted

	kernels *kernel.Table
	threads int
}

// NewMoments returns moments without columns. Products are summed if hessian
// is set, which takes 8*Groups*Cols*Cols bytes ([HessianBytes]).
func NewMoments(m *Matrix, hessian bool, kernels *kernel.Table, threads int) *Moments {
	s := &Moments{Matrix: m, kernels: kernels, threads: threads}
	s.sums, s.squares = zeros(m.Groups, m.Cols), zeros(m.Groups, m.Cols)
	if hessian {
		s.hessian = zeros(m.Groups, m.Cols*m.Cols)
	}
	return s
}

// HessianBytes is the memory that the Hessians of m take.
func HessianBytes(m *Matrix) int64 { return 8 * int64(m.Groups) * int64(m.Cols) * int64(m.Cols) }

func zeros(n, each int) [][]float64 {
	flat := make([]float64, n*each)
	rows := make([][]float64, n)
	for i := range rows {
		rows[i] = flat[i*each : (i+1)*each : (i+1)*each]
	}
	return rows
}

// Add counts columns.
func (s *Moments) Add(c *Columns) error {
	if len(c.Groups) != s.Matrix.Groups {
		return fmt.Errorf("columns of %d groups, want %d", len(c.Groups), s.Matrix.Groups)
	}
	s.Count += c.N
	groups, threads := shared(s.threads, s.Matrix.Groups)
	Parallel(groups, s.Matrix.Groups, func(g int) {
		s.addPlain(g, c)
		if s.hessian == nil {
			return
		}
		cols := s.Matrix.Cols
		p := product{a: c.Groups[g], b: c.Groups[g], rows: cols, cols: cols, n: c.N, triangle: true}
		p.each(s.kernels, threads, func(i int, x []float32) { addTo(s.hessian[g][i*cols:], x[:i+1]) })
	})
	return nil
}

// shared divides threads between groups, and what is done for each of them.
func shared(threads, groups int) (outer, inner int) {
	if groups > 1 {
		return threads, 1
	}
	return 1, threads
}

func (s *Moments) addPlain(g int, c *Columns) {
	for i := range s.Matrix.Cols {
		row := c.Groups[g][i*c.N : (i+1)*c.N]
		s.sums[g][i] += float64(s.kernels.Sum(row))
		s.squares[g][i] += float64(s.kernels.SumSquares(row))
	}
}

func addTo(dst []float64, x []float32) {
	for i, v := range x {
		dst[i] += float64(v)
	}
}

// Means returns the mean of each input of a group.
func (s *Moments) Means(g int) []float64 { return s.divided(s.sums[g]) }

// MeanSquares returns the mean square of each input of a group.
func (s *Moments) MeanSquares(g int) []float64 { return s.divided(s.squares[g]) }

func (s *Moments) divided(x []float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / float64(max(1, s.Count))
	}
	return y
}

// Energies returns the diagonal of the Hessian of a group.
func (s *Moments) Energies(g int) []float64 {
	e := s.MeanSquares(g)
	if s.Centered {
		for i, mean := range s.Means(g) {
			e[i] = max(e[i]-mean*mean, 0)
		}
	}
	return e
}

// HasHessian reports whether products are summed.
func (s *Moments) HasHessian() bool { return s.hessian != nil }

// Hessian returns the mean of x x^T of a group, row by row. Products must have
// been summed.
func (s *Moments) Hessian(g int) []float64 {
	n := s.Matrix.Cols
	h := s.divided(s.hessian[g])
	if s.Centered {
		means := s.Means(g)
		for i := range n {
			for j := range i + 1 {
				h[i*n+j] -= means[i] * means[j]
			}
		}
	}
	for i := range n {
		for j := range i {
			h[j*n+i] = h[i*n+j]
		}
	}
	return h
}

// Parallel calls f(0), …, f(n-1) on so many threads, 0 being one for each core
// that Go uses. The order of calls is not defined.
func Parallel(threads, n int, f func(i int)) {
	threads = min(Threads(threads), n)
	if threads <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range threads {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
