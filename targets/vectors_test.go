package targets

import (
	"fmt"
	"math"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// eachTable runs a subtest for every table that runs here.
func eachTable(t *testing.T, test func(*testing.T, *kernel.Table)) {
	for _, table := range runnableTables(t) {
		t.Run(table.Name, func(t *testing.T) { test(t, table) })
	}
}

// rowSizes are lengths around the multiples of every vector width, and one
// that is longer than a single call of the assembly.
var rowSizes = []int{0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 16384 + 5}

// mapRows gives every kernel from one row to another the same shape.
func mapRows(t *kernel.Table) map[string]func(dst, src []float32) {
	return map[string]func(dst, src []float32){
		"exp": t.Exp, "log": t.Log, "tanh": t.Tanh, "sigmoid": t.Sigmoid, "erf": t.Erf,
		"gelu": t.Gelu, "gelutanh": t.GeluTanh, "silu": t.Silu, "hardswish": t.HardSwish, "sqrt": t.Sqrt,
		"clamp":       func(d, s []float32) { t.Clamp(d, s, -0.5, 1) },
		"leakyrelu":   func(d, s []float32) { t.LeakyRelu(d, s, 0.1) },
		"hardsigmoid": func(d, s []float32) { t.HardSigmoid(d, s, 0.2, 0.5) },
		"addscalar":   func(d, s []float32) { t.AddScalar(d, s, 0.3) },
		"mulscalar":   func(d, s []float32) { t.MulScalar(d, s, 0.3) },
		"softmax":     t.Softmax,
		"layernorm":   func(d, s []float32) { t.LayerNorm(d, s, nil, nil, 1e-5) },
		"rmsnorm":     func(d, s []float32) { t.RMSNorm(d, s, nil, 1e-5) },
	}
}

// special values, put among the ordinary ones of element-wise kernels.
var special = []float32{
	0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	1e-40, -1e-40, 1e-30, 88, -88, 89, -87.5, -103, -104.5, 200, -200, 1e30, -1e30, 1, -1, 0.6, 4.1, -0.5,
}

func TestMapRows(t *testing.T) {
	want := mapRows(kernel.Generic())
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for name, f := range mapRows(table) {
			for _, n := range rowSizes {
				src := normals(t, newRand(n), n)
				for i := range src {
					src[i] *= 4
				}
				checkMap(t, fmt.Sprintf("%s of %d", name, n), f, want[name], src)
			}
		}
	})
}

func TestMapRowsOfSpecialValues(t *testing.T) {
	want := mapRows(kernel.Generic())
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for name, f := range mapRows(table) {
			switch name {
			case "softmax", "layernorm", "rmsnorm":
				continue
			}
			checkMap(t, name, f, want[name], special)
		}
	})
}

func checkMap(t *testing.T, what string, f, oracle func(dst, src []float32), src []float32) {
	t.Helper()
	want := make([]float32, len(src))
	oracle(want, src)
	got := guarded[float32](t, len(src))
	f(got, src)
	sameF32(t, what, got, want, 5e-7)
	copy(got, src)
	f(got, got)
	sameF32(t, what+" in place", got, want, 5e-7)
}

// TestUnitsInTheLastPlace holds the transcendental kernels to the accuracy
// that kernel.Table promises.
func TestUnitsInTheLastPlace(t *testing.T) {
	oracle := kernel.Generic()
	src := make([]float32, 0, 1<<16)
	for x := -110.0; x < 100; x += 0.00717 {
		src = append(src, float32(x), float32(x/30))
	}
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for name, pair := range map[string][2]func(dst, src []float32){
			"exp": {table.Exp, oracle.Exp}, "log": {table.Log, oracle.Log}, "tanh": {table.Tanh, oracle.Tanh},
			"sigmoid": {table.Sigmoid, oracle.Sigmoid}, "erf": {table.Erf, oracle.Erf},
		} {
			got, want := make([]float32, len(src)), make([]float32, len(src))
			pair[0](got, src)
			pair[1](want, src)
			for i := range src {
				if d := lastPlaces(got[i], want[i]); d > 4 && math.Abs(float64(got[i]-want[i])) > 1e-37 {
					t.Fatalf("%s(%v) = %v, want %v: %d units in the last place", name, src[i], got[i], want[i], d)
				}
			}
		}
	})
}

func lastPlaces(a, b float32) int64 {
	if a != a && b != b {
		return 0
	}
	d := ordered(a) - ordered(b)
	return max(d, -d)
}

func ordered(f float32) int64 {
	bits := int64(math.Float32bits(f))
	if bits >= 1<<31 {
		return 1<<31 - bits
	}
	return bits
}

func TestZipRows(t *testing.T) {
	rows := func(t *kernel.Table) map[string]func(dst, a, b []float32) {
		return map[string]func(dst, a, b []float32){
			"add": t.Add, "sub": t.Sub, "mul": t.Mul, "div": t.Div, "max": t.Max, "min": t.Min,
		}
	}
	oracle := rows(kernel.Generic())
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for name, f := range rows(table) {
			for _, n := range rowSizes {
				a, b := normals(t, newRand(n), n), normals(t, newRand(n, 1), n)
				if n == 65 {
					copy(a, special)
					copy(b[1:], special)
				}
				want, got := make([]float32, n), guarded[float32](t, n)
				oracle[name](want, a, b)
				f(got, a, b)
				sameF32(t, fmt.Sprintf("%s of %d", name, n), got, want, 0)
			}
		}
	})
}

func TestReductions(t *testing.T) {
	oracle := kernel.Generic()
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, n := range rowSizes {
			src := normals(t, newRand(n), n)
			got := []float32{table.Sum(src), table.SumSquares(src), table.RowMax(src), table.RowMin(src)}
			want := []float32{oracle.Sum(src), oracle.SumSquares(src), oracle.RowMax(src), oracle.RowMin(src)}
			sameF32(t, fmt.Sprintf("sum, squares, max, min of %d", n), got, want, 1e-6*math.Sqrt(float64(n+1)))
			for _, at := range []int{0, n / 2, n - 1} {
				if n == 0 {
					continue
				}
				keep := src[at]
				src[at] = float32(math.NaN())
				if hi, lo := table.RowMax(src), table.RowMin(src); hi == hi || lo == lo {
					t.Errorf("max and min of %d values with a NaN at %d are %v and %v", n, at, hi, lo)
				}
				src[at] = keep
			}
		}
	})
}

func TestNormalizations(t *testing.T) {
	oracle := kernel.Generic()
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, n := range rowSizes[1:] {
			src, gamma, beta := normals(t, newRand(n), n), normals(t, newRand(n, 1), n), normals(t, newRand(n, 2), n)
			for i, v := range src {
				src[i] = v + 3
			}
			want, got := make([]float32, n), guarded[float32](t, n)
			for _, params := range [][2][]float32{{gamma, beta}, {gamma, nil}, {nil, beta}} {
				oracle.LayerNorm(want, src, params[0], params[1], 1e-5)
				table.LayerNorm(got, src, params[0], params[1], 1e-5)
				sameF32(t, fmt.Sprintf("layernorm of %d", n), got, want, 2e-5)
			}
			oracle.RMSNorm(want, src, gamma, 1e-5)
			table.RMSNorm(got, src, gamma, 1e-5)
			sameF32(t, fmt.Sprintf("rmsnorm of %d", n), got, want, 1e-5)
		}
	})
}

func TestGemvAndAxpy(t *testing.T) {
	oracle := kernel.Generic()
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, n := range rowSizes[:len(rowSizes)-1] {
			for _, rows := range []int{0, 1, 3, 4, 5, 9} {
				ldw := n + 2
				w, x := normals(t, newRand(n, rows), max(0, (rows-1)*ldw+n)), normals(t, newRand(n), n)
				want, got := make([]float32, rows), guarded[float32](t, rows)
				oracle.Gemv(want, w, x, ldw)
				table.Gemv(got, w, x, ldw)
				sameF32(t, fmt.Sprintf("gemv of %dx%d", rows, n), got, want, 1e-5)
				alone := make([]float32, rows)
				for r := range rows {
					table.Gemv(alone[r:r+1], w[r*ldw:], x, ldw)
				}
				sameF32(t, "gemv row by row", alone, got, 0)
			}
			want, got := normals(t, newRand(n), n), normals(t, newRand(n), n)
			x := normals(t, newRand(n, 1), n)
			oracle.Axpy(want, x, 0.3)
			table.Axpy(got, x, 0.3)
			sameF32(t, fmt.Sprintf("axpy of %d", n), got, want, 1e-6)
		}
	})
}

func TestGemvOfHalves(t *testing.T) {
	oracle := kernel.Generic()
	type product = func(dst []float32, w []uint16, x []float32, ldw int)
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, c := range []struct {
			name      string
			f, oracle product
			narrow    func(dst []uint16, src []float32)
		}{{"f16", table.GemvF16, oracle.GemvF16, oracle.F32ToF16}, {"bf16", table.GemvBF16, oracle.GemvBF16, oracle.F32ToBF16}} {
			for _, n := range []int{0, 16, 32, 48, 160} {
				for _, rows := range []int{0, 1, 3, 4, 5, 9} {
					ldw := n + 2
					wide, x := normals(t, newRand(n, rows), max(0, (rows-1)*ldw+n)), normals(t, newRand(n), n)
					w := guarded[uint16](t, len(wide))
					c.narrow(w, wide)
					want, got := make([]float32, rows), guarded[float32](t, rows)
					c.oracle(want, w, x, ldw)
					c.f(got, w, x, ldw)
					sameF32(t, fmt.Sprintf("%s gemv of %dx%d", c.name, rows, n), got, want, 1e-5)
					alone := make([]float32, rows)
					for r := range rows {
						c.f(alone[r:r+1], w[r*ldw:], x, ldw)
					}
					sameF32(t, c.name+" row by row", alone, got, 0)
				}
			}
		}
	})
}

func BenchmarkMapRows(b *testing.B) {
	for _, table := range runnableTables(b) {
		for name, f := range mapRows(table) {
			b.Run(table.Name+"/"+name, func(b *testing.B) {
				src := normals(b, newRand(1), 4096)
				dst := make([]float32, len(src))
				b.SetBytes(int64(8 * len(src)))
				for b.Loop() {
					f(dst, src)
				}
			})
		}
	}
}

// The rows lie together or apart, and what is between them stays as it was.
func TestRowsApart(t *testing.T) {
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, c := range []struct{ rows, n, dst, a, b int }{
			{0, 5, 5, 5, 5}, {3, 0, 4, 4, 4}, {1, 1, 1, 1, 1}, {7, 1, 3, 1, 2}, {5, 7, 7, 7, 7}, {4, 8, 9, 8, 8},
			{3, 15, 15, 40, 16}, {6, 16, 33, 16, 16}, {2, 33, 64, 33, 0}, {5, 100, 128, 100, 101}, {700, 31, 31, 32, 31},
			{2, 16384 + 7, 16400, 16391, 16392},
		} {
			length := func(step int) int { return max(0, (c.rows-1)*step) + c.n }
			a, b := normals(t, newRand(c.n), length(c.a)), normals(t, newRand(c.n, 1), length(c.b))
			copied, sums := guarded[float32](t, length(c.dst)), guarded[float32](t, length(c.dst))
			wantCopied, wantSums := make([]float32, len(copied)), make([]float32, len(sums))
			for i := range copied {
				copied[i], sums[i], wantCopied[i], wantSums[i] = 3, 4, 3, 4
			}
			for r := range c.rows {
				for i := range c.n {
					wantCopied[r*c.dst+i] = a[r*c.a+i]
					wantSums[r*c.dst+i] = a[r*c.a+i] + b[r*c.b+i]
				}
			}
			table.CopyRows(copied, c.dst, a, c.a, c.rows, c.n)
			table.AddRows(sums, c.dst, a, c.a, b, c.b, c.rows, c.n)
			sameF32(t, fmt.Sprintf("copy of %+v", c), copied, wantCopied, 0)
			sameF32(t, fmt.Sprintf("sum of %+v", c), sums, wantSums, 0)
		}
	})
}
