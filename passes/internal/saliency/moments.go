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
	Matrix  *Matrix
	Count   int         // columns
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
	if s.hessian == nil || s.Matrix.Groups > 1 {
		Parallel(s.threads, s.Matrix.Groups, func(g int) {
			s.addPlain(g, c)
			if s.hessian != nil {
				s.addSmall(g, c)
			}
		})
		return nil
	}
	s.addPlain(0, c)
	s.addLarge(c)
	return nil
}

func (s *Moments) addPlain(g int, c *Columns) {
	for i := range s.Matrix.Cols {
		row := c.Groups[g][i*c.N : (i+1)*c.N]
		s.sums[g][i] += float64(s.kernels.Sum(row))
		s.squares[g][i] += float64(s.kernels.SumSquares(row))
	}
}

// addSmall adds the products of a group by one matrix-vector product for each
// column.
func (s *Moments) addSmall(g int, c *Columns) {
	x, cols := c.Groups[g], s.Matrix.Cols
	dst := make([]float32, cols)
	for i := range cols {
		s.kernels.Gemv(dst[:i+1], x, x[i*c.N:(i+1)*c.N], c.N)
		addTo(s.hessian[g][i*cols:], dst[:i+1])
	}
}

// rowsPerTask is how many rows of a Hessian a thread computes at a time.
const rowsPerTask = 96

// addLarge adds the products of the only group by matrix products of blocks of
// rows, as far as the diagonal.
func (s *Moments) addLarge(c *Columns) {
	x, cols := c.Groups[0], s.Matrix.Cols
	gemm := s.kernels.GemmF32
	packed := make([]float32, gemm.PackedLen(c.N, cols))
	s.kernels.PackF32(packed, x, c.N, cols, c.N, true)
	Parallel(s.threads, (cols+rowsPerTask-1)/rowsPerTask, func(task int) {
		lo := task * rowsPerTask
		hi := min(lo+rowsPerTask, cols)
		dst := make([]float32, (hi-lo)*hi)
		p := kernel.ProductF32{
			Geometry: kernel.Geometry{M: hi - lo, N: hi, K: c.N, LDA: c.N, LDC: hi},
			A:        x[lo*c.N:], B: packed, C: dst,
		}
		gemm.Block(new(kernel.TileF32), &p, kernel.Range{Hi: hi - lo}, kernel.Range{Hi: hi})
		for i := lo; i < hi; i++ {
			addTo(s.hessian[0][i*cols:], dst[(i-lo)*hi:][:i+1])
		}
	})
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

// HasHessian reports whether products are summed.
func (s *Moments) HasHessian() bool { return s.hessian != nil }

// Hessian returns the mean of x x^T of a group, row by row. Products must have
// been summed.
func (s *Moments) Hessian(g int) []float64 {
	n := s.Matrix.Cols
	h := s.divided(s.hessian[g])
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
