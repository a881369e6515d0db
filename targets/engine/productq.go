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
	rowsStep, colsStep := blocks(p.M, p.N, (p.Depth()+integerSpeed-1)/integerSpeed, gemm.MR, gemm.NR)
	across := (p.N + colsStep - 1) / colsStep
	down := (p.M + rowsStep - 1) / rowsStep
	e.Parallel(across*down, 1, func(lo, hi int) {
		tile := tilesI8.Get().(*kernel.TileI8)
		for i := lo; i < hi; i++ {
			r, c := i/across*rowsStep, i%across*colsStep
			gemm.Block(tile, p, kernel.Range{Lo: r, Hi: min(r+rowsStep, p.M)}, kernel.Range{Lo: c, Hi: min(c+colsStep, p.N)})
		}
		*tile = kernel.TileI8{}
		tilesI8.Put(tile)
	})
}
