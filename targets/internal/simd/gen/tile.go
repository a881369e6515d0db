package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The general registers of a tile kernel: one address per row of A, a cursor
// in B and an index along K, which runs from minus the length of the run to 0.
var (
	rowRegs = []reg.GPPhysical{
		reg.RAX, reg.RCX, reg.RDX, reg.RSI, reg.RDI, reg.R8,
		reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14,
	}
	bReg  = reg.RBX
	index = reg.R15

	// heightReg is the number of rows in the epilogue.
	heightReg = reg.R14
)

// fields holds the offsets of the fields of a tile argument.
type fields struct {
	a, b, taps, tapsLen, arow, crow, m, n, k, panelStride, extra, bias, lo, hi int
}

// gemm describes a tile kernel. A kernel walks the panels of B; for each panel
// it sums over the taps and k in registers, then finishes the rows.
//
// Only the loop along K is emitted for each number of rows: for one and for the
// even numbers, since an odd last row may be computed twice. The code around it
// is there once for each width of a panel and leaves off after the last row.
type gemm struct {
	*file
	isa
	mr     int
	nv     int // vectors per row of a panel
	size   int // bytes of one element of A
	group  int // elements of A per step along K
	header int // bytes before the first step of a panel
	step   int // bytes of B per step
	unroll int // steps per round of the loop over a whole tile
	fields fields
	// many says that a call may have many tiles of rows, and that those of mr
	// rows on a full panel have code of their own, which need not look where the
	// rows end.
	many bool

	// start sets the accumulators; mac does one step along K, ahead steps
	// from the cursors; partial, if not nil, does a last step of fewer than
	// group elements, of which index holds the negative number; finish is the
	// epilogue.
	start   func(t *tile)
	mac     func(t *tile, ahead int)
	partial func(t *tile)
	finish  func(t *tile)

	// Locals: the rows of the tile, the columns left, the address of the panel,
	// the number of the panel's first column, the number of the tap, the cursor
	// in B, the length of a run of A; where there are many tiles, the rows left
	// and how far the places of the tile's rows lie behind those of the first.
	height, remaining, panel, column, tap, cursor, run, left, shift operand.Mem

	labels int // unique labels so far
}

// tile is the code for one number of rows and of vectors per row.
type tile struct {
	*gemm
	label  string
	rows   int
	vecs   int
	fewer  bool // height may be less than rows
	masked bool
	rowsIn operand.Op // where height lies
}

func (t *tile) acc(row, v int) reg.VecPhysical { return t.vec(t.first + row*t.vecs + v) }

// each calls emit for the rows, and where there may be fewer makes it leave off
// after the last, looking once in every step rows.
func (t *tile) each(step int, emit func(row int)) {
	if !t.fewer {
		for row := range t.rows {
			emit(row)
		}
		return
	}
	over := t.unique("over")
	for row := range t.rows {
		emit(row)
		if done := row + 1; done < t.rows && done%step == 0 {
			t.CMPQ(t.rowsIn, imm(done))
			t.JLE(operand.LabelRef(over))
		}
	}
	t.Label(over)
}

// eachAcc calls emit for every accumulator.
func (t *tile) eachAcc(emit func(row, v int, acc reg.VecPhysical)) {
	t.each(4, func(row int) {
		for v := range t.vecs {
			emit(row, v, t.acc(row, v))
		}
	})
}

func (g *gemm) unique(what string) string {
	g.labels++
	return fmt.Sprintf("%s%d", what, g.labels)
}

// frame is larger than 128 bytes, the most that the assembler silently makes
// NOSPLIT.
const frame = 136

func (g *gemm) emit() {
	local := g.AllocLocal(frame)
	slot := func(i int) operand.Mem { return local.Offset(8 * i) }
	g.remaining, g.panel, g.column, g.tap, g.cursor, g.height, g.run = slot(0), slot(1), slot(2), slot(3), slot(4), slot(5), slot(6)

	if g.many {
		g.left, g.shift = slot(7), slot(8)
		g.tiles()
	} else {
		g.MOVQ(param(), index)
		g.firstPanel()
		g.MOVQ(at(index, g.fields.m), reg.RAX)
		g.MOVQ(reg.RAX, g.height)
		g.TESTQ(reg.RAX, reg.RAX)
		g.JLE(operand.LabelRef("done"))
		g.repeatLastRow()
		g.panels()
		g.Label("done")
	}
	g.VZEROUPPER()
	g.RET()
}

// tiles emits the loop over the tiles of rows.
func (g *gemm) tiles() {
	g.MOVQ(param(), index)
	g.MOVQ(at(index, g.fields.m), reg.RAX)
	g.MOVQ(reg.RAX, g.left)
	g.MOVQ(imm(0), g.shift)
	g.TESTQ(reg.RAX, reg.RAX)
	g.JLE(operand.LabelRef("over"))
	g.repeatLastRow()
	g.Label("tile")
	g.MOVQ(param(), index)
	g.firstPanel()
	g.MOVQ(g.left, reg.RAX)
	g.MOVQ(imm(g.mr), reg.RCX)
	g.CMPQ(reg.RAX, reg.RCX)
	g.CMOVQGT(reg.RCX, reg.RAX)
	g.MOVQ(reg.RAX, g.height)
	g.panels()
	g.Label("done")
	g.ADDQ(imm(8*g.mr), g.shift)
	g.SUBQ(imm(g.mr), g.left)
	g.JG(operand.LabelRef("tile"))
	g.Label("over")
}

// firstPanel goes to the first panel and column; index holds the argument.
func (g *gemm) firstPanel() {
	g.MOVQ(at(index, g.fields.n), reg.RAX)
	g.MOVQ(reg.RAX, g.remaining)
	g.MOVQ(at(index, g.fields.b), reg.RAX)
	g.MOVQ(reg.RAX, g.panel)
	g.MOVQ(imm(0), g.column)
}

// repeatLastRow makes the row after the last, whose number is in RAX, the same
// row of A.
func (g *gemm) repeatLastRow() {
	g.MOVQ(indexed(index, reg.RAX, 8, g.fields.arow-8), reg.RCX)
	g.MOVQ(reg.RCX, indexed(index, reg.RAX, 8, g.fields.arow))
}

// panels emits the loop over panels; the last may be narrow.
func (g *gemm) panels() {
	full := &tile{gemm: g, label: "wide", rows: g.mr, vecs: g.nv, fewer: true, rowsIn: g.height}
	if g.many {
		g.wholePanels(full)
	}
	narrow := &tile{gemm: g, label: "narrow", rows: g.mr, vecs: 1, fewer: true, masked: true, rowsIn: g.height}
	g.Label(full.label)
	g.MOVQ(g.remaining, reg.RAX)
	g.TESTQ(reg.RAX, reg.RAX)
	g.JLE(operand.LabelRef("done"))
	g.CMPQ(reg.RAX, imm(g.lanes))
	g.JLE(operand.LabelRef(narrow.label))
	full.body()
	g.nextPanel()
	g.JMP(operand.LabelRef(full.label))
	g.Label(narrow.label)
	narrow.body()
}

// wholePanels emits the loop over full panels of tiles of mr rows; where there
// are fewer rows or columns it leaves them to those of rest.
func (g *gemm) wholePanels(rest *tile) {
	whole := &tile{gemm: g, label: "whole", rows: g.mr, vecs: g.nv}
	g.CMPQ(g.height, imm(g.mr))
	g.JNE(operand.LabelRef(rest.label))
	if g.mr <= 6 {
		g.single(whole.label)
		g.JMP(operand.LabelRef(rest.label))
	}
	g.Label(whole.label)
	g.CMPQ(g.remaining, imm(g.nv*g.lanes))
	g.JL(operand.LabelRef(rest.label))
	whole.body()
	g.nextPanel()
	g.JMP(operand.LabelRef(whole.label))
}

// nextPanel goes on to the columns of the next panel.
func (g *gemm) nextPanel() {
	g.SUBQ(imm(g.nv*g.lanes), g.remaining)
	g.ADDQ(imm(g.nv*g.lanes), g.column)
	g.MOVQ(param(), reg.RAX)
	g.MOVQ(at(reg.RAX, g.fields.panelStride), reg.RAX)
	if g.size > 1 {
		g.SHLQ(operand.U8(2), reg.RAX)
	}
	g.ADDQ(reg.RAX, g.panel)
}

// body emits the work on one panel.
func (t *tile) body() {
	t.MOVQ(t.panel, bReg)
	t.start(t)
	if t.header > 0 {
		t.ADDQ(imm(t.header), bReg)
	}
	t.MOVQ(bReg, t.cursor)
	t.MOVQ(imm(0), t.tap)
	t.Label(t.label + "tap")
	t.addresses()
	t.MOVQ(t.cursor, bReg)
	t.along()
	t.MOVQ(bReg, t.cursor)
	t.INCQ(t.tap)
	t.JMP(operand.LabelRef(t.label + "tap"))
	t.Label(t.label + "finish")
	t.epilogue()
}

// addresses sets the row registers to the end of each row's run of the current
// tap, and index to minus the length of the run; it leaves the loop after the
// last tap and the last extra group, which is a tap of one group.
func (t *tile) addresses() {
	from, argument, length := index, bReg, rowRegs[0]
	extra, found, last := t.label+"extra", t.label+"found", t.label+"finish"
	t.MOVQ(param(), argument)
	t.MOVQ(t.tap, from)
	t.CMPQ(from, at(argument, t.fields.tapsLen))
	if t.fields.extra == 0 {
		t.JGE(operand.LabelRef(last))
	} else {
		t.JGE(operand.LabelRef(extra))
	}
	t.MOVQ(at(argument, t.fields.taps), rowRegs[1])
	t.MOVLQSX(indexed(rowRegs[1], from, 4, 0), from)
	t.MOVQ(at(argument, t.fields.k), length)
	if t.fields.extra != 0 {
		t.JMP(operand.LabelRef(found))
		t.Label(extra)
		t.extra(from, argument, length)
		t.Label(found)
	}
	t.ADDQ(length, from)
	if t.size == 4 {
		t.SHLQ(operand.U8(2), from)
		t.SHLQ(operand.U8(2), length)
	}
	t.ADDQ(at(argument, t.fields.a), from)
	t.MOVQ(length, t.run)
	if t.many {
		t.ADDQ(t.shift, argument)
	}
	t.each(2, func(row int) {
		r := rowRegs[row]
		t.MOVQ(at(argument, t.fields.arow+8*row), r)
		t.LEAQ(indexed(from, r, uint8(t.size), 0), r)
	})
	t.MOVQ(t.run, index)
	t.NEGQ(index)
}

// extra sets from and length to the place of an extra group in a row of A and
// its number of bytes, where from holds the number of a tap behind the last.
func (t *tile) extra(from, argument, length reg.GPPhysical) {
	const word, most = 8, 4
	last, list, count := operand.LabelRef(t.label+"finish"), rowRegs[1], rowRegs[2]
	t.MOVQ(at(argument, t.fields.extra), list)
	t.TESTQ(list, list)
	t.JEQ(last)
	t.ADDQ(t.panel, list)
	t.SUBQ(at(argument, t.fields.tapsLen), from)
	t.MOVLQSX(at(list, 0), count)
	t.CMPQ(from, count)
	t.JGE(last)
	t.LEAQ(indexed(list, from, word, word), list)
	t.MOVLQSX(at(list, 0), from)
	t.MOVQ(at(argument, t.fields.taps), count)
	t.MOVLQSX(indexed(count, from, 4, 0), from)
	t.MOVLQSX(at(list, 4), count)
	t.ADDQ(count, from)
	t.MOVQ(at(argument, t.fields.k), length)
	t.MOVQ(imm(most), count)
	t.CMPQ(length, count)
	t.CMOVQGT(count, length)
}

// lower is the next smaller number of rows that has a loop of its own.
func lower(rows int) int {
	if rows == 2 {
		return 1
	}
	return max(rows-2, 0)
}

// along emits the loops along K, the whole tile's first.
func (t *tile) along() {
	end := t.label + "end"
	if !t.fewer {
		t.loop("many", t.unroll)
		t.loop("one", 1)
	}
	for rows := t.mr; rows > 0 && t.fewer; rows = lower(rows) {
		part := *t
		part.rows, part.fewer, part.label = rows, false, fmt.Sprintf("%s%d", t.label, rows)
		t.Label(part.label)
		if rows > 1 {
			t.CMPQ(t.height, imm(lower(rows)))
			t.JLE(operand.LabelRef(fmt.Sprintf("%s%d", t.label, lower(rows))))
		}
		if rows == t.mr {
			part.loop("many", t.unroll)
		}
		part.loop("one", 1)
		if rows > 1 {
			t.JMP(operand.LabelRef(end))
		}
	}
	t.Label(end)
	if t.partial == nil {
		return
	}
	over := t.label + "whole"
	t.TESTQ(index, index)
	t.JEQ(operand.LabelRef(over))
	t.partial(t)
	t.ADDQ(imm(t.step), bReg)
	t.Label(over)
}

// line is the size of a cache line in bytes.
const line = 64

// prefetch asks for the part of B that comes a page later: weights that do not
// fit in the L2 cache pass through it once, faster than the hardware foresees.
func (t *tile) prefetch(ahead int) {
	const distance = 4096
	for offset := 0; offset < t.step; offset += line {
		t.PREFETCHT0(at(bReg, ahead*t.step+offset+distance))
	}
}

// loop emits a loop of rounds of some steps, as long as there are so many.
func (t *tile) loop(name string, steps int) {
	name = t.label + name
	over, bytes := operand.LabelRef(name+"over"), t.group*t.size
	t.CMPQ(index, imm(-steps*bytes))
	t.JG(over)
	t.Label(name)
	for ahead := range steps {
		t.prefetch(ahead)
		t.mac(t, ahead)
	}
	t.ADDQ(imm(steps*bytes), index)
	t.ADDQ(imm(steps*t.step), bReg)
	t.CMPQ(index, imm(-steps*bytes))
	t.JLE(operand.LabelRef(name))
	t.Label(string(over))
}

// epilogue emits finish, twice where full vectors need no mask.
func (t *tile) epilogue() {
	t.MOVQ(param(), index)
	if !t.fewer {
		if t.lanes == 16 {
			t.setMasks()
		}
		t.finish(t)
		return
	}
	t.MOVQ(t.height, heightReg)
	t.rowsIn = heightReg
	if t.lanes == 16 {
		t.setMasks()
		t.masked = true
		t.finish(t)
		return
	}
	if t.vecs < t.nv {
		t.setMasks()
		t.finish(t)
		return
	}
	masked := *t
	masked.masked, masked.label = true, t.label+"masked"
	t.CMPQ(t.remaining, imm(t.nv*t.lanes))
	t.JL(operand.LabelRef(masked.label))
	t.finish(t)
	t.JMP(operand.LabelRef(t.label + "finished"))
	t.Label(masked.label)
	masked.setMasks()
	masked.finish(&masked)
	t.Label(t.label + "finished")
}

// The masks of AVX2 occupy the registers after the temporaries.
const (
	temp0 = 0
	temp1 = 1
	mask0 = 2
)

// setMasks makes masks of the remaining columns: opmask registers K1 and K2, or
// vectors loaded from where a table of ones meets one of zeros.
func (t *tile) setMasks() {
	width := t.vecs * t.lanes
	t.MOVQ(t.remaining, reg.RAX)
	t.MOVQ(imm(width), reg.RCX)
	t.CMPQ(reg.RAX, reg.RCX)
	t.CMOVQGT(reg.RCX, reg.RAX)
	if t.lanes == 16 {
		t.MOVQ(imm(-1), reg.RDX)
		t.BZHIQ(reg.RAX, reg.RDX, reg.RDX)
		t.KMOVW(reg.EDX, reg.K1)
		if t.vecs > 1 {
			t.SHRQ(operand.U8(16), reg.RDX)
			t.KMOVW(reg.EDX, reg.K2)
		}
		return
	}
	t.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("maskTable"), 0), reg.RDX)
	t.NEGQ(reg.RAX)
	for v := range t.vecs {
		t.VMOVDQU(indexed(reg.RDX, reg.RAX, 4, 64+32*v), t.vec(mask0+v))
	}
}

// maskTable is 16 words of ones followed by 16 of zeros.
func (f *file) maskTable() {
	f.StaticGlobal("maskTable")
	f.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		f.AddDatum(8*i, operand.U64(math.MaxUint64*uint64((15-i)/8)))
	}
}

func (t *tile) opmask(v int) reg.OpmaskPhysical {
	if v == 0 {
		return reg.K1
	}
	return reg.K2
}

// load reads column vector v from memory, zeros where the mask is off.
func (t *tile) load(m operand.Mem, v int, dst reg.VecPhysical) {
	switch {
	case t.lanes == 16:
		t.VMOVUPS_Z(m, t.opmask(v), dst)
	case t.masked:
		t.VMASKMOVPS(m, t.vec(mask0+v), dst)
	default:
		t.VMOVUPS(m, dst)
	}
}

// store writes column vector v to memory where the mask is on.
func (t *tile) store(src reg.VecPhysical, m operand.Mem, v int) {
	switch {
	case t.lanes == 16:
		t.VMOVUPS(src, t.opmask(v), m)
	case t.masked:
		t.VMASKMOVPS(src, t.vec(mask0+v), m)
	default:
		t.VMOVUPS(src, m)
	}
}

// eachRow calls emit for every row with the address of its first column in a
// matrix at base of elements of the given size, whose row offsets are the table
// at rows in the argument.
func (t *tile) eachRow(base reg.GPPhysical, size uint8, rows int, emit func(row int, address reg.GPPhysical)) {
	places := index
	if t.many {
		places = reg.RCX
		t.MOVQ(index, places)
		t.ADDQ(t.shift, places)
	}
	t.each(1, func(row int) {
		t.MOVQ(at(places, rows+8*row), reg.RDX)
		t.LEAQ(indexed(base, reg.RDX, size, 0), reg.RDX)
		emit(row, reg.RDX)
	})
}

// columnAt sets dst to the address of the current column in the slice at the
// given field, and jumps to skip, if not empty, where the slice is nil.
func (t *tile) columnAt(field int, size uint8, dst reg.GPPhysical, skip string) {
	t.MOVQ(at(index, field), dst)
	if skip != "" {
		t.TESTQ(dst, dst)
		t.JEQ(operand.LabelRef(skip))
	}
	t.MOVQ(t.column, reg.RCX)
	t.LEAQ(indexed(dst, reg.RCX, size, 0), dst)
}

// addColumns adds a row of biases, one per column, to every accumulator, as
// add does for one vector of them.
func (t *tile) addColumns(field int, add func(bias, acc reg.VecPhysical)) {
	over := t.unique("absent")
	t.columnAt(field, 4, reg.RAX, over)
	for v := range t.vecs {
		t.load(at(reg.RAX, v*t.bytes()), v, t.vec(temp0+v))
	}
	t.eachAcc(func(_, v int, acc reg.VecPhysical) { add(t.vec(temp0+v), acc) })
	t.Label(over)
}

// storeRows writes the accumulators to a matrix of 4-byte elements.
func (t *tile) storeRows(base reg.GPPhysical) {
	t.eachRow(base, 4, t.fields.crow, func(row int, address reg.GPPhysical) {
		for v := range t.vecs {
			t.store(t.acc(row, v), at(address, v*t.bytes()), v)
		}
	})
}

// unbounded emits, in the code of whole tiles, a jump to the label it returns
// where the bounds in the argument are infinite.
func (t *tile) unbounded(argument reg.GPPhysical) string {
	if t.fewer {
		return ""
	}
	over, bounded := t.unique("unbounded"), t.unique("bounded")
	t.CMPL(at(argument, t.fields.lo), operand.U32(math.Float32bits(float32(math.Inf(-1)))))
	t.JNE(operand.LabelRef(bounded))
	t.CMPL(at(argument, t.fields.hi), operand.U32(math.Float32bits(float32(math.Inf(1)))))
	t.JEQ(operand.LabelRef(over))
	t.Label(bounded)
	return over
}

// clamp limits every accumulator to the bounds in the argument, keeping NaN:
// VMAXPS and VMINPS return their second source if either is NaN.
func (t *tile) clamp() { t.clampBy(index) }

// clampBy is clamp by the bounds in the argument at the given address.
func (t *tile) clampBy(argument reg.GPPhysical) {
	lo, hi := t.vec(temp0), t.vec(temp1)
	if over := t.unbounded(argument); over != "" {
		defer t.Label(over)
	}
	t.VBROADCASTSS(at(argument, t.fields.lo), lo)
	t.VBROADCASTSS(at(argument, t.fields.hi), hi)
	t.eachAcc(func(_, _ int, acc reg.VecPhysical) {
		t.VMAXPS(acc, lo, acc)
		t.VMINPS(acc, hi, acc)
	})
}
