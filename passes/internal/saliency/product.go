package saliency

import "github.com/onnxpack/onnxpack/graph/kernel"

// AddProduct adds a*b^T to dst, [rows, cols], where a is [rows, n] and b is
// [cols, n]. The sum over n is taken in float32, so n is the columns of one
// sample. It does not depend on the number of threads.
func AddProduct(dst []float64, a, b []float32, rows, cols, n int, k *kernel.Table, threads int) {
	if n == 0 {
		return
	}
	gemm := k.GemmF32
	packed := make([]float32, gemm.PackedLen(n, cols))
	k.PackF32(packed, b, n, cols, n, true)
	Parallel(threads, (rows+rowsPerTask-1)/rowsPerTask, func(task int) {
		lo := task * rowsPerTask
		hi := min(lo+rowsPerTask, rows)
		block := make([]float32, (hi-lo)*cols)
		p := kernel.ProductF32{
			Geometry: kernel.Geometry{M: hi - lo, N: cols, K: n, LDA: n, LDC: cols},
			A:        a[lo*n:], B: packed, C: block,
		}
		gemm.Block(new(kernel.TileF32), &p, kernel.Range{Hi: hi - lo}, kernel.Range{Hi: cols})
		addTo(dst[lo*cols:hi*cols], block)
	})
}
