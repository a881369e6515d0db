package kernel

import (
	"fmt"
	"math"
)

// GemmI8 is one tile kernel of C = A*B over bytes with int32 sums. B is int8.
// A is uint8, or int8 where Signed is set. The sums are exact (they wrap at
// 32 bits) unless Saturates is set.
type GemmI8 struct {
	Name   string
	MR, NR int
	Layout LayoutI8
	Signed bool
	// Saturates says that pairs of products are added in int16 with
	// saturation, as vpmaddubsw does. Such a kernel is exact only for weights
	// that are packed [WeightsI8.Exact].
	Saturates bool
	Tile      func(*TileI8)
}

// OutI8 is the epilogue of an int8 product.
type OutI8 uint8

const (
	// OutS32 stores the int32 sums plus Bias.
	OutS32 OutI8 = iota
	// OutF32 stores clamp(float32(sum+Bias)*Scale + Add, Lo, Hi).
	OutF32
	// OutQ8 stores the low byte of round(clamp(float32(sum+Bias)*Scale, Lo,
	// Hi)) + Zero, rounding half to even: a requantization to uint8 or int8
	// as ONNX Runtime computes it. Lo and Hi are the least and greatest
	// quantized value minus Zero, or tighter where an activation is fused.
	OutQ8
)

// TileI8 is the argument of one call of an int8 tile kernel: M <= MR rows of C
// times N columns, which may span many panels. The sum for row i and column j
// runs over A[ARow[i]+Taps[t]+k]; where it goes depends on Out, and only the C
// of that kind is used.
type TileI8 struct {
	A          []uint8
	B          []int8
	C8         []uint8
	C32        []int32
	CF         []float32
	Bias       []int32
	Scale      []float32
	Add        []float32
	Taps       []int32
	ARow, CRow [MaxRows]int
	M, N, K    int
	// PanelStride is the distance between panels of B in bytes, Extra that from
	// a panel to the list of its extra groups; zero if there are none.
	PanelStride, Extra int
	Lo, Hi             float32
	Zero               int32
	Out                OutI8
}

// ProductI8 is a whole int8 product. Bias (N int32) and Add (N float32) may be
// nil; Scale (N float32) is needed unless Out is OutS32. Zero points of A are
// folded into Bias by the caller: bias[j] - zeroA * sum over k of b[k,j].
type ProductI8 struct {
	Geometry
	// A holds uint8, or the bits of int8 for a signed kernel.
	A []uint8
	// B is packed by [GemmI8.Pack], with room for Extra groups in each panel.
	B     []int8
	Extra int
	// One of C8, C32 and CF is the destination, as Out says.
	C8     []uint8
	C32    []int32
	CF     []float32
	Bias   []int32
	Scale  []float32
	Add    []float32
	Lo, Hi float32
	Zero   int32
	Out    OutI8
}

// blockBytesI8 bounds the bytes of B that one kernel call reads, which keeps
// them in the L2 cache and the call short.
const blockBytesI8 = 256 << 10

// Check reports the first slice of p that is too short for its sizes. Block
// does not check again.
func (g GemmI8) Check(p *ProductI8) error {
	lenC := len(p.C32)
	switch p.Out {
	case OutF32:
		lenC = len(p.CF)
	case OutQ8:
		lenC = len(p.C8)
	}
	if err := p.check(len(p.A), lenC); err != nil {
		return err
	}
	if want := g.PackedLen(len(p.taps()), p.K, p.N, p.Extra); len(p.B) < want {
		return fmt.Errorf("product has a packed B of %d bytes, want %d", len(p.B), want)
	}
	if p.Bias != nil && len(p.Bias) < p.N {
		return fmt.Errorf("product has %d biases, want %d", len(p.Bias), p.N)
	}
	if p.Out != OutS32 && len(p.Scale) < p.N {
		return fmt.Errorf("product has %d scales, want %d", len(p.Scale), p.N)
	}
	if p.Add != nil && len(p.Add) < p.N {
		return fmt.Errorf("product has %d addends, want %d", len(p.Add), p.N)
	}
	return nil
}

// Block computes the given rows and columns of p; cols.Lo must be a multiple
// of NR. tile is scratch that the caller keeps, one per thread.
func (g GemmI8) Block(tile *TileI8, p *ProductI8, rows, cols Range) {
	if rows.len() <= 0 {
		return
	}
	panel := g.panel(len(p.taps()), p.K, p.Extra)
	tile.PanelStride, tile.Extra = panel.size(), panel.list
	tile.A, tile.Taps, tile.K = p.A, p.taps(), p.K
	tile.Lo, tile.Hi, tile.Zero, tile.Out = p.Lo, p.Hi, p.Zero, p.Out
	perCall := max(1, blockBytesI8/tile.PanelStride) * g.NR
	for j := cols.Lo; j < cols.Hi; j += perCall {
		tile.N = min(perCall, cols.Hi-j)
		tile.B = p.B[j/g.NR*tile.PanelStride:]
		tile.C8, tile.C32, tile.CF = tail(p.C8, j), tail(p.C32, j), tail(p.CF, j)
		tile.Bias, tile.Scale, tile.Add = tail(p.Bias, j), tail(p.Scale, j), tail(p.Add, j)
		g.rows(tile, p, rows)
	}
}

func (g GemmI8) rows(tile *TileI8, p *ProductI8, rows Range) {
	step := rows.tileRows(g.MR)
	for i := rows.Lo; i < rows.Hi; i += step {
		tile.M = min(step, rows.Hi-i)
		for r := range tile.M {
			tile.ARow[r] = p.arow(i + r)
			tile.CRow[r] = p.crow(i + r)
		}
		g.Tile(tile)
	}
}

// tail is s[from:], or nil where s is.
func tail[T any](s []T, from int) []T {
	if s == nil {
		return nil
	}
	return s[from:]
}

// AcrossTaps returns g, a saturating kernel, with pairs that run on from one tap
// to the next, as in a runtime that lays the taps of a convolution side by side
// before it multiplies. That differs where K is odd; there it is portable code.
func (g GemmI8) AcrossTaps() GemmI8 {
	within, across := g.Tile, g.portable()
	g.Tile = func(t *TileI8) {
		if t.K%2 == 1 && len(t.Taps) > 1 {
			across(t)
			return
		}
		within(t)
	}
	return g
}

// portableI8 is the portable tile kernel, the oracle of all others.
func portableI8(name string, layout LayoutI8, signed, saturates bool) GemmI8 {
	g := GemmI8{Name: name, MR: 4, NR: 8, Layout: layout, Signed: signed, Saturates: saturates}
	g.Tile = g.portable()
	return g
}

// portable returns the tile kernel for g's layout in plain Go.
func (g GemmI8) portable() func(*TileI8) {
	return func(t *TileI8) {
		var rows, column [2048]int16 // enough for most products
		a, b := rows[:0], column[:0]
		for i := range t.M {
			a = g.appendRow(a, t, i)
		}
		depth := len(t.Taps) * t.K
		for j := range t.N {
			b = g.appendColumn(b[:0], t, j)
			for i := range t.M {
				finishI8(t, i, j, g.dot(a[i*depth:][:depth], b)+g.extraDot(t, i, j))
			}
		}
	}
}

// extraDot sums the products of row i with the weights that column j has in
// extra groups.
func (g GemmI8) extraDot(t *TileI8, i, j int) (acc int32) {
	panel := panelI8{GemmI8: g, groups: len(t.Taps) * ceilDiv(t.K, g.Layout.group()), list: t.Extra}
	data := t.B[j/g.NR*t.PanelStride:]
	for e, at := range panel.extras(data) {
		var a, b [4]int16
		row := t.A[t.ARow[i]+int(t.Taps[at.tap])+int(at.k):]
		for r := range min(t.K, 4) {
			a[r], b[r] = g.operand(row[r]), g.weight(panel.group(data, panel.groups+e), r, j%g.NR)
		}
		acc += g.dot(a[:], b[:])
	}
	return acc
}

// operand is what a byte of A stands for.
func (g GemmI8) operand(v uint8) int16 {
	if g.Signed {
		return int16(int8(v))
	}
	return int16(v)
}

// appendRow appends what row i of t has in A, one tap after the other.
func (g GemmI8) appendRow(dst []int16, t *TileI8, i int) []int16 {
	for _, offset := range t.Taps {
		for _, v := range t.A[t.ARow[i]+int(offset):][:t.K] {
			dst = append(dst, g.operand(v))
		}
	}
	return dst
}

// appendColumn appends the weights of column j of t in the order of appendRow.
func (g GemmI8) appendColumn(dst []int16, t *TileI8, j int) []int16 {
	body := t.B[j/g.NR*t.PanelStride+4*g.NR:]
	padded := roundUp(t.K, g.Layout.group())
	for tap := range t.Taps {
		for k := range t.K {
			dst = append(dst, g.weight(body, tap*padded+k, j%g.NR))
		}
	}
	return dst
}

// dot sums the products of a and b by pairs. A pair may begin in one tap and
// end in the next, which matters only where it saturates.
func (g GemmI8) dot(a, b []int16) int32 {
	acc := int32(0)
	for len(a) >= 2 && len(b) >= 2 {
		pair := int32(a[0])*int32(b[0]) + int32(a[1])*int32(b[1])
		if g.Saturates {
			pair = min(max(pair, math.MinInt16), math.MaxInt16)
		}
		acc += pair
		a, b = a[2:], b[2:]
	}
	if len(a) == 1 { // a single product fits in 16 bits
		acc += int32(a[0]) * int32(b[0])
	}
	return acc
}

func finishI8(t *TileI8, i, j int, acc int32) {
	at := t.CRow[i] + j
	if t.Bias != nil {
		acc += t.Bias[j]
	}
	if t.Out == OutS32 {
		t.C32[at] = acc
		return
	}
	v := float32(float32(acc) * t.Scale[j]) // the conversion keeps it from being fused with the sum
	if t.Out == OutQ8 {
		t.C8[at] = uint8(int32(math.RoundToEven(float64(clamp(v, t.Lo, t.Hi)))) + t.Zero)
		return
	}
	if t.Add != nil {
		v += t.Add[j]
	}
	t.CF[at] = clamp(v, t.Lo, t.Hi)
}
