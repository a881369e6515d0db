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

// finisher works on what a kernel stored: the elements [from, end) of p's
// result, which are rows, or parts of one.
type finisher func(k *kernel.Table, p *kernel.ProductI8, from, end int)

// productI8 computes p, divided among threads, and finishes it, if finish is
// not nil.
func productI8(e *op.Eval, gemm kernel.GemmI8, p *kernel.ProductI8, finish finisher) {
	d := divide(p.M, p.N, ceilDiv(p.Depth(), integerSpeed), gemm.MR, gemm.NR)
	e.Parallel(d.count, d.grain, func(lo, hi int) {
		tile := tilesI8.Get().(*kernel.TileI8)
		rows, cols := d.block(lo, hi)
		if finish == nil {
			gemm.Block(tile, p, rows, cols)
		} else {
			finishedBlock(e.Kernels, gemm, tile, p, finish, rows, cols)
		}
		*tile = kernel.TileI8{}
		tilesI8.Put(tile)
	})
}

// finishedBlock computes a block of a product and finishes it, some rows after
// the other, which are still in the cache then.
func finishedBlock(k *kernel.Table, gemm kernel.GemmI8, tile *kernel.TileI8, p *kernel.ProductI8, finish finisher, rows, cols kernel.Range) {
	const most = 32 << 10 // elements
	step := max(1, most/max(1, cols.Hi-cols.Lo)/gemm.MR) * gemm.MR
	for lo := rows.Lo; lo < rows.Hi; lo += step {
		some := kernel.Range{Lo: lo, Hi: min(lo+step, rows.Hi)}
		gemm.Block(tile, p, some, cols)
		finishRows(k, p, finish, some, cols)
	}
}

// finishRows finishes a block of a product, rows that lie one after the other
// at once.
func finishRows(k *kernel.Table, p *kernel.ProductI8, finish finisher, rows, cols kernel.Range) {
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
		finish(k, p, from, end)
	}
}
