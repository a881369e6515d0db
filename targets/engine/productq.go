package engine

import (
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
)

// integerSpeed is how many integer multiply-accumulates take the time of one
// of float32, at least.
const integerSpeed = 2

// tilesI8 lends the scratch of integer tile kernels.
var tilesI8 = sync.Pool{New: func() any { return new(kernel.TileI8) }}

// productI8 computes p, divided among threads, and what r does to the bytes
// that it stored.
func productI8(e *op.Eval, gemm kernel.GemmI8, p *kernel.ProductI8, r *requantization) {
	d := divide(p.M, p.N, ceilDiv(p.Depth(), integerSpeed), gemm.MR, gemm.NR)
	e.Parallel(d.count, d.grain, func(lo, hi int) {
		tile := tilesI8.Get().(*kernel.TileI8)
		rows, cols := d.block(lo, hi)
		if r.table == nil {
			gemm.Block(tile, p, rows, cols)
		} else {
			finishedBlock(e.Kernels, gemm, tile, p, r, rows, cols)
		}
		*tile = kernel.TileI8{}
		tilesI8.Put(tile)
	})
}

// finishedBlock computes a block of a product and finishes it, some rows after
// the other, which are still in the cache then.
func finishedBlock(k *kernel.Table, gemm kernel.GemmI8, tile *kernel.TileI8, p *kernel.ProductI8, r *requantization, rows, cols kernel.Range) {
	const most = 64 << 10 // bytes
	step := max(1, most/max(1, cols.Hi-cols.Lo)/gemm.MR) * gemm.MR
	for lo := rows.Lo; lo < rows.Hi; lo += step {
		some := kernel.Range{Lo: lo, Hi: min(lo+step, rows.Hi)}
		gemm.Block(tile, p, some, cols)
		finishRows(k, p, r, some, cols)
	}
}

// finishRows finishes a block of a product, rows that lie one after the other
// at once.
func finishRows(k *kernel.Table, p *kernel.ProductI8, r *requantization, rows, cols kernel.Range) {
	at := func(i int) int {
		if p.CRows != nil {
			return int(p.CRows[i])
		}
		return i * p.LDC
	}
	width := cols.Hi - cols.Lo
	for i := rows.Lo; i < rows.Hi; {
		from := at(i) + cols.Lo
		end := from + width
		for i++; i < rows.Hi && at(i)+cols.Lo == end; i++ {
			end += width
		}
		r.finish(k, p.C8[from:end])
	}
}
