package engine

import (
	"slices"
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// sparseMatrix is a matrix of weights, a row for each output, few of which are
// not zero: in blocks of four rows by one column, or in single rows.
type sparseMatrix struct {
	rows, cols int
	height     int // rows of a block: 1 or 4
	values     []float32
	columns    []int32
	start      []int32
}

// sparseLimit says up to which shares of blocks, or of single elements, that are
// not zero sparse kernels pay.
type sparseLimit struct{ blocks, single float64 }

// sparseLeast is how many rows and columns there are at least: with fewer, the
// overhead of a row matters.
const sparseLeast = 8

// singleCost is how much longer a multiply-accumulate takes in a single row than
// in a block, whose rows share what is loaded.
const singleCost = 1.8

// newSparseMatrix returns the matrix w, row by row, nil if it is too dense.
func newSparseMatrix(w []float32, rows, cols int, limit sparseLimit) *sparseMatrix {
	if min(rows, cols) < sparseLeast || !limit.hopes(w) {
		return nil
	}
	height := 4
	single := sparseShare(w, rows, cols, 1)
	blocks := limit.blocks + 1
	if rows%4 == 0 {
		blocks = sparseShare(w, rows, cols, 4)
	}
	if blocks > limit.blocks || single <= limit.single && single*singleCost < blocks {
		if height = 1; single > limit.single {
			return nil
		}
	}
	s := &sparseMatrix{rows: rows, cols: cols, height: height, start: []int32{0}}
	for r := 0; r < rows; r += height {
		s.addRow(w, r)
	}
	return s
}

// hopes reports whether so few of w are not zero that a matrix of it may be
// within the limit, in blocks or not, however they lie.
func (l sparseLimit) hopes(w []float32) bool {
	most := int(max(l.blocks, l.single) * float64(len(w)))
	for some := range slices.Chunk(w, 4096) {
		for _, x := range some {
			if x != 0 {
				most--
			}
		}
		if most < 0 {
			return false
		}
	}
	return true
}

// sparseShare is the share of blocks of height rows by one column that are not
// all zero.
func sparseShare(w []float32, rows, cols, height int) float64 {
	n := 0
	for r := 0; r < rows; r += height {
		for c := range cols {
			if anyOf(w, r, c, cols, height) {
				n++
			}
		}
	}
	return float64(n) / float64(rows/height*cols)
}

func anyOf(w []float32, r, c, cols, height int) bool {
	for i := range height {
		if w[(r+i)*cols+c] != 0 {
			return true
		}
	}
	return false
}

// addRow appends the blocks of rows r to r+height-1.
func (s *sparseMatrix) addRow(w []float32, r int) {
	for c := range s.cols {
		if !anyOf(w, r, c, s.cols, s.height) {
			continue
		}
		s.columns = append(s.columns, int32(c))
		for i := range s.height {
			s.values = append(s.values, w[(r+i)*s.cols+c])
		}
	}
	s.start = append(s.start, int32(len(s.columns)))
}

// blocks is the number of rows of blocks.
func (s *sparseMatrix) blocks() int { return s.rows / s.height }

// work is how many multiply-accumulates take as long as a row of blocks for so
// many pixels. To begin and end one takes as long as some entries.
func (s *sparseMatrix) work(pixels int) int {
	return (len(s.values)/s.blocks() + 4*s.height) * pixels
}

// multiply computes a range of rows of blocks of a product whose weights and
// columns are s's, or, if p has some, p's columns. act's clamp is applied, the
// rest of it is not.
func (s *sparseMatrix) multiply(k *kernel.Table, p kernel.SparseF32, act *activation, rows kernel.Range) {
	p.Values, p.Start = s.values, s.start
	p.Lo, p.Hi = act.limits()
	if p.Columns == nil {
		p.Columns = s.columns
	}
	if s.height == 4 {
		k.SparseBlocks(&p, rows)
	} else {
		k.SparseRows(&p, rows)
	}
}

// sparseScratch lends operands and results in the layouts of sparse kernels.
var sparseScratch = sync.Pool{New: func() any { return new([]float32) }}

// borrow returns n elements, whose contents are not defined, and what to give
// back to the pool.
func borrow(pool *sync.Pool, n int) ([]float32, *[]float32) {
	buf := pool.Get().(*[]float32)
	if len(*buf) < n {
		*buf = make([]float32, n)
	}
	return (*buf)[:n], buf
}
