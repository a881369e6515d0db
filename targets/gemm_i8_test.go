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
		for _, g := range []kernel.GemmI8{table.GemmU8S8, table.GemmS8S8, table.GemmU8S8Fit, table.GemmS8S8Fit} {
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
					checkProductI8(t, g, m, n, k, 1, kernel.OutI8((m+n+k)%3), fitBytes)
				}
			}
		}
	})
}

func TestGemmI8TapsAndHeights(t *testing.T) {
	eachGemmI8(t, func(t *testing.T, g kernel.GemmI8) {
		for m := 1; m <= g.MR; m++ {
			for out := kernel.OutS32; out <= kernel.OutQ8; out++ {
				checkProductI8(t, g, m, g.NR+g.NR/2-1, 3*m, 3, out, fitBytes)
			}
		}
		checkProductI8(t, g, 9, 150, 1500, 3, kernel.OutQ8, fitBytes)
	})
}

// TestGemmI8Extra multiplies by weights that the panels of a kernel divide.
func TestGemmI8Extra(t *testing.T) {
	eachGemmI8(t, func(t *testing.T, g kernel.GemmI8) {
		for _, taps := range []int{1, 3} {
			for _, k := range []int{1, 2, 3, 4, 5, 6, 7, 9, 64} {
				for _, n := range []int{1, g.NR/2 + 1, g.NR, 2*g.NR + 3} {
					for m := 1; m <= g.MR+1; m++ {
						for _, kind := range []weightKind{anyBytes, nineBits} {
							checkProductI8(t, g, m, n, k, taps, kernel.OutI8((m+n+k)%3), kind)
						}
					}
				}
			}
		}
	})
}

// weightKind is what the weights of a test are.
type weightKind int

const (
	fitBytes weightKind = iota // so small that nothing saturates
	anyBytes
	nineBits // here and there
)

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

func checkProductI8(t *testing.T, g kernel.GemmI8, m, n, k, taps int, out kernel.OutI8, kind weightKind) {
	t.Helper()
	r := newRand(m, n, k, taps, int(out))
	p := &kernel.ProductI8{Geometry: kernel.Geometry{M: m, N: n, K: k, LDA: k + 1, LDC: n + 2}, Out: out, Zero: 3}
	p.Taps = make([]int32, taps)
	for i := range p.Taps {
		p.Taps[i] = int32(i * (k + 3))
	}
	p.A = guarded[uint8](t, max(0, (m-1)*p.LDA+(taps-1)*(k+3)+k))
	extremes(r, p.A)
	w := kernel.WeightsI8{Taps: taps, K: k, N: n, LD: n, Exact: kind != fitBytes}
	w.B = weights(t, r, taps*k*n, g.Saturates && kind == fitBytes)
	if kind == nineBits {
		w.Rest = guarded[int8](t, len(w.B))
		for i := range w.Rest {
			if r.IntN(20) == 0 {
				w.Rest[i] = int8(r.Uint32())
			}
		}
	}
	if n%2 == 1 {
		w.B, w.LD, w.Trans = transposed(w.B, taps*k, n), taps*k, true
		if w.Rest != nil {
			w.Rest = transposed(w.Rest, taps*k, n)
		}
	}
	p.Extra, _ = g.Extra(&w)
	p.B = guarded[int8](t, g.PackedLen(taps, k, n, p.Extra))
	g.Pack(p.B, &w, p.Extra)
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
	if err := g.Check(p); err != nil {
		t.Fatal(err)
	}
	var tile kernel.TileI8
	half := min(n, g.NR)
	g.Block(&tile, p, kernel.Range{Hi: m}, kernel.Range{Hi: half})
	g.Block(&tile, p, kernel.Range{Hi: m}, kernel.Range{Lo: half, Hi: n})
	compareI8(t, what, g.Signed, p, &w)
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

func compareI8(t *testing.T, what string, signed bool, p *kernel.ProductI8, w *kernel.WeightsI8) {
	t.Helper()
	rowStep, colStep := w.LD, 1
	if w.Trans {
		rowStep, colStep = 1, w.LD
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
				at := (tap*p.K+k)*rowStep + j*colStep
				acc += a * int32(w.B[at])
				if w.Rest != nil {
					acc += a * int32(w.Rest[at])
				}
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
// emulation, and that weights can be packed so that it does not.
func TestSaturation(t *testing.T) {
	target, err := ByName("amd64-avx2")
	if err != nil {
		t.Fatal(err)
	}
	g := target.Emulated().GemmU8S8
	for _, c := range []struct {
		weights [2]int8
		exact   bool
		extra   int
		sum     int32
	}{
		{[2]int8{127, 127}, false, 0, math.MaxInt16},
		{[2]int8{127, 127}, true, 1, 255 * 254},
		{[2]int8{127, 1}, true, 0, 255 * 128},
		{[2]int8{-128, -1}, false, 0, math.MinInt16},
		{[2]int8{-128, -1}, true, 1, -255 * 129},
		{[2]int8{-128, 127}, true, 0, -255},
	} {
		w := kernel.WeightsI8{B: c.weights[:], Taps: 1, K: 2, N: 1, LD: 1, Exact: c.exact}
		p := &kernel.ProductI8{Geometry: kernel.Geometry{M: 1, N: 1, K: 2}, A: []uint8{255, 255}, C32: make([]int32, 1)}
		p.Extra, _ = g.Extra(&w)
		p.B = make([]int8, g.PackedLen(1, 2, 1, p.Extra))
		g.Pack(p.B, &w, p.Extra)
		g.Block(new(kernel.TileI8), p, kernel.Range{Hi: 1}, kernel.Range{Hi: 1})
		if p.Extra != c.extra || p.C32[0] != c.sum {
			t.Errorf("%+v: %d extra groups, sum %d", c, p.Extra, p.C32[0])
		}
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
	p.B = guarded[int8](b, (g.PackedLen(1, k, n, 0)+4095)/4096*4096)
	g.Pack(p.B, &kernel.WeightsI8{B: weights(b, newRand(m), k*n, true), Taps: 1, K: k, N: n, LD: n}, 0)
	p.Scale = make([]float32, n)
	var tile kernel.TileI8
	benchBest(b, table, m*n*k, func() { g.Block(&tile, p, kernel.Range{Hi: m}, kernel.Range{Hi: n}) })
}

func BenchmarkPackI8(b *testing.B) {
	const k, n = 1152, 512
	weights := make([]int8, k*n)
	for _, g := range gemmsI8(b) {
		b.Run(g.Name, func(b *testing.B) {
			w := kernel.WeightsI8{B: weights, Taps: 1, K: k, N: n, LD: k, Trans: true, Exact: true}
			packed := make([]int8, g.PackedLen(1, k, n, 0))
			b.SetBytes(k * n)
			for b.Loop() {
				g.Extra(&w)
				g.Pack(packed, &w, 0)
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
		p.B = make([]int8, g.PackedLen(taps, k, n, 0))
		g.Pack(p.B, &kernel.WeightsI8{B: b, Taps: taps, K: k, N: n, LD: n}, 0)
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
