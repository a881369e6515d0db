package targets

import (
	"fmt"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// randomSparse makes a product with about one entry in four.
func randomSparse(t testing.TB, rows, columns, pixels, height int) *kernel.SparseF32 {
	r := newRand(rows, columns, pixels, height)
	s := &kernel.SparseF32{LDX: pixels + 1, LDO: pixels + 2, Pixels: pixels, Start: []int32{0}, Lo: -3, Hi: 3}
	var values []float32
	for range rows {
		for c := range columns {
			if r.IntN(4) == 0 {
				s.Columns = append(s.Columns, int32(c))
				for range height {
					values = append(values, float32(r.NormFloat64()))
				}
			}
		}
		s.Start = append(s.Start, int32(len(s.Columns)))
	}
	s.Values = guarded[float32](t, len(values))
	copy(s.Values, values)
	s.X = normals(t, r, max(0, (columns-1)*s.LDX+pixels))
	if rows%2 == 0 {
		s.Bias = normals(t, r, rows*height)
	}
	return s
}

func TestSparse(t *testing.T) {
	oracle := kernel.Generic()
	type product = func(*kernel.SparseF32, kernel.Range)
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for height, f := range map[int][2]product{1: {table.SparseRows, oracle.SparseRows}, 4: {table.SparseBlocks, oracle.SparseBlocks}} {
			for _, pixels := range []int{0, 1, 7, 8, 9, 16, 17, 49, 96, 97, 128, 196} {
				for _, rows := range []int{1, 2, 9} {
					s := randomSparse(t, rows, 40, pixels, height)
					want := make([]float32, max(0, (rows*height-1)*s.LDO+pixels))
					s.Out = want
					f[1](s, kernel.Range{Hi: rows})
					s.Out = guarded[float32](t, len(want))
					f[0](s, kernel.Range{Hi: rows / 2})
					f[0](s, kernel.Range{Lo: rows / 2, Hi: rows})
					sameF32(t, fmt.Sprintf("%d rows of height %d, %d pixels", rows, height, pixels), s.Out, want, 1e-5)
				}
			}
		}
	})
}

func BenchmarkSparse(b *testing.B) {
	for _, table := range runnableTables(b) {
		for height, f := range map[int]func(*kernel.SparseF32, kernel.Range){1: table.SparseRows, 4: table.SparseBlocks} {
			for _, c := range []struct{ rows, columns, pixels int }{{256, 256, 784}, {96, 576, 196}, {960, 160, 49}, {96, 16, 12544}} {
				b.Run(fmt.Sprintf("%s/%dx1/%dx%dx%d", table.Name, height, c.rows, c.columns, c.pixels), func(b *testing.B) {
					s := thinned(b, c.rows/height, c.columns, c.pixels, height)
					benchBest(b, table, len(s.Values)*c.pixels, func() { f(s, kernel.Range{Hi: c.rows / height}) })
				})
			}
		}
	}
}

// thinned makes a product with about one entry in ten.
func thinned(t testing.TB, rows, columns, pixels, height int) *kernel.SparseF32 {
	r := newRand(rows, columns, pixels, height)
	s := &kernel.SparseF32{LDX: pixels, LDO: pixels, Pixels: pixels, Start: []int32{0}, Lo: -3, Hi: 3, X: normals(t, r, columns*pixels), Out: make([]float32, rows*height*pixels)}
	for range rows {
		for c := range columns {
			if r.IntN(10) == 0 {
				s.Columns = append(s.Columns, int32(c))
			}
		}
		s.Start = append(s.Start, int32(len(s.Columns)))
	}
	s.Values = normals(t, r, len(s.Columns)*height)
	return s
}
