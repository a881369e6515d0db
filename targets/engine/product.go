package engine

import (
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
)

// macsPerTask is how many multiply-accumulates are worth a thread: some 20
// microseconds of a fast core.
const macsPerTask = 1 << 20

// tiles lends the scratch of tile kernels.
var tiles = sync.Pool{New: func() any { return new(kernel.TileF32) }}

// productF32 computes p, divided among threads, and then act, whose clamp p
// already has, on what it stored.
func productF32(e *op.Eval, p *kernel.ProductF32, act *activation) {
	gemm := e.Kernels.GemmF32
	rowsStep, colsStep := blocks(p.M, p.N, p.Depth(), gemm.MR, gemm.NR)
	across := (p.N + colsStep - 1) / colsStep
	down := (p.M + rowsStep - 1) / rowsStep
	e.Parallel(across*down, 1, func(lo, hi int) {
		tile := tiles.Get().(*kernel.TileF32)
		for i := lo; i < hi; i++ {
			r, c := i/across*rowsStep, i%across*colsStep
			rows := kernel.Range{Lo: r, Hi: min(r+rowsStep, p.M)}
			cols := kernel.Range{Lo: c, Hi: min(c+colsStep, p.N)}
			gemm.Block(tile, p, rows, cols)
			if act.apply != nil {
				applyRows(e.Kernels, p, act, rows, cols)
			}
		}
		*tile = kernel.TileF32{}
		tiles.Put(tile)
	})
}

// blocks divides a product of m by n with the given depth into pieces of work
// for threads: ranges of rows where there are many, else of columns too.
func blocks(m, n, depth, mr, nr int) (rows, cols int) {
	work := max(1, n*depth)
	rows = roundUp(max(1, (macsPerTask+work-1)/work), mr)
	if rows < m || m > 4*mr {
		return max(min(rows, m), 1), max(n, 1)
	}
	work = max(1, m*depth)
	cols = roundUp(max(1, (macsPerTask+work-1)/work), nr)
	return max(m, 1), max(min(cols, n), 1)
}

func roundUp(x, to int) int { return (x + to - 1) / to * to }

// applyRows applies an activation to a block of a product.
func applyRows(k *kernel.Table, p *kernel.ProductF32, act *activation, rows, cols kernel.Range) {
	if p.CRows == nil && p.LDC == p.N && cols.Hi-cols.Lo == p.N {
		block := p.C[rows.Lo*p.LDC : rows.Hi*p.LDC]
		act.apply(k, block, block)
		return
	}
	for i := rows.Lo; i < rows.Hi; i++ {
		at := i * p.LDC
		if p.CRows != nil {
			at = int(p.CRows[i])
		}
		row := p.C[at+cols.Lo : at+cols.Hi]
		act.apply(k, row, row)
	}
}
