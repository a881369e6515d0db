package kernel

import "fmt"

// MaxRows bounds the rows of C that one tile kernel computes.
const MaxRows = 16

// Geometry places the operands of a matrix product C[M,N] = A[M,K] * B[K,N]
// inside larger slices. It also describes a convolution over an NHWC image
// without im2col: each row of C is an output pixel, and the K elements of A
// that it needs are runs of K contiguous elements, one run per tap.
//
//	C[i,j] = sum over t, k of A[arow(i) + Taps[t] + k] * B[t*K + k, j]
//
// All offsets count elements.
type Geometry struct {
	M, N int
	// K is the length of one contiguous run of A, so the depth of the product
	// is Depth() = K * number of taps.
	K int
	// LDA and LDC are the distances between rows. ARows and CRows, where not
	// nil, hold M offsets that replace i*LDA and i*LDC.
	LDA, LDC     int
	ARows, CRows []int32
	// Taps holds the offset of each run from the row's first element. Nil
	// stands for one tap at offset 0.
	Taps []int32
}

var oneTap = []int32{0}

func (g *Geometry) taps() []int32 {
	if g.Taps == nil {
		return oneTap
	}
	return g.Taps
}

// Depth is the number of rows of B.
func (g *Geometry) Depth() int { return g.K * len(g.taps()) }

func (g *Geometry) arow(i int) int {
	if g.ARows != nil {
		return int(g.ARows[i])
	}
	return i * g.LDA
}

func (g *Geometry) crow(i int) int {
	if g.CRows != nil {
		return int(g.CRows[i])
	}
	return i * g.LDC
}

// check reports the first way in which the operands do not hold what g
// addresses: lenA and lenC are the lengths of A and C.
func (g *Geometry) check(lenA, lenC int) error {
	if g.M < 0 || g.N < 0 || g.K < 0 {
		return fmt.Errorf("product is %dx%dx%d, want no negative size", g.M, g.N, g.K)
	}
	if g.M == 0 || g.N == 0 {
		return nil
	}
	if g.ARows != nil && len(g.ARows) < g.M {
		return fmt.Errorf("product has %d row offsets of A, want %d", len(g.ARows), g.M)
	}
	if g.CRows != nil && len(g.CRows) < g.M {
		return fmt.Errorf("product has %d row offsets of C, want %d", len(g.CRows), g.M)
	}
	minTap, maxTap := span(g.taps())
	minA, maxA := g.rowSpan(g.ARows, g.LDA)
	if g.K > 0 && (minA+minTap < 0 || maxA+maxTap+g.K > lenA) {
		return fmt.Errorf("product reads A[%d:%d], want within %d elements", minA+minTap, maxA+maxTap+g.K, lenA)
	}
	minC, maxC := g.rowSpan(g.CRows, g.LDC)
	if minC < 0 || maxC+g.N > lenC {
		return fmt.Errorf("product writes C[%d:%d], want within %d elements", minC, maxC+g.N, lenC)
	}
	return nil
}

func (g *Geometry) rowSpan(rows []int32, ld int) (lo, hi int) {
	if rows != nil {
		return span(rows[:g.M])
	}
	return min(0, (g.M-1)*ld), max(0, (g.M-1)*ld)
}

func span(offsets []int32) (lo, hi int) {
	if len(offsets) == 0 {
		return 0, 0
	}
	lo, hi = int(offsets[0]), int(offsets[0])
	for _, o := range offsets[1:] {
		lo, hi = min(lo, int(o)), max(hi, int(o))
	}
	return lo, hi
}

// Range is a half-open interval of rows or columns, the unit in which a
// product is divided among threads.
type Range struct{ Lo, Hi int }

func (r Range) len() int { return r.Hi - r.Lo }

// tileRows divides a range into tiles of nearly equal height of at most mr
// rows, since a kernel is slower on a tile of few rows than on two of middling
// height.
func (r Range) tileRows(mr int) int {
	tiles := ceilDiv(r.len(), mr)
	if tiles == 0 {
		return mr
	}
	return ceilDiv(r.len(), tiles)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(a, b int) int { return ceilDiv(a, b) * b }
