package targets

import (
	"fmt"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// randomSparseI8 makes a product of blocks of the given height with one pair of
// entries for each so many pairs of columns.
func randomSparseI8(t testing.TB, blocks, columns, pixels, height, each int) *kernel.SparseI8 {
	r := newRand(blocks, columns, pixels, height)
	s := &kernel.SparseI8{LDO: pixels + 3, Pixels: pixels, Start: []int32{0}, Lo: -7, Hi: 248, Zero: 7}
	ldx := pixels + 1
	for range blocks {
		for c := 0; c+1 < columns; c += 2 {
			if r.IntN(each) == 0 {
				s.Columns = append(s.Columns, int32(c*ldx), int32((c+1)*ldx))
			}
		}
		s.Start = append(s.Start, int32(len(s.Columns)/2))
	}
	s.Values = guarded[int16](t, len(s.Columns)*height)
	for i, w := range weights(t, r, len(s.Values), false) {
		s.Values[i] = int16(w)
	}
	s.X = guarded[uint8](t, max(0, (columns-1)*ldx+pixels))
	extremes(r, s.X)
	s.Bias, s.Scale = guarded[int32](t, blocks*height), guarded[float32](t, blocks*height)
	for i := range s.Bias {
		s.Bias[i], s.Scale[i] = int32(r.IntN(4000))-2000, r.Float32()/300
	}
	return s
}

func TestSparseI8(t *testing.T) {
	oracle := kernel.Generic()
	type product = func(*kernel.SparseI8, kernel.Range)
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for height, f := range map[int][2]product{1: {table.SparseRowsI8, oracle.SparseRowsI8}, 4: {table.SparseBlocksI8, oracle.SparseBlocksI8}} {
			for _, pixels := range []int{0, 1, 15, 16, 17, 31, 32, 48, 49, 65} {
				for _, blocks := range []int{1, 2, 9} {
					s := randomSparseI8(t, blocks, 40, pixels, height, 4)
					want := make([]uint8, max(0, (blocks*height-1)*s.LDO+pixels))
					s.Out = want
					f[1](s, kernel.Range{Hi: blocks})
					s.Out = guarded[uint8](t, len(want))
					f[0](s, kernel.Range{Hi: blocks / 2})
					f[0](s, kernel.Range{Lo: blocks / 2, Hi: blocks})
					same(t, fmt.Sprintf("%d blocks of height %d, %d pixels", blocks, height, pixels), s.Out, want)
				}
			}
		}
	})
}

func TestGatherAndScatter(t *testing.T) {
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, rows := range []int{0, 1, 7, 8, 9, 16, 17, 40} {
			for _, n := range []int{1, 7, 8, 15, 16, 17, 33} {
				r := newRand(rows, n)
				src := guarded[uint8](t, max(n, 2*n*rows))
				extremes(r, src)
				list := make([]int32, rows)
				for i := range list {
					list[i] = int32(r.IntN(len(src) - n + 1))
				}
				ld := rows + 3
				got, want := guarded[uint8](t, (n-1)*ld+rows), make([]uint8, (n-1)*ld+rows)
				for i, from := range list {
					for c := range n {
						want[c*ld+i] = src[int(from)+c] ^ 0x80
					}
				}
				table.GatherU8(got, ld, src, list, n, 0x80)
				same(t, fmt.Sprintf("%d rows of %d gathered", rows, n), got, want)
				for i, p := range r.Perm(rows) {
					list[i] = int32(p * (n + 1))
				}
				back, expected := guarded[uint8](t, max(0, rows*(n+1)-1)), make([]uint8, max(0, rows*(n+1)-1))
				for i, to := range list {
					for c := range n {
						expected[int(to)+c] = got[c*ld+i]
					}
				}
				table.ScatterU8(back, list, got, ld, n)
				same(t, fmt.Sprintf("%d rows of %d scattered", rows, n), back, expected)
			}
		}
	})
}

// BenchmarkSparseI8 has one entry in ten.
func BenchmarkSparseI8(b *testing.B) {
	for _, table := range runnableTables(b) {
		for height, f := range map[int]func(*kernel.SparseI8, kernel.Range){1: table.SparseRowsI8, 4: table.SparseBlocksI8} {
			for _, c := range []struct{ rows, columns, pixels int }{{256, 256, 48}, {256, 1152, 32}, {960, 160, 48}} {
				b.Run(fmt.Sprintf("%s/%dx1/%dx%dx%d", table.Name, height, c.rows, c.columns, c.pixels), func(b *testing.B) {
					s := randomSparseI8(b, c.rows/height, c.columns, c.pixels, height, 10)
					s.Out = make([]uint8, c.rows*s.LDO)
					benchBest(b, table, len(s.Values)*c.pixels, func() { f(s, kernel.Range{Hi: c.rows / height}) })
				})
			}
		}
		b.Run(table.Name+"/gather/256x48", func(b *testing.B) {
			src, dst, list := make([]uint8, 256*48), make([]uint8, 256*48), make([]int32, 48)
			for i := range list {
				list[i] = int32(256 * i)
			}
			benchBest(b, table, len(src), func() { table.GatherU8(dst, 48, src, list, 256, 0) })
		})
		b.Run(table.Name+"/scatter/256x48", func(b *testing.B) {
			src, dst, list := make([]uint8, 256*48), make([]uint8, 256*48), make([]int32, 48)
			for i := range list {
				list[i] = int32(256 * i)
			}
			benchBest(b, table, len(src), func() { table.ScatterU8(dst, list, src, 48, 256) })
		})
	}
}
