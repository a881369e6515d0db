package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// LayoutI8 is how a kernel wants the weights of one panel of NR columns:
// groups of consecutive k. Each tap is padded with zero weights to a whole
// number of groups.
type LayoutI8 uint8

const (
	// Quad is [k/4][NR][4] int8, for dot products of four bytes.
	Quad LayoutI8 = iota
	// Pair16 is [k/4][2][NR][2] int16, for dot products of two int16: the
	// first half of a group holds k+0 and k+2, the second k+1 and k+3, which
	// are what masking and shifting leave of four bytes of A.
	Pair16
	// Wide16 is [k][NR] int16, for widening products by one element of A.
	Wide16
)

// group is the number of consecutive k that a layout keeps together.
func (l LayoutI8) group() int {
	if l == Wide16 {
		return 1
	}
	return 4
}

// width is the bytes taken by one weight.
func (l LayoutI8) width() int {
	if l == Quad {
		return 1
	}
	return 2
}

// WeightsI8 is the matrix of weights of an int8 product, of Taps*K rows and N
// columns: row-major with rows LD apart, or, with Trans, its transpose, N rows
// of Taps*K that are LD apart.
type WeightsI8 struct {
	B []int8
	// Rest, if not nil, is laid out as B and added to it, for weights that
	// int8 is too narrow for.
	Rest       []int8
	Taps, K, N int
	LD         int
	Trans      bool
	// Exact asks that a kernel that saturates does not, whatever the operand.
	Exact bool
}

func (w *WeightsI8) steps() (row, col int) {
	if w.Trans {
		return 1, w.LD
	}
	return w.LD, 1
}

// quad reads at most so many weights of column j from row r of a tap on, zeros
// after them.
func (w *WeightsI8) quad(tap, r, j, most int) (q quad) {
	row, col := w.steps()
	from, n := (tap*w.K+r)*row+j*col, min(most, w.K-r)
	if n == 4 && row == 1 && w.Rest == nil {
		b := w.B[from : from+4]
		return quad{int16(b[0]), int16(b[1]), int16(b[2]), int16(b[3])}
	}
	for i := range n {
		q[i] = int16(w.B[from+i*row])
		if w.Rest != nil {
			q[i] += int16(w.Rest[from+i*row])
		}
	}
	return q
}

// quad is four consecutive weights of a column.
type quad [4]int16

// hold divides q into what one group of a kernel computes exactly and what is
// left for another: bytes take -128 to 127, and where pairs of products with
// uint8 are added in 16 bits, the positive weights of a pair may sum to 128 at
// most and the negative ones to -128, as 255*128 < 1<<15 <= 255*129.
func (q quad) hold(pairs bool) (held, left quad) {
	for i := 0; i < 4; i += 2 {
		a := min(max(q[i], math.MinInt8), math.MaxInt8)
		b := min(max(q[i+1], math.MinInt8), math.MaxInt8)
		if pairs {
			// Weights of two signs pass: their sum lies between the two.
			b = min(max(b, -128-a), 128-a)
		}
		held[i], held[i+1] = a, b
		left[i], left[i+1] = q[i]-a, q[i+1]-b
	}
	return held, left
}

// panelI8 is the memory of one panel of packed weights: NR int32, the sums of
// the columns; the groups of the taps; extra groups; and if there is room for
// such, at list their number as int32, four bytes unused, and their places.
//
// An extra group holds what is left of weights that [quad.hold] divides. That of
// the last group of a tap, if it is not whole, begins earlier, so that no kernel
// reads behind the tap for it.
type panelI8 struct {
	GemmI8
	groups int // of the taps
	list   int
	extra  int // room
}

// placeI8 is where the bytes of A for an extra group are: from k on in a tap.
type placeI8 struct{ tap, k int32 }

const placeBytes = 8

func (g GemmI8) panel(taps, k, extra int) panelI8 {
	p := panelI8{GemmI8: g, groups: taps * ceilDiv(k, g.Layout.group()), extra: extra}
	if extra > 0 {
		p.list = p.at(p.groups + extra)
	}
	return p
}

// groupBytes is the size of a group.
func (g GemmI8) groupBytes() int { return g.NR * g.Layout.group() * g.Layout.width() }

// at is where the group of the given number begins.
func (p *panelI8) at(group int) int { return 4*p.NR + group*p.groupBytes() }

// group returns the group of the given number of a panel.
func (p *panelI8) group(panel []int8, number int) []int8 {
	return panel[p.at(number):][:p.groupBytes()]
}

func (p *panelI8) size() int {
	if p.extra == 0 {
		return p.at(p.groups)
	}
	return roundUp(p.list+placeBytes*(1+p.extra), 4*p.NR)
}

// extras returns the places of a panel's extra groups.
func (p *panelI8) extras(panel []int8) []placeI8 {
	if p.list == 0 {
		return nil
	}
	list := unsafe.Slice((*placeI8)(unsafe.Pointer(&panel[p.list])), 1+p.count(panel))
	return list[1:]
}

func (p *panelI8) count(panel []int8) int { return int(*(*int32)(unsafe.Pointer(&panel[p.list]))) }

// Extra returns how many extra groups the panels of w need at most, for which
// packing leaves room in each, and how many all panels need in all. Only
// weights that are not int8, or that are to be exact in a kernel that
// saturates, need any.
func (g GemmI8) Extra(w *WeightsI8) (most, all int) {
	pairs := g.limitsPairs(w)
	if g.Layout != Quad || w.Rest == nil && !pairs {
		return 0, 0
	}
	need := make([]uint8, w.Taps*ceilDiv(w.K, 4))
	for first := 0; first < w.N; first += g.NR {
		clear(need)
		for j := first; j < min(first+g.NR, w.N); j++ {
			w.demand(need, j, pairs)
		}
		sum := 0
		for _, n := range need {
			sum += int(n)
		}
		most, all = max(most, sum), all+sum
	}
	return most, all
}

// limitsPairs reports whether the pairs of w must not saturate, but might.
func (g GemmI8) limitsPairs(w *WeightsI8) bool { return g.Saturates && w.Exact && g.Layout == Quad }

// demand raises need, for each group of the taps, to the number of extra groups
// that column j asks for.
func (w *WeightsI8) demand(need []uint8, j int, pairs bool) {
	for tap := range w.Taps {
		groups := need[tap*ceilDiv(w.K, 4):]
		if w.Trans && w.Rest == nil {
			scanPairs(w.B[j*w.LD+tap*w.K:][:w.K], func(i int) {
				groups[i] = max(groups[i], w.rounds(tap, 4*i, j, pairs))
			})
			continue
		}
		for r := 0; r < w.K; r += 4 {
			groups[r/4] = max(groups[r/4], w.rounds(tap, r, j, pairs))
		}
	}
}

// rounds is how many extra groups one group of column j asks for.
func (w *WeightsI8) rounds(tap, r, j int, pairs bool) (n uint8) {
	_, left := w.quad(tap, r, j, 4).hold(pairs)
	for left = left.shifted(r - w.last(r)); left != (quad{}); n++ {
		_, left = left.hold(pairs)
	}
	return n
}

// last is where the extra groups for that of row r begin.
func (w *WeightsI8) last(r int) int { return min(r, max(w.K-4, 0)) }

// shifted returns q moved towards its end.
func (q quad) shifted(by int) (moved quad) {
	copy(moved[by:], q[:])
	return moved
}

// Groups is the number of groups of all panels of w, without extra ones.
func (g GemmI8) Groups(w *WeightsI8) int {
	return ceilDiv(w.N, g.NR) * w.Taps * ceilDiv(w.K, g.Layout.group())
}

// PackedLen is the length in bytes of a packed matrix of taps*k rows and n
// columns whose panels have room for extra groups.
func (g GemmI8) PackedLen(taps, k, n, extra int) int {
	p := g.panel(taps, k, extra)
	return ceilDiv(n, g.NR) * p.size()
}

// Pack packs w into dst, which holds PackedLen(w.Taps, w.K, w.N, extra) bytes.
// Room for extra groups, as [GemmI8.Extra] says, must suffice.
func (g GemmI8) Pack(dst []int8, w *WeightsI8, extra int) {
	p := g.panel(w.Taps, w.K, extra)
	for j := 0; j < w.N; j += g.NR {
		p.pack(dst[j/g.NR*p.size():][:p.size()], w, j)
	}
}

// Columns returns the columns lo to hi-1 of w.
func (w WeightsI8) Columns(lo, hi int) WeightsI8 {
	_, col := w.steps()
	w.B, w.N = w.B[lo*col:], hi-lo
	if w.Rest != nil {
		w.Rest = w.Rest[lo*col:]
	}
	return w
}

// pack packs the columns from first on. Rows of w that lie together are copied;
// what remains are the groups that [quad.hold] may divide.
func (p *panelI8) pack(panel []int8, w *WeightsI8, first int) {
	sums := unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(panel))), p.NR)
	width, step := min(p.NR, w.N-first), p.Layout.group()
	copied, left := w.Trans && w.Rest == nil, make([]bool, p.groups)
	if !copied || width < p.NR || p.extra > 0 {
		clear(panel)
	}
	if copied {
		for c := range width {
			sums[c] = p.packColumn(panel, w, first+c, c, left)
		}
	}
	number := 0
	for tap := range w.Taps {
		for r := 0; r < w.K; r += step {
			switch {
			case !copied:
				p.packGroup(panel, w, tap, r, number, first, sums)
			case left[number]:
				p.packGroup(panel, w, tap, r, number, first, nil)
			}
			number++
		}
	}
}

// packColumn copies column j of w to column c of a panel and returns its sum.
// It notes the groups that a kernel which saturates cannot hold as they are.
func (p *panelI8) packColumn(panel []int8, w *WeightsI8, j, c int, left []bool) (sum int32) {
	pairs, group := p.limitsPairs(w), 0
	for tap := range w.Taps {
		row := w.B[j*w.LD+tap*w.K:][:w.K]
		p.copyRow(panel[p.at(group):], row, c)
		sum += SumS8(row)
		if pairs {
			scanPairs(row, func(i int) { left[group+i] = true })
		}
		group += ceilDiv(w.K, p.Layout.group())
	}
	return sum
}

// copyRow puts a row of weights in column c of groups that follow each other.
func (p *panelI8) copyRow(groups []int8, row []int8, c int) {
	if p.Layout == Wide16 {
		for r, x := range row {
			*(*int16)(unsafe.Pointer(&groups[2*(r*p.NR+c)])) = int16(x)
		}
		return
	}
	size := p.groupBytes()
	for ; len(row) >= 4; row = row[4:] {
		if p.Layout == Quad {
			*(*[4]int8)(groups[4*c:]) = *(*[4]int8)(row)
		} else {
			p.Layout.put(groups, p.NR, c, quad{int16(row[0]), int16(row[1]), int16(row[2]), int16(row[3])})
		}
		groups = groups[size:]
	}
	if len(row) > 0 {
		var q quad
		for i, x := range row {
			q[i] = int16(x)
		}
		p.Layout.put(groups, p.NR, c, q)
	}
}

// packGroup packs one group weight by weight, and what it does not hold as
// extra groups. It adds the weights to sums, unless that is nil.
func (p *panelI8) packGroup(panel []int8, w *WeightsI8, tap, r, number, first int, sums []int32) {
	group, all, at := p.group(panel, number), true, w.last(r)
	left := make([]quad, min(p.NR, w.N-first))
	for c := range left {
		q := w.quad(tap, r, first+c, p.Layout.group())
		if sums != nil {
			sums[c] += int32(q[0]) + int32(q[1]) + int32(q[2]) + int32(q[3])
		}
		if p.Layout == Quad {
			q, left[c] = q.hold(p.limitsPairs(w))
			left[c] = left[c].shifted(r - at)
			all = all && left[c] == quad{}
		}
		p.Layout.put(group, p.NR, c, q)
	}
	if !all {
		p.packExtra(panel, placeI8{int32(tap), int32(at)}, left, p.limitsPairs(w))
	}
}

// packExtra adds extra groups for what is left of a group.
func (p *panelI8) packExtra(panel []int8, place placeI8, left []quad, pairs bool) {
	for all := false; !all; {
		list := (*[2]int32)(unsafe.Pointer(&panel[p.list]))
		group := p.group(panel, p.groups+int(list[0]))
		list[0]++
		p.extras(panel)[list[0]-1] = place
		all = true
		for c := range left {
			var q quad
			q, left[c] = left[c].hold(pairs)
			p.Layout.put(group, p.NR, c, q)
			all = all && left[c] == quad{}
		}
	}
}

// put stores the weights of one group and column at the beginning of body.
func (l LayoutI8) put(body []int8, nr, c int, w quad) {
	switch l {
	case Quad:
		*(*[4]int8)(body[4*c:]) = [4]int8{int8(w[0]), int8(w[1]), int8(w[2]), int8(w[3])}
	case Pair16:
		*(*[2]int16)(unsafe.Pointer(&body[4*c])) = [2]int16{w[0], w[2]}
		*(*[2]int16)(unsafe.Pointer(&body[4*(nr+c)])) = [2]int16{w[1], w[3]}
	case Wide16:
		*(*int16)(unsafe.Pointer(&body[2*c])) = w[0]
	}
}

// weight is the weight of row r and column c of groups that follow each other.
func (g GemmI8) weight(groups []int8, r, c int) int16 {
	switch g.Layout {
	case Pair16:
		return *(*int16)(unsafe.Pointer(&groups[4*((r/4*2+r%2)*g.NR+c)+r%4/2*2]))
	case Wide16:
		return *(*int16)(unsafe.Pointer(&groups[2*(r*g.NR+c)]))
	}
	return int16(groups[4*(r/4*g.NR+c)+r%4])
}

// Words of eight int8 are taken apart into their even and odd bytes, with 128
// added, each in 16 bits.
const (
	signs    = 0x8080808080808080
	oddBytes = 0x00ff00ff00ff00ff
	ones16   = 0x0001000100010001
)

// SumS8 is the sum of s.
func SumS8(s []int8) (sum int32) {
	b := Bytes(s)
	const most = 128 // words until a sum of two may leave 16 bits
	for len(b) >= 8 {
		words := min(len(b)/8, most)
		acc := uint64(0)
		for i := range words {
			u := binary.LittleEndian.Uint64(b[8*i:]) ^ signs
			acc += u&oddBytes + u>>8&oddBytes
		}
		for ; acc != 0; acc >>= 16 {
			sum += int32(acc & 0xffff)
		}
		sum -= int32(words) * 8 * 128
		b = b[8*words:]
	}
	for _, v := range b {
		sum += int32(int8(v))
	}
	return sum
}

// scanPairs calls f with the number of each group of four in which a pair of
// row sums to more than 128 or less than -128, which is where [quad.hold]
// leaves something: the sum of int8 of two signs lies between the two.
func scanPairs(row []int8, f func(group int)) {
	b := Bytes(row)
	r := 0
	for ; r+8 <= len(b); r += 8 {
		u := binary.LittleEndian.Uint64(b[r:]) ^ signs
		sum := u&oddBytes + u>>8&oddBytes // of a pair, and 256
		above := sum + (0x7fff-384)*ones16
		below := ^(sum + (0x8000-128)*ones16)
		if odd := (above | below) & (0x8000 * ones16); odd != 0 {
			if odd&0xffffffff != 0 {
				f(r / 4)
			}
			if odd>>32 != 0 {
				f(r/4 + 1)
			}
		}
	}
	for r++; r < len(row); r += 2 {
		if s := int(row[r-1]) + int(row[r]); s > 128 || s < -128 {
			f(r / 4)
		}
	}
}

// Bytes views int8 values as the bytes that the kernels take.
func Bytes(s []int8) []uint8 {
	return unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(s))), len(s))
}
