package engine

import (
	"bytes"
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// sparseIntegers are the int8 weights of a product with 8-bit numbers, a row for
// each column of the result, few of which are not zero: in blocks of four rows by
// one column, or in single rows, as kernel.SparseI8 has them.
type sparseIntegers struct {
	rows, depth int
	height      int // rows of a block: 1 or 4
	values      []int16
	columns     []int32
	start       []int32
	flip        uint8 // makes unsigned numbers of those of the operand
}

// sparsePixels is how many rows of the operand are turned into columns at once,
// which the lanes of the kernels lie along.
const sparsePixels = 32

// Times in units of a multiply-accumulate of a dense product with weights that
// fit the fastest kernel: to turn a byte of a row into one of a column or back,
// and to begin and finish a row of a block, for one pixel.
const (
	turnCost   = 4
	finishCost = 12
)

// newSparseIntegers returns the weights w of so many rows, for operands of the
// given type, and adds to the bias what the product needs for that; nil if a
// dense product takes less time, or saturates and is to do so.
func newSparseIntegers(k *kernel.Table, typ tensor.DType, w []int8, rows int, bias []int32) *sparseIntegers {
	depth := len(w) / max(1, rows)
	if min(rows, depth) < sparseLeast || k.GemmU8S8.Saturates {
		return nil
	}
	dense := float64(rows * depth)
	moved := float64(turnCost*(rows+depth) + finishCost*rows)
	best, height := dense-moved, 0
	if left := len(w) - bytes.Count(kernel.Bytes(w), []byte{0}); k.SparseI8Cost*float64(left) >= best {
		return nil
	}
	for _, h := range []int{1, 4} {
		if rows%h != 0 {
			continue
		}
		cost := k.SparseI8Cost * float64(h*blocksOf(w, rows, depth, h))
		if h == 1 {
			cost *= singleCost
		}
		if cost < best {
			best, height = cost, h
		}
	}
	if height == 0 {
		return nil
	}
	s := &sparseIntegers{rows: rows, depth: depth, height: height, start: []int32{0}}
	for r := 0; r < rows; r += height {
		s.addRow(w, r)
	}
	if typ == tensor.Int8 {
		s.flip = 0x80
		for r := range rows {
			bias[r] -= kernel.SumS8(w[r*depth:(r+1)*depth]) << 7
		}
	}
	return s
}

// blocksOf counts the blocks of height rows by one column that are not all zero,
// those of each row rounded up to pairs.
func blocksOf(w []int8, rows, depth, height int) int {
	n := 0
	for r := 0; r < rows; r += height {
		for c := range depth {
			if anyWeight(w, r, c, depth, height) {
				n++
			}
		}
		n += n % 2
	}
	return n
}

func anyWeight(w []int8, r, c, depth, height int) bool {
	for i := range height {
		if w[(r+i)*depth+c] != 0 {
			return true
		}
	}
	return false
}

// addRow appends the blocks of the rows from r on, in pairs.
func (s *sparseIntegers) addRow(w []int8, r int) {
	var columns []int
	for c := range s.depth {
		if anyWeight(w, r, c, s.depth, s.height) {
			columns = append(columns, c)
		}
	}
	for len(columns) > 0 {
		pair := columns[:min(2, len(columns))]
		columns = columns[len(pair):]
		for i := range s.height {
			row, both := w[(r+i)*s.depth:], [2]int16{}
			for j, c := range pair {
				both[j] = int16(row[c])
			}
			s.values = append(s.values, both[0], both[1])
		}
		s.columns = append(s.columns, int32(pair[0]*sparsePixels), int32(pair[len(pair)-1]*sparsePixels))
	}
	s.start = append(s.start, int32(len(s.columns)/2))
}

// byteScratch lends operands and results in the layout of the sparse kernels.
var byteScratch = sync.Pool{New: func() any { return new([]uint8) }}

// multiply computes p, whose packed weights are not read, with 8-bit result and
// finishes it by a look-up, unless table is nil.
func (s *sparseIntegers) multiply(e *op.Eval, p *kernel.ProductI8, table *table) {
	strips := ceilDiv(p.M, sparsePixels)
	work := (len(s.values)*2 + turnCost*(s.rows+s.depth) + finishCost*s.rows) * sparsePixels
	e.Parallel(strips, 1+integerSpeed*macsPerPiece/work, func(lo, hi int) {
		buf := byteScratch.Get().(*[]uint8)
		if n := (s.depth + s.rows) * sparsePixels; len(*buf) < n {
			*buf = make([]uint8, n)
		}
		x, y := (*buf)[:s.depth*sparsePixels], (*buf)[s.depth*sparsePixels:][:s.rows*sparsePixels]
		for i := lo; i < hi; i++ {
			first := i * sparsePixels
			s.strip(e.Kernels, p, table, x, y, first, min(sparsePixels, p.M-first))
		}
		byteScratch.Put(buf)
	})
}

// strip computes so many rows of p from the first on.
func (s *sparseIntegers) strip(k *kernel.Table, p *kernel.ProductI8, table *table, x, y []uint8, first, count int) {
	var list [sparsePixels]int32
	rows := placesOf(&list, p.ARows, p.LDA, first, count)
	taps := p.Taps
	if taps == nil {
		taps = []int32{0}
	}
	for t, tap := range taps {
		k.GatherU8(x[t*p.K*sparsePixels:], sparsePixels, p.A[tap:], rows, p.K, s.flip)
	}
	prod := kernel.SparseI8{
		Values: s.values, Columns: s.columns, Start: s.start, X: x, Out: y, Bias: p.Bias, Scale: p.Scale,
		LDO: sparsePixels, Pixels: (count + 15) &^ 15, Lo: p.Lo, Hi: p.Hi, Zero: p.Zero,
	}
	if s.height == 4 {
		k.SparseBlocksI8(&prod, kernel.Range{Hi: s.rows / 4})
	} else {
		k.SparseRowsI8(&prod, kernel.Range{Hi: s.rows})
	}
	if table != nil {
		k.Lookup(y, y, &table.bytes)
	}
	k.ScatterU8(p.C8, placesOf(&list, p.CRows, p.LDC, first, count), y, sparsePixels, s.rows)
}

// placesOf returns the offsets of so many rows from the first on.
func placesOf(list *[sparsePixels]int32, rows []int32, ld, first, count int) []int32 {
	if rows != nil {
		return rows[first : first+count]
	}
	for i := range count {
		list[i] = int32((first + i) * ld)
	}
	return list[:count]
}
