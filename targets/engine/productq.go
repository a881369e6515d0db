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

// productI8 computes p, divided among threads.
func productI8(e *op.Eval, gemm kernel.GemmI8, p *kernel.ProductI8) {
	d := divide(p.M, p.N, ceilDiv(p.Depth(), integerSpeed), gemm.MR, gemm.NR)
	e.Parallel(d.count, d.grain, func(lo, hi int) {
		tile := tilesI8.Get().(*kernel.TileI8)
		rows, cols := d.block(lo, hi)
		gemm.Block(tile, p, rows, cols)
		*tile = kernel.TileI8{}
		tilesI8.Put(tile)
	})
}
