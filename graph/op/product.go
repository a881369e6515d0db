package op

import "github.com/onnxpack/onnxpack/graph/kernel"

// number is a type of accumulators: real, or int32 for quantized operands.
type number interface{ float32 | float64 | int32 }

// panelProduct is C = A*B: A has M rows of K elements LDA apart, or at the
// offsets Rows if that is set, C has M rows of N elements LDC apart, and B is
// packed into panels of width columns each. With Add it is C += A*B.
type panelProduct[T number] struct {
	M, N, K int
	A       []T
	LDA     int
	Rows    []int32
	B       []T
	C       []T
	LDC     int
	Add     bool // to what C holds
	tile    kernel.TileF32
}

// panelWidth is the number of columns that stand together in a packed B.
func panelWidth[T number](k *kernel.Table) int {
	var x T
	if _, ok := any(x).(float32); ok {
		return k.GemmF32.NR
	}
	return 8
}

// packedLen is the length of a packed B of k rows and n columns.
func packedLen(width, k, n int) int { return ceilDiv(n, width) * width * k }

// packPanels packs B of k rows and n columns. Row r, column c is at
// b[r*rows+c*cols].
func packPanels[T number](dst, b []T, width, k, n, rows, cols int) {
	for j := 0; j < n; j += width {
		panel := dst[j*k : (j+width)*k]
		w := min(width, n-j)
		for r := range k {
			row := panel[r*width : (r+1)*width]
			from := b[r*rows+j*cols:]
			if cols == 1 {
				copy(row, from[:w])
			} else {
				for c := range w {
					row[c] = from[c*cols]
				}
			}
			clear(row[w:])
		}
	}
}

// packTransposed packs B, whose columns are n rows of k elements, ld apart in b.
func packTransposed[T number](table *kernel.Table, dst, b []T, k, n, ld int) {
	if f, ok := any(dst).([]float32); ok {
		table.PackF32(f, any(b).([]float32), k, n, ld, true)
		return
	}
	packPanels(dst, b, panelWidth[T](table), k, n, 1, ld)
}

// compute sets rows [lo, hi) of C.
func (p *panelProduct[T]) compute(k *kernel.Table, lo, hi int) {
	switch q := any(p).(type) {
	case *panelProduct[float32]:
		g := kernel.ProductF32{
			Geometry: kernel.Geometry{M: q.M, N: q.N, K: q.K, LDA: q.LDA, LDC: q.LDC, ARows: q.Rows},
			A:        q.A, B: q.B, C: q.C,
		}
		if q.Add {
			g.Res, g.LDR = q.C, q.LDC
		}
		k.GemmF32.Block(&q.tile, &g, kernel.Range{Lo: lo, Hi: hi}, kernel.Range{Hi: q.N})
	default:
		p.portable(lo, hi)
	}
}

func (p *panelProduct[T]) portable(lo, hi int) {
	const width = 8
	for j := 0; j < p.N; j += width {
		panel := p.B[j*p.K : (j+width)*p.K]
		n := min(width, p.N-j)
		for i := lo; i < hi; i++ {
			acc := dotPanel(p.row(i), panel)
			dst := p.C[i*p.LDC+j:][:n]
			if p.Add {
				for k, v := range dst {
					acc[k] += v
				}
			}
			copy(dst, acc[:n])
		}
	}
}

// row returns row i of A.
func (p *panelProduct[T]) row(i int) []T {
	if p.Rows != nil {
		return p.A[p.Rows[i]:][:p.K]
	}
	return p.A[i*p.LDA:][:p.K]
}

// dotPanel multiplies a row by a panel of eight columns.
func dotPanel[T number](a, panel []T) (acc [8]T) {
	for k, v := range a {
		b := (*[8]T)(panel[k*8:])
		acc[0] += v * b[0]
		acc[1] += v * b[1]
		acc[2] += v * b[2]
		acc[3] += v * b[3]
		acc[4] += v * b[4]
		acc[5] += v * b[5]
		acc[6] += v * b[6]
		acc[7] += v * b[7]
	}
	return acc
}

// matrix is a view of elements as rows and columns: element r, c is at
// Data[r*Row+c*Col].
type matrix[T number] struct {
	Data     []T
	Row, Col int
}

// rowMajor is the matrix whose rows lie one after the other.
func rowMajor[T number](data []T, cols int) matrix[T] { return matrix[T]{data, cols, 1} }

// transposed swaps rows and columns.
func (m matrix[T]) transposed() matrix[T] { return matrix[T]{m.Data, m.Col, m.Row} }

// contiguousRows returns m with rows that are contiguous, copied if they were not.
func (m matrix[T]) contiguousRows(rows, cols int) matrix[T] {
	if m.Col == 1 || cols <= 1 {
		return m
	}
	out := make([]T, rows*cols)
	for r := range rows {
		for c := range cols {
			out[r*cols+c] = m.Data[r*m.Row+c*m.Col]
		}
	}
	return rowMajor(out, cols)
}

// rows is contiguousRows by the transposing kernel where that applies.
func (m matrix[T]) rows(k *kernel.Table, rows, cols int) matrix[T] {
	src, ok := any(m.Data).([]float32)
	if !ok || m.Row != 1 || m.Col == 1 || cols <= 1 || rows == 0 {
		return m.contiguousRows(rows, cols)
	}
	out := make([]T, rows*cols)
	k.Transpose(any(out).([]float32), cols, src, m.Col, cols, rows)
	return rowMajor(out, cols)
}

// multiplyMatrices computes c = a*b for a of m rows and depth columns and b of
// depth rows and n columns. The rows of c are contiguous.
func multiplyMatrices[T number](e *Eval, c, a, b matrix[T], m, n, depth int) {
	if m == 0 || n == 0 {
		return
	}
	k := e.kernels()
	width := panelWidth[T](k)
	packed := make([]T, packedLen(width, depth, n))
	if b.Row == 1 && b.Col != 1 {
		packTransposed(k, packed, b.Data, depth, n, b.Col)
	} else {
		packPanels(packed, b.Data, width, depth, n, b.Row, b.Col)
	}
	a = a.rows(k, m, depth)
	e.Parallel(m, max(1, 1<<18/max(1, n*depth)), func(lo, hi int) {
		p := panelProduct[T]{M: m, N: n, K: depth, A: a.Data, LDA: a.Row, B: packed, C: c.Data, LDC: c.Row}
		p.compute(k, lo, hi)
	})
}

// multiplyHere is multiplyMatrices in the calling goroutine.
func multiplyHere[T number](e *Eval, c, a, b matrix[T], m, n, depth int) {
	alone := Eval{Kernels: e.Kernels}
	multiplyMatrices(&alone, c, a, b, m, n, depth)
}
