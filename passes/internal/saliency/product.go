package saliency

import "github.com/onnxpack/onnxpack/graph/kernel"

const (
	// rowsPerTask is how many rows of a product a thread computes at a time.
	rowsPerTask = 96
	// fewElements is how many elements a product has at most that is computed
	// row by row.
	fewElements = 4096
)

// product is a b^T, for a of rows and b of cols rows of n numbers.
type product struct {
	a, b       []float32
	rows, cols int
	n          int
	triangle   bool // only columns up to that of the row's number are wanted
}

// each computes the product on several threads and hands it out row by row.
func (p *product) each(kernels *kernel.Table, threads int, row func(i int, x []float32)) {
	n := p.n
	if p.rows*p.cols <= fewElements {
		dst := make([]float32, p.cols)
		for i := range p.rows {
			kernels.Gemv(dst[:p.width(i+1)], p.b, p.a[i*n:(i+1)*n], n)
			row(i, dst)
		}
		return
	}
	gemm := kernels.GemmF32
	packed := make([]float32, gemm.PackedLen(n, p.cols))
	kernels.PackF32(packed, p.b, n, p.cols, n, true)
	Parallel(threads, (p.rows+rowsPerTask-1)/rowsPerTask, func(task int) {
		lo := task * rowsPerTask
		hi := min(lo+rowsPerTask, p.rows)
		width := p.width(hi)
		dst := make([]float32, (hi-lo)*width)
		f := kernel.ProductF32{
			Geometry: kernel.Geometry{M: hi - lo, N: width, K: n, LDA: n, LDC: width},
			A:        p.a[lo*n:], B: packed, C: dst,
		}
		gemm.Block(new(kernel.TileF32), &f, kernel.Range{Hi: hi - lo}, kernel.Range{Hi: width})
		for i := lo; i < hi; i++ {
			row(i, dst[(i-lo)*width:][:width])
		}
	})
}

// width is how many columns are wanted of the rows before the given one.
func (p *product) width(rows int) int {
	if p.triangle {
		return rows
	}
	return p.cols
}

// Apply multiplies the matrices of weights w by columns of inputs: Rows rows of
// results for every group. bias has a number for each row of each group; nil
// for none.
func (m *Matrix) Apply(w, bias []float64, x *Columns, kernels *kernel.Table, threads int) *Columns {
	y := &Columns{N: x.N, Groups: make([][]float32, m.Groups)}
	flat := make([]float32, m.Groups*m.Rows*x.N)
	groups, inner := shared(threads, m.Groups)
	Parallel(groups, m.Groups, func(g int) {
		y.Groups[g] = flat[g*m.Rows*x.N : (g+1)*m.Rows*x.N]
		m.applyGroup(g, w, x, y.Groups[g], kernels, inner)
		for r := 0; bias != nil && r < m.Rows; r++ {
			b := float32(bias[g*m.Rows+r])
			for i := range x.N {
				y.Groups[g][r*x.N+i] += b
			}
		}
	})
	return y
}

func (m *Matrix) applyGroup(g int, w []float64, x *Columns, y []float32, kernels *kernel.Table, threads int) {
	a := make([]float32, 0, m.Rows*m.Cols)
	for _, v := range m.Load(g, w) {
		a = append(a, float32(v))
	}
	gemm := kernels.GemmF32
	packed := make([]float32, gemm.PackedLen(m.Cols, x.N))
	kernels.PackF32(packed, x.Groups[g], m.Cols, x.N, x.N, false)
	Parallel(threads, (m.Rows+rowsPerTask-1)/rowsPerTask, func(task int) {
		lo := task * rowsPerTask
		hi := min(lo+rowsPerTask, m.Rows)
		p := kernel.ProductF32{
			Geometry: kernel.Geometry{M: hi - lo, N: x.N, K: m.Cols, LDA: m.Cols, LDC: x.N},
			A:        a[lo*m.Cols:], B: packed, C: y[lo*x.N:],
		}
		gemm.Block(new(kernel.TileF32), &p, kernel.Range{Hi: hi - lo}, kernel.Range{Hi: x.N})
	})
}

// AddProduct adds a*b^T to dst, [rows, cols], where a is [rows, n] and b is
// [cols, n]. The sum over n is taken in float32, so n is the columns of one
// sample. It does not depend on the number of threads.
func AddProduct(dst []float64, a, b []float32, rows, cols, n int, k *kernel.Table, threads int) {
	p := product{a: a, b: b, rows: rows, cols: cols, n: n}
	if n > 0 {
		p.each(k, threads, func(i int, x []float32) { addTo(dst[i*cols:(i+1)*cols], x) })
	}
}
