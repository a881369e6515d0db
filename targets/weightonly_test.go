package targets

import (
	"fmt"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

func randomQuantized(t testing.TB, rows, k, block, bits int, zeros bool) *kernel.Quantized {
	r := newRand(rows, k, block, bits)
	w := &kernel.Quantized{Q: guarded[uint8](t, rows*k*bits/8), K: k, Block: block}
	extremes(r, w.Q)
	w.Scale = normals(t, r, rows*k/block)
	if zeros {
		w.Zero = guarded[float32](t, rows*k/block)
		for i := range w.Zero {
			w.Zero[i] = float32(r.IntN(16))
		}
	}
	return w
}

func TestWeightOnly(t *testing.T) {
	oracle := kernel.Generic()
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, block := range []int{16, 32, 64, 128} {
			for _, rows := range []int{1, 3, 4, 5, 9} {
				for _, zeros := range []bool{false, true} {
					k := 3 * block
					x := normals(t, newRand(k), k)
					what := fmt.Sprintf("%d rows, block %d, zeros %v", rows, block, zeros)
					w := randomQuantized(t, rows+2, k, block, 4, zeros)
					checkGemvQ(t, "4-bit "+what, table.GemvQ4, oracle.GemvQ4, x, w, rows)
					checkDequant(t, "4-bit "+what, table.DequantQ4, oracle.DequantQ4, w, rows)
					w = randomQuantized(t, rows+2, k, block, 8, zeros)
					checkGemvQ(t, "8-bit "+what, table.GemvQ8, oracle.GemvQ8, x, w, rows)
					checkDequant(t, "8-bit "+what, table.DequantQ8, oracle.DequantQ8, w, rows)
				}
			}
		}
	})
}

func checkGemvQ(t *testing.T, what string, f, oracle func(dst, x []float32, w *kernel.Quantized, row int), x []float32, w *kernel.Quantized, rows int) {
	t.Helper()
	want, got := make([]float32, rows), guarded[float32](t, rows)
	oracle(want, x, w, 2)
	f(got, x, w, 2)
	for i := range want {
		if d := float64(got[i] - want[i]); d > 0.02 || d < -0.02 {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
	alone := make([]float32, 1)
	f(alone, x, w, rows+1)
	same(t, what+", one row", alone, got[rows-1:])
}

func checkDequant(t *testing.T, what string, f, oracle func(dst []float32, w *kernel.Quantized, row int), w *kernel.Quantized, row int) {
	t.Helper()
	want, got := make([]float32, w.K), guarded[float32](t, w.K)
	oracle(want, w, row)
	f(got, w, row)
	sameF32(t, what+", dequantized", got, want, 1e-4)
}

// BenchmarkGemvQ4 reads each weight once, so bytes per second is what counts.
func BenchmarkGemvQ4(b *testing.B) {
	const n = 4096
	for _, table := range runnableTables(b) {
		if table.Name == "amd64-sse2" {
			continue
		}
		w := randomQuantized(b, n, n, 32, 4, false)
		x, dst := normals(b, newRand(1), n), make([]float32, n)
		b.Run(table.Name, func(b *testing.B) {
			b.SetBytes(int64(len(w.Q) + 4*len(w.Scale)))
			benchBest(b, table, n*n, func() { table.GemvQ4(dst, x, w, 0) })
		})
	}
}
