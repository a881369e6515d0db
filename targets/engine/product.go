package engine

import (
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
)

// macsPerPiece is how many multiply-accumulates are worth a thread: some
// microseconds of a fast core.
const macsPerPiece = 1 << 18

// tiles lends the scratch of tile kernels.
var tiles = sync.Pool{New: func() any { return new(kernel.TileF32) }}

// productF32 computes p, divided among threads, and then what follows.
func productF32(e *op.Eval, p *kernel.ProductF32, then epilogue) {
	gemm := &e.Kernels.GemmF32
	unit := gemm.NR
	if p.M == 1 {
		unit *= kernel.RowPanels
	}
	d := divide(p.M, p.N, p.Depth(), gemm.MR, unit)
	e.Parallel(d.count, d.grain, func(lo, hi int) {
		rows, cols := d.block(lo, hi)
		productBlock(e.Kernels, p, then, rows, cols)
	})
}

// division says how a product of m by n is divided among threads: into count
// units of rows, or of columns, of which grain are worth a thread.
type division struct {
	m, n, unit   int
	count, grain int
	columns      bool
}

// divide plans a product whose kernel computes tiles of mr by nr. Threads share
// the rows, unless these are few: then B, of which each would read all, is
// larger than A.
func divide(m, n, depth, mr, nr int) division {
	d := division{m: m, n: n, unit: mr}
	d.columns = m <= 4*mr && n > nr || n >= 2*m && n >= manyPanels*nr
	if d.columns {
		d.unit = nr
		d.count, d.grain = ceilDiv(n, nr), ceilDiv(macsPerPiece, max(1, nr*m*depth))
		return d
	}
	d.count, d.grain = ceilDiv(m, mr), ceilDiv(macsPerPiece, max(1, mr*n*depth))
	return d
}

// manyPanels is from how many panels of B on threads get nearly equal numbers
// of them.
const manyPanels = 8

// block returns the rows and columns of the units [lo, hi).
func (d *division) block(lo, hi int) (rows, cols kernel.Range) {
	rows, cols = kernel.Range{Lo: 0, Hi: d.m}, kernel.Range{Lo: 0, Hi: d.n}
	if d.columns {
		cols = kernel.Range{Lo: lo * d.unit, Hi: min(hi*d.unit, d.n)}
	} else {
		rows = kernel.Range{Lo: lo * d.unit, Hi: min(hi*d.unit, d.m)}
	}
	return rows, cols
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(x, to int) int { return (x + to - 1) / to * to }
