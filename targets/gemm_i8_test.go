package targets

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// gemmsI8 lists the distinct int8 kernels of all tables that run here.
func gemmsI8(t testing.TB) []kernel.GemmI8 {
	var list []kernel.GemmI8
	seen := map[string]bool{}
	for _, table := range runnableTables(t) {
		for _, g := range []kernel.GemmI8{table.GemmU8S8, table.GemmS8S8, table.GemmU8S8Fit} {
			if !seen[g.Name] {
				seen[g.Name] = true
				list = append(list, g)
			}
		}
	}
	return list
}

func eachGemmI8(t *testing.T, test func(*testing.T, kernel.GemmI8)) {
	for _, g := range gemmsI8(t) {
		t.Run(g.Name, func(t *testing.T) { test(t, g) })
	}
}

func TestGemmI8(t *testing.T) {
	eachGemmI8(t, func(t *testing.T, g kernel.GemmI8) {
		for _, m := range around(g.MR) {
			for _, n := range append(around(g.NR), g.NR/2, g.NR/2+1, g.NR/2+7, 15) {
				for _, k := range []int{0, 1, 2, 3, 4, 7, 8, 13, 65} {
					checkProductI8(t, g, m, n, k, 1, kernel.OutI8((m+n+k)%3))
				}
			}
		}
	})
}

func TestGemmI8TapsAndHeights(t *testing.T) {
	eachGemmI8(t, func(t *testing.T, g kernel.GemmI8) {
		for m := 1; m <= g.MR; m++ {
			for out := kernel.OutS32; out <= kernel.OutQ8; out++ {
				checkProductI8(t, g, m, g.NR+g.NR/2-1, 3*m, 3, out)
			}
		}
		checkProductI8(t, g, 9, 150, 1500, 3, kernel.OutQ8)
	})
}

// extremes are bytes that reach the ends of their range often; weights for a
// saturating kernel stay where pairs fit.
func extremes(r *rand.Rand, s []uint8) {
	for i := range s {
		switch r.IntN(4) {
		case 0:
			s[i] = 255
		case 1:
			s[i] = 128
		default:
			s[i] = uint8(r.Uint32())
		}
	}
}

func weights(t testing.TB, r *rand.Rand, n int, halved bool) []int8 {
	s := guarded[int8](t, n)
	extremes(r, kernel.Bytes(s))
	for i := range s {
		if halved {
			s[i] /= 2
		}
	}
	return s
}

func checkProductI8(t *testing.T, g kernel.GemmI8, m, n, k, taps int, out kernel.OutI8) {
	t.Helper()
	r := newRand(m, n, k, taps, int(out))
	p := &kernel.ProductI8{Geometry: kernel.Geometry{M: m, N: n, K: k, LDA: k + 1, LDC: n + 2}, Out: out, Zero: 3}
	p.Taps = make([]int32, taps)
	for i := range p.Taps {
		p.Taps[i] = int32(i * (k + 3))
	}
	p.A = guarded[uint8](t, max(0, (m-1)*p.LDA+(taps-1)*(k+3)+k))
	extremes(r, p.A)
	b := weights(t, r, taps*k*n, g.Saturates)
	p.B = guarded[int8](t, g.PackedLen(taps, k, n))
	trans, ldb := n%2 == 1, n
	if trans {
		b, ldb = transposed(b, taps*k, n), taps*k
	}
	g.Pack(p.B, b, taps, k, n, ldb, trans)
	size := max(0, (m-1)*p.LDC+n)
	p.C8, p.C32, p.CF = guarded[uint8](t, size), guarded[int32](t, size), guarded[float32](t, size)
	p.Scale = guarded[float32](t, n)
	for i := range p.Scale {
		p.Scale[i] = r.Float32() / float32(100*(k+1))
	}
	p.Lo, p.Hi = -3, 252
	if n%3 != 0 {
		p.Bias = guarded[int32](t, n)
		for i := range p.Bias {
			p.Bias[i] = int32(r.IntN(2000)) - 1000
		}
	}
	if n%5 != 0 {
		p.Add = normals(t, r, n)
	}
	what := fmt.Sprintf("%dx%dx%dx%d out %d", m, n, k, taps, out)
	if g.Saturates && !kernel.PairsFit(b, taps, k, n, ldb, trans, 255) {
		t.Fatalf("%s: weights do not fit", what)
	}
	if err := g.Check(p); err != nil {
		t.Fatal(err)
	}
	var tile kernel.TileI8
	half := min(n, g.NR)
	g.Block(&tile, p, kernel.Range{Hi: m}, kernel.Range{Hi: half})
	g.Block(&tile, p, kernel.Range{Hi: m}, kernel.Range{Lo: half, Hi: n})
	compareI8(t, what, g.Signed, p, b, ldb, trans)
}

func transposed(b []int8, rows, cols int) []int8 {
	out := make([]int8, len(b))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = b[r*cols+c]
		}
	}
	return out
}

func compareI8(t *testing.T, what string, signed bool, p *kernel.ProductI8, b []int8, ldb int, trans bool) {
	t.Helper()
	rowStep, colStep := ldb, 1
	if trans {
		rowStep, colStep = 1, ldb
	}
	for at := range p.C32 {
		i, j := at/p.LDC, at%p.LDC
		if j >= p.N {
			if p.C32[at] != 0 || p.CF[at] != 0 || p.C8[at] != 0 {
				t.Fatalf("%s: wrote behind row %d", what, i)
			}
			continue
		}
		acc := int32(0)
		for tap, offset := range p.Taps {
			for k := range p.K {
				a := int32(p.A[i*p.LDA+int(offset)+k])
				if signed {
					a = int32(int8(a))
				}
				acc += a * int32(b[(tap*p.K+k)*rowStep+j*colStep])
			}
		}
		if p.Bias != nil {
			acc += p.Bias[j]
		}
		v := float32(float32(acc) * p.Scale[j])
		switch p.Out {
		case kernel.OutS32:
			if p.C32[at] != acc {
				t.Fatalf("%s: C[%d,%d] = %d, want %d", what, i, j, p.C32[at], acc)
			}
		case kernel.OutQ8:
			q := uint8(int32(math.RoundToEven(float64(min(max(v, p.Lo), p.Hi)))) + p.Zero)
			if p.C8[at] != q {
				t.Fatalf("%s: C[%d,%d] = %d, want %d", what, i, j, p.C8[at], q)
			}
		case kernel.OutF32:
			if p.Add != nil {
				v += p.Add[j]
			}
			if v = min(max(v, p.Lo), p.Hi); p.CF[at] != v {
				t.Fatalf("%s: C[%d,%d] = %v, want %v", what, i, j, p.CF[at], v)
			}
		}
	}
}

// TestSaturation shows the products that a saturating target spoils, by its
// emulation, and that PairsFit sees them.
func TestSaturation(t *testing.T) {
	target, err := ByName("amd64-avx2")
	if err != nil {
		t.Fatal(err)
	}
	g := target.Emulated().GemmU8S8
	b := []int8{127, 127}
	if kernel.PairsFit(b, 1, 2, 1, 1, false, 255) {
		t.Error("PairsFit accepts 255*127 + 255*127")
	}
	if !kernel.PairsFit([]int8{127, 1}, 1, 2, 1, 1, false, 255) || !kernel.PairsFit(b, 1, 2, 1, 1, false, 127) {
		t.Error("PairsFit rejects products that fit")
	}
	p := &kernel.ProductI8{Geometry: kernel.Geometry{M: 1, N: 1, K: 2}, A: []uint8{255, 255}, C32: make([]int32, 1)}
	p.B = make([]int8, g.PackedLen(1, 2, 1))
	g.Pack(p.B, b, 1, 2, 1, 1, false)
	g.Block(new(kernel.TileI8), p, kernel.Range{Hi: 1}, kernel.Range{Hi: 1})
	if p.C32[0] != math.MaxInt16 {
		t.Errorf("saturating sum is %d, want %d", p.C32[0], math.MaxInt16)
	}
}

func BenchmarkGemmI8(b *testing.B) {
	table, err := Host().Kernels()
	if err != nil {
		b.Fatal(err)
	}
	for _, g := range gemmsI8(b) {
		if strings.HasSuffix(g.Name, "_go") {
			continue
		}
		for _, s := range [][3]int{{512, 512, 512}, {49, 512, 512}, {128, 3072, 768}, {3136, 64, 64}} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", g.Name, s[0], s[1], s[2]), func(b *testing.B) {
				benchProductI8(b, table, g, s[0], s[1], s[2])
			})
		}
	}
}

func benchProductI8(b *testing.B, table *kernel.Table, g kernel.GemmI8, m, n, k int) {
	p := &kernel.ProductI8{Geometry: kernel.Geometry{M: m, N: n, K: k, LDA: k, LDC: n}, Out: kernel.OutQ8, Hi: 255}
	p.A, p.C8 = guarded[uint8](b, m*k), guarded[uint8](b, m*n)
	p.B = guarded[int8](b, (g.PackedLen(1, k, n)+4095)/4096*4096)
	g.Pack(p.B, weights(b, newRand(m), k*n, true), 1, k, n, n, false)
	p.Scale = make([]float32, n)
	var tile kernel.TileI8
	benchBest(b, table, m*n*k, func() { g.Block(&tile, p, kernel.Range{Hi: m}, kernel.Range{Hi: n}) })
}

func BenchmarkPackI8(b *testing.B) {
	const k, n = 1152, 512
	weights := make([]int8, k*n)
	for _, g := range gemmsI8(b) {
		b.Run(g.Name, func(b *testing.B) {
			packed := make([]int8, g.PackedLen(1, k, n))
			b.SetBytes(k * n)
			for b.Loop() {
				g.Pack(packed, weights, 1, k, n, k, true)
			}
		})
	}
}

// The emulation of a saturating target gives the same sums whether the CPU has
// the instruction or not.
func TestEmulationIsPortable(t *testing.T) {
	target, err := ByName("amd64-avx2")
	if err != nil {
		t.Fatal(err)
	}
	const m, n, k, taps = 7, 37, 51, 3
	r := newRand(m, n)
	a, b := make([]uint8, m*k*taps), weights(t, r, taps*k*n, false)
	extremes(r, a)
	sums := func(g kernel.GemmI8) []int32 {
		p := &kernel.ProductI8{Geometry: kernel.Geometry{M: m, N: n, K: k, LDA: k * taps, LDC: n}, A: a, C32: make([]int32, m*n)}
		p.Taps = []int32{0, k, 2 * k}
		p.B = make([]int8, g.PackedLen(taps, k, n))
		g.Pack(p.B, b, taps, k, n, n, false)
		g.Block(new(kernel.TileI8), p, kernel.Range{Hi: m}, kernel.Range{Hi: n})
		return p.C32
	}
	got, want := sums(target.Emulated().GemmU8S8), sums(kernel.Saturating().GemmU8S8)
	if !slices.Equal(got, want) {
		t.Errorf("emulated sums are %v, want %v", got, want)
	}
	if slices.Equal(want, sums(kernel.Generic().GemmU8S8)) {
		t.Error("nothing saturates: the test shows nothing")
	}
}
