package targets

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

func eachGemmF32(t *testing.T, test func(*testing.T, *kernel.Table)) {
	seen := map[string]bool{}
	for _, table := range runnableTables(t) {
		if name := table.GemmF32.Name; !seen[name] {
			seen[name] = true
			t.Run(name, func(t *testing.T) { test(t, table) })
		}
	}
}

// around are sizes at and next to the multiples of a tile's side.
func around(side int) []int { return []int{0, 1, side - 1, side, side + 1, 2*side + side/2 + 1} }

func TestGemmF32(t *testing.T) {
	eachGemmF32(t, func(t *testing.T, table *kernel.Table) {
		g := table.GemmF32
		for _, m := range around(g.MR) {
			for _, n := range append(around(g.NR), g.NR/2, g.NR/2+1) {
				for _, k := range []int{0, 1, 3, 4, 5, 65} {
					checkProductF32(t, table, m, n, k, 1, (m+n+k)%4)
				}
			}
		}
	})
}

func TestGemmF32Deep(t *testing.T) {
	eachGemmF32(t, func(t *testing.T, table *kernel.Table) {
		checkProductF32(t, table, 7, 70, 1100, 1, 3)
		checkProductF32(t, table, 15, 33, 129, 9, 3)
		checkProductF32(t, table, 15, 33, 513, 2, 2)
		checkProductF32(t, table, 3, 530, 20, 3, 1)
	})
}

// TestGemmF32Row compares a single row with the same row among others.
func TestGemmF32Row(t *testing.T) {
	eachGemmF32(t, func(t *testing.T, table *kernel.Table) {
		g := table.GemmF32
		for _, n := range around(kernel.RowPanels * g.NR) {
			for _, k := range []int{0, 1, 2, 5, 700} {
				for taps := 1; taps <= 3; taps++ {
					checkProductF32(t, table, 1, n, k, taps, (n+k+taps)%4)
				}
			}
		}
		const n, k = 300, 70
		p := &kernel.ProductF32{Geometry: kernel.Geometry{M: 2, N: n, K: k, LDA: k, LDC: n}, A: normals(t, newRand(1), 2*k), C: make([]float32, 2*n)}
		p.B = make([]float32, g.PackedLen(k, n))
		table.PackF32(p.B, normals(t, newRand(2), k*n), k, n, n, false)
		tile, whole := new(kernel.TileF32), kernel.Range{Hi: n}
		g.Block(tile, p, kernel.Range{Hi: 2}, whole)
		want := slices.Clone(p.C)
		g.Block(tile, p, kernel.Range{Hi: 1}, whole)
		g.Block(tile, p, kernel.Range{Lo: 1, Hi: 2}, whole)
		sameF32(t, "a row by itself", p.C, want, 0)
	})
}

func TestGemmF32EveryHeight(t *testing.T) {
	eachGemmF32(t, func(t *testing.T, table *kernel.Table) {
		for m := 1; m <= table.GemmF32.MR; m++ {
			checkProductF32(t, table, m, table.GemmF32.NR+3, 9, 3, 3)
		}
	})
}

// checkProductF32 compares a product with its definition. extras has bit 0
// for a bias and bit 1 for a residual and a clamp.
func checkProductF32(t *testing.T, table *kernel.Table, m, n, k, taps, extras int) {
	t.Helper()
	r := newRand(m, n, k, taps, extras)
	g := table.GemmF32
	p := &kernel.ProductF32{Geometry: kernel.Geometry{M: m, N: n, K: k, LDA: k + 1, LDC: n + 2}}
	p.Taps = make([]int32, taps)
	for i := range p.Taps {
		p.Taps[i] = int32(i * (k + 3))
	}
	p.A = normals(t, r, max(0, (m-1)*p.LDA+(taps-1)*(k+3)+k))
	b := normals(t, r, taps*k*n)
	p.B = guarded[float32](t, g.PackedLen(taps*k, n))
	table.PackF32(p.B, b, taps*k, n, n, false)
	p.C = guarded[float32](t, max(0, (m-1)*p.LDC+n))
	if extras&1 != 0 {
		p.Bias = normals(t, r, n)
	}
	if extras&2 != 0 {
		p.LDR = n + 1
		p.Res = normals(t, r, max(0, (m-1)*p.LDR+n))
		p.Lo, p.Hi = -1, 2
	}
	for i := range p.C {
		p.C[i] = -77
	}
	want := naiveF32(p, b)
	if err := g.Check(p); err != nil {
		t.Fatal(err)
	}
	var tile kernel.TileF32
	half := min(n, g.NR)
	g.Block(&tile, p, kernel.Range{Hi: m}, kernel.Range{Hi: half})
	g.Block(&tile, p, kernel.Range{Hi: m}, kernel.Range{Lo: half, Hi: n})
	sameF32(t, fmt.Sprintf("%dx%dx%dx%d", m, n, k, taps), p.C, want, 2e-6*math.Sqrt(float64(taps*k+1))*4)
}

func naiveF32(p *kernel.ProductF32, b []float32) []float32 {
	want := make([]float32, len(p.C))
	for i := range want {
		want[i] = -77
	}
	for i := range p.M {
		for j := range p.N {
			v := 0.0
			for t, tap := range p.Taps {
				for k := range p.K {
					v += float64(p.A[i*p.LDA+int(tap)+k]) * float64(b[(t*p.K+k)*p.N+j])
				}
			}
			if p.Bias != nil {
				v += float64(p.Bias[j])
			}
			if p.Res != nil {
				v = min(max(v+float64(p.Res[i*p.LDR+j]), float64(p.Lo)), float64(p.Hi))
			}
			want[i*p.LDC+j] = float32(v)
		}
	}
	return want
}

// TestGemmF32NaN keeps NaN and infinity through the clamp.
func TestGemmF32NaN(t *testing.T) {
	eachGemmF32(t, func(t *testing.T, table *kernel.Table) {
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		p := &kernel.ProductF32{Geometry: kernel.Geometry{M: 1, N: 3, K: 1}, A: []float32{1}, C: make([]float32, 3), Lo: 0, Hi: 6}
		p.B = make([]float32, table.GemmF32.PackedLen(1, 3))
		table.PackF32(p.B, []float32{nan, inf, -inf}, 1, 3, 3, false)
		table.GemmF32.Block(new(kernel.TileF32), p, kernel.Range{Hi: 1}, kernel.Range{Hi: 3})
		if p.C[0] == p.C[0] || p.C[1] != 6 || p.C[2] != 0 {
			t.Errorf("clamped NaN, +Inf, -Inf to %v, want NaN, 6, 0", p.C)
		}
	})
}

func TestPackF32Transposed(t *testing.T) {
	for _, table := range runnableTables(t) {
		const k, n = 21, 37
		b := normals(t, newRand(1), k*n)
		transposed := make([]float32, k*n)
		for r := range k {
			for c := range n {
				transposed[c*k+r] = b[r*n+c]
			}
		}
		want := make([]float32, table.GemmF32.PackedLen(k, n))
		got := guarded[float32](t, len(want))
		table.PackF32(want, b, k, n, n, false)
		table.PackF32(got, transposed, k, n, k, true)
		sameF32(t, table.Name, got, want, 0)
	}
}

func BenchmarkGemmF32(b *testing.B) {
	shapes := [][3]int{{512, 512, 512}, {49, 512, 512}, {128, 3072, 768}, {3136, 64, 64}, {3136, 96, 24}, {1, 1200, 400}}
	seen := map[string]bool{}
	for _, table := range runnableTables(b) {
		g := table.GemmF32
		if seen[g.Name] || g.Name == kernel.Generic().GemmF32.Name {
			continue
		}
		seen[g.Name] = true
		for _, s := range shapes {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", g.Name, s[0], s[1], s[2]), func(b *testing.B) {
				benchProductF32(b, table, s[0], s[1], s[2])
			})
		}
	}
}

func benchProductF32(b *testing.B, table *kernel.Table, m, n, k int) {
	r := newRand(m)
	g := table.GemmF32
	p := &kernel.ProductF32{Geometry: kernel.Geometry{M: m, N: n, K: k, LDA: k, LDC: n}}
	p.A, p.C = normals(b, r, m*k), normals(b, r, m*n)
	p.B = guarded[float32](b, (g.PackedLen(k, n)+1023)/1024*1024)
	table.PackF32(p.B, normals(b, r, k*n), k, n, n, false)
	var tile kernel.TileF32
	benchBest(b, table, m*n*k, func() { g.Block(&tile, p, kernel.Range{Hi: m}, kernel.Range{Hi: n}) })
}
