package kernel

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// product is C[2,3] = A[2,4] * B[4,3], complete and packed for g.
func product(g GemmF32) ProductF32 {
	return ProductF32{
		Geometry: Geometry{M: 2, N: 3, K: 4, LDA: 4, LDC: 3},
		A:        make([]float32, 8), B: make([]float32, g.PackedLen(4, 3)), C: make([]float32, 6),
	}
}

func TestCheckF32(t *testing.T) {
	g := Generic().GemmF32
	for _, c := range []struct {
		name  string
		spoil func(*ProductF32)
		want  string
	}{
		{"complete", func(*ProductF32) {}, ""},
		{"empty", func(p *ProductF32) { p.M, p.C = 0, nil }, ""},
		{"negative", func(p *ProductF32) { p.K = -1 }, "product is 2x3x-1, want no negative size"},
		{"short A", func(p *ProductF32) { p.A = p.A[:7] }, "product reads A[0:8], want within 7 elements"},
		{"short C", func(p *ProductF32) { p.C = p.C[:5] }, "product writes C[0:6], want within 5 elements"},
		{"short B", func(p *ProductF32) { p.B = p.B[1:] }, "product has a packed B of 31 elements, want 32"},
		{"tap before A", func(p *ProductF32) { p.Taps = []int32{-1}; p.B = make([]float32, 32) }, "product reads A[-1:7]"},
		{"few rows", func(p *ProductF32) { p.ARows = []int32{0} }, "product has 1 row offsets of A, want 2"},
		{"row beyond C", func(p *ProductF32) { p.CRows = []int32{0, 4} }, "product writes C[0:7]"},
		{"short bias", func(p *ProductF32) { p.Bias = make([]float32, 2) }, "product has 2 biases, want 3"},
		{"short residual", func(p *ProductF32) { p.Res, p.LDR = make([]float32, 5), 3 }, "residual: product writes C[0:6]"},
	} {
		p := product(g)
		c.spoil(&p)
		err := g.Check(&p)
		if got := message(err); !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: error %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCheckI8(t *testing.T) {
	g := Generic().GemmU8S8
	p := ProductI8{Geometry: Geometry{M: 2, N: 3, K: 4, LDA: 4, LDC: 3}, A: make([]uint8, 8), C8: make([]uint8, 6), Out: OutQ8}
	p.B = make([]int8, g.PackedLen(1, 4, 3, 0))
	if got, want := message(g.Check(&p)), "product has 0 scales, want 3"; got != want {
		t.Errorf("without scales: error %q, want %q", got, want)
	}
	p.Scale = make([]float32, 3)
	if err := g.Check(&p); err != nil {
		t.Errorf("complete: %v", err)
	}
	p.Out = OutF32
	if got, want := message(g.Check(&p)), "product writes C[0:6], want within 0 elements"; got != want {
		t.Errorf("without CF: error %q, want %q", got, want)
	}
}

func TestCheckWindow(t *testing.T) {
	w := Window{Taps: []Tap{{In: 0, W: 0}, {In: 4, W: 2}}, W: 3, C: 2, InStep: 2, OutStep: 2}
	for _, c := range []struct {
		in, weights, out int
		want             string
	}{
		{10, 4, 6, ""},
		{10, -1, 6, ""},
		{9, 4, 6, "window reads In[4:10], want within 9 elements"},
		{10, 3, 6, "window reads Weights[2:4], want within 3 elements"},
		{10, 4, 5, "window writes Out[0:6], want within 5 elements"},
	} {
		if got := message(w.Check(c.in, c.weights, c.out)); got != c.want {
			t.Errorf("Check(%d, %d, %d): error %q, want %q", c.in, c.weights, c.out, got, c.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestTileRows spreads rows evenly over the fewest tiles.
func TestTileRows(t *testing.T) {
	for _, c := range []struct{ rows, mr, want int }{{0, 12, 12}, {1, 12, 1}, {12, 12, 12}, {13, 12, 7}, {49, 12, 10}} {
		if got := (Range{Lo: 3, Hi: 3 + c.rows}).tileRows(c.mr); got != c.want {
			t.Errorf("%d rows in tiles of at most %d: tiles of %d, want %d", c.rows, c.mr, got, c.want)
		}
	}
}

// TestPackedWeightsAreFound reads back every weight of every layout, whole or
// divided among the groups of a panel.
func TestPackedWeightsAreFound(t *testing.T) {
	const taps, n = 2, 11
	for _, k := range []int{1, 3, 4, 5, 6, 7, 12} {
		b, rest := make([]int8, taps*k*n), make([]int8, taps*k*n)
		for i := range b {
			b[i] = int8(i*37 + i/5)
			if i%9 == 0 {
				rest[i] = b[i]/2 + int8(i)
			}
		}
		for _, layout := range []LayoutI8{Quad, Pair16, Wide16} {
			g := GemmI8{NR: 8, Layout: layout, Saturates: layout == Quad}
			for _, w := range []WeightsI8{
				{B: b, Taps: taps, K: k, N: n, LD: n},
				{B: b, Taps: taps, K: k, N: n, LD: n, Exact: true},
				{B: b, Rest: rest, Taps: taps, K: k, N: n, LD: n},
				{B: b, Rest: rest, Taps: taps, K: k, N: n, LD: n, Exact: true},
			} {
				checkPacked(t, g, &w)
			}
		}
	}
}

func checkPacked(t *testing.T, g GemmI8, w *WeightsI8) {
	t.Helper()
	extra, _ := g.Extra(w)
	packed := make([]int8, g.PackedLen(w.Taps, w.K, w.N, extra))
	g.Pack(packed, w, extra)
	p, padded := g.panel(w.Taps, w.K, extra), roundUp(w.K, g.Layout.group())
	for c := range w.N {
		panel := packed[c/g.NR*p.size():]
		found := make([]int, w.Taps*w.K)
		for r := range found {
			found[r] = int(g.weight(panel[4*g.NR:], r/w.K*padded+r%w.K, c%g.NR))
		}
		for e, at := range p.extras(panel) {
			for r := range min(4, w.K) {
				found[int(at.tap)*w.K+int(at.k)+r] += int(g.weight(p.group(panel, p.groups+e), r, c%g.NR))
			}
		}
		total := 0
		for r, got := range found {
			want := int(w.B[r*w.N+c])
			if w.Rest != nil {
				want += int(w.Rest[r*w.N+c])
			}
			if total += want; got != want {
				t.Fatalf("%+v extra %d: weight [%d,%d] of %d taps of %d is %d, want %d", g, extra, r, c, w.Taps, w.K, got, want)
			}
		}
		if got := *(*int32)(unsafe.Pointer(&panel[4*(c%g.NR)])); int(got) != total {
			t.Fatalf("%+v: sum of column %d is %d, want %d", g, c, got, total)
		}
	}
}

// TestScans compares what reads words of bytes with loops over bytes.
func TestScans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	edges := []int8{-128, -127, -65, -64, -1, 0, 1, 63, 64, 65, 126, 127}
	for n := range 70 {
		for range 50 {
			row, want := make([]int8, n), map[int]bool{}
			sum := int32(0)
			for i := range row {
				if row[i] = edges[r.IntN(len(edges))]; r.IntN(3) == 0 {
					row[i] = int8(r.Uint32())
				}
				sum += int32(row[i])
				if i%2 == 1 {
					if s := int(row[i-1]) + int(row[i]); s > 128 || s < -128 {
						want[i/4] = true
					}
				}
			}
			got := map[int]bool{}
			scanPairs(row, func(group int) { got[group] = true })
			if !maps.Equal(got, want) {
				t.Fatalf("pairs of %v: groups %v, want %v", row, got, want)
			}
			if got := SumS8(row); got != sum {
				t.Fatalf("sum of %v: %d, want %d", row, got, sum)
			}
		}
	}
	long := make([]int8, 5000)
	for i := range long {
		long[i] = 127
	}
	if got := SumS8(long); got != 127*5000 {
		t.Errorf("sum of 5000 times 127 is %d", got)
	}
}

func TestTransposeBytes(t *testing.T) {
	for _, s := range [][2]int{{0, 3}, {1, 1}, {7, 9}, {8, 8}, {9, 8}, {8, 17}, {31, 24}} {
		rows, cols := s[0], s[1]
		lds, ldd := cols+2, rows+3
		src, dst := make([]uint8, max(0, (rows-1)*lds+cols)), make([]uint8, (cols-1)*ldd+rows)
		for i := range src {
			src[i] = uint8(i*31 + i/7)
		}
		TransposeBytes(dst, ldd, src, lds, rows, cols)
		for i, got := range dst {
			c, r := i/ldd, i%ldd
			want := uint8(0)
			if r < rows {
				want = src[r*lds+c]
			}
			if got != want {
				t.Fatalf("%dx%d: [%d,%d] is %d, want %d", rows, cols, c, r, got, want)
			}
		}
	}
}
