package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

var quantized kernel.Quantized

// weightOnly emits the products of weights of 4 and 8 bits with a vector, four
// rows at a time. A block of a row contributes
//
//	scale * (sum of q*x - zero * sum of x)
//
// so that weights are only widened, and the sum of x is shared by the rows.
func weightOnly(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		m.gemvQuantized("gemv_q4", 4)
		m.gemvQuantized("gemv_q8", 8)
		if s.lanes == 8 {
			m.dequantQ4()
			m.gemvHalves("gemv_f16", "dst[i] = sum over k of w[i*ldw+k] * x[k] for half floats, len(x) a\nmultiple of 16.",
				func(from operand.Mem) v { return m.op1("VCVTPH2PS", from) })
			m.gemvHalves("gemv_bf16", "dst[i] = sum over k of w[i*ldw+k] * x[k] for brain floats, len(x) a\nmultiple of 16.",
				func(from operand.Mem) v { return m.shiftLeft(m.op1("VPMOVZXWD", from), 16) })
		}
		m.end()
	}
}

// rowsOf addresses the same place in up to four rows a distance apart.
type rowsOf struct {
	base, step, step3 reg.GPVirtual
}

func (m *vector) rowsOf(base, step reg.GPVirtual) rowsOf {
	step3 := m.GP64()
	m.LEAQ(indexed(step, step, 2, 0), step3)
	return rowsOf{base, step, step3}
}

func (r rowsOf) at(row, disp int) operand.Mem {
	switch row {
	case 0:
		return at(r.base, disp)
	case 3:
		return indexed(r.base, r.step3, 1, disp)
	}
	return indexed(r.base, r.step, uint8(row), disp)
}

// gemvQ is the state of a product of quantized weights with a vector.
type gemvQ struct {
	*vector
	bits            int
	t, dst, left    reg.GPVirtual
	q, scale, zero  rowsOf
	x, blocks, unit reg.GPVirtual
	evens, odds     v // indices that take x apart, at 512 bits
}

func (m *vector) gemvQuantized(stem string, bits int) {
	name := stem + "_" + m.suffix
	m.begin(name, "dst, x []float32, w *kernel.Quantized, row int", "dst, x []float32, w *byte, row int",
		name+" is dst[i] = sum over k of w(row+i,k)*x[k] for kernel.Quantized,\nwith blocks that are whole units of registers.")
	m.AllocLocal(frame)
	g := &gemvQ{vector: m, bits: bits, t: m.GP64(), left: m.length("dst"), dst: m.slice("dst", 4).GPVirtual}
	m.Load(m.Param("w"), g.t)
	g.start()
	g.rowsAtATime(4)
	g.rowsAtATime(1)
	m.done()
}

// start points q, scale and zero at the first row.
func (g *gemvQ) start() {
	row, blocks := g.GP64(), g.GP64()
	g.Load(g.Param("row"), row)
	k := g.field(g.t, unsafe.Offsetof(quantized.K))
	g.MOVQ(k, reg.RAX)
	g.XORL(reg.EDX, reg.EDX)
	g.DIVQ(at(g.t, int(unsafe.Offsetof(quantized.Block))))
	g.MOVQ(reg.RAX, blocks)
	g.SHLQ(operand.U8(2), blocks)
	if g.bits == 4 {
		g.SHRQ(operand.U8(1), k)
	}
	q, scale, zero := g.field(g.t, unsafe.Offsetof(quantized.Q)), g.field(g.t, unsafe.Offsetof(quantized.Scale)), g.field(g.t, unsafe.Offsetof(quantized.Zero))
	skip := g.GP64()
	g.MOVQ(k, skip)
	g.IMULQ(row, skip)
	g.ADDQ(skip, q)
	g.IMULQ(blocks, row)
	g.ADDQ(row, scale)
	g.ADDQ(row, zero)
	g.q, g.scale = g.rowsOf(q, k), g.rowsOf(scale, blocks)
	g.zero = rowsOf{zero, g.scale.step, g.scale.step3}
}

func (g *gemvQ) rowsAtATime(height int) {
	loop, over := operand.LabelRef(g.label("rows")), operand.LabelRef(g.label("rowsover"))
	g.Label(string(loop))
	g.CMPQ(g.left, imm(height))
	g.JL(over)
	sums := g.filled(height, 0)
	given, done := operand.LabelRef(g.label("given")), operand.LabelRef(g.label("summed"))
	g.CMPQ(at(g.t, int(unsafe.Offsetof(quantized.Zero))), imm(0))
	g.JNE(given)
	g.alongBlocks(sums, false)
	g.JMP(done)
	g.Label(string(given))
	g.alongBlocks(sums, true)
	g.Label(string(done))
	for r, sum := range sums {
		g.VMOVSS(g.fold([]v{sum}, "VADDPS").AsX(), at(g.dst, 4*r))
	}
	g.nextRows(height)
	g.SUBQ(imm(height), g.left)
	g.JMP(loop)
	g.Label(string(over))
}

// nextRows moves the cursors, which stand behind the last row's end as seen
// from the first, over the other rows.
func (g *gemvQ) nextRows(height int) {
	g.ADDQ(imm(4*height), g.dst)
	for range height - 1 {
		g.ADDQ(g.q.step, g.q.base)
		g.ADDQ(g.scale.step, g.scale.base)
		g.ADDQ(g.scale.step, g.zero.base)
	}
}

func (g *gemvQ) alongBlocks(sums []v, zeroGiven bool) {
	g.x, g.blocks, g.unit = g.slice("x", 4).GPVirtual, g.GP64(), g.GP64()
	g.MOVQ(g.scale.step, g.blocks)
	if g.lanes == 16 && g.bits == 4 {
		g.evens, g.odds = g.sequence(0), g.sequence(1)
	}
	loop, over := operand.LabelRef(g.label("block")), operand.LabelRef(g.label("blockover"))
	g.Label(string(loop))
	g.SUBQ(imm(4), g.blocks)
	g.JL(over)
	g.block(sums, zeroGiven)
	g.JMP(loop)
	g.Label(string(over))
}

// sequence is first, first+2, first+4 ...
func (g *gemvQ) sequence(first uint32) v {
	dst := g.fresh()
	g.avo("VMOVDQU32", g.words(first), dst)
	return dst
}

// words lays down 16 integers two apart.
func (g *gemvQ) words(first uint32) operand.Mem {
	at := len(g.constants)
	for i := range uint32(16) {
		g.constants = append(g.constants, first+2*i)
	}
	return operand.NewDataAddr(operand.NewStaticSymbol(g.table()), at*g.constantSize())
}

// block emits one block of all rows.
func (g *gemvQ) block(sums []v, zeroGiven bool) {
	partial, total := g.filled(len(sums), 0), g.constant(0)
	needTotal := zeroGiven || g.bits == 4
	g.MOVQ(at(g.t, int(unsafe.Offsetof(quantized.Block))), g.unit)
	loop := g.label("unit")
	g.Label(loop)
	if g.bits == 4 {
		g.unit4(partial, total)
	} else {
		g.unit8(partial, total)
	}
	g.SUBQ(imm(g.unitLen()), g.unit)
	g.JG(operand.LabelRef(loop))
	for r, sum := range sums {
		if needTotal {
			zero := g.fresh()
			if zeroGiven {
				g.avo("VBROADCASTSS", g.zero.at(r, 0), zero)
			} else {
				g.avo("VBROADCASTSS", g.float(8), zero)
			}
			g.avo("VFNMADD231PS", total, zero, partial[r])
		}
		g.avo("VFMADD231PS", g.broadcast(g.scale.at(r, 0)), partial[r], sum)
	}
	g.ADDQ(imm(4), g.scale.base)
	g.ADDQ(imm(4), g.zero.base)
}

// unitLen is the number of weights handled at once.
func (g *gemvQ) unitLen() int { return g.lanes * 8 / g.bits }

// unit4 multiplies two vectors of weights: those in the low halves of the
// bytes meet the even elements of x, the others the odd.
func (g *gemvQ) unit4(partial []v, total v) {
	even, odd := g.split()
	g.avo("VADDPS", even, total, total)
	g.avo("VADDPS", odd, total, total)
	for r := range partial {
		q := g.op1("VPMOVZXBD", g.q.at(r, 0))
		low := g.andK(q, 15)
		g.avo("VCVTDQ2PS", low, low)
		g.avo("VFMADD231PS", low, even, partial[r])
		g.avo("VPSRLD", operand.U8(4), q, q)
		g.avo("VCVTDQ2PS", q, q)
		g.avo("VFMADD231PS", q, odd, partial[r])
	}
	g.ADDQ(imm(g.lanes), g.q.base)
	g.ADDQ(imm(8*g.lanes), g.x)
}

// split loads two vectors of x as the even and the odd elements.
func (g *gemvQ) split() (even, odd v) {
	if g.lanes == 16 {
		even, odd = g.copy(g.evens), g.copy(g.odds)
		first, second := g.load(at(g.x, 0), nil), g.load(at(g.x, g.bytes()), nil)
		g.avo("VPERMI2PS", second, first, even)
		g.avo("VPERMI2PS", second, first, odd)
		return even, odd
	}
	// Shuffling within the lanes of [0..3 8..11] and [4..7 12..15] gives the
	// evens and the odds in order.
	first, second := g.load(at(g.x, 0), nil), g.load(at(g.x, g.bytes()), nil)
	low, high := g.fresh(), g.fresh()
	g.avo("VPERM2F128", operand.U8(0x20), second, first, low)
	g.avo("VPERM2F128", operand.U8(0x31), second, first, high)
	even, odd = g.fresh(), g.fresh()
	g.avo("VSHUFPS", operand.U8(0x88), high, low, even)
	g.avo("VSHUFPS", operand.U8(0xdd), high, low, odd)
	return even, odd
}

func (g *gemvQ) unit8(partial []v, total v) {
	x := g.load(at(g.x, 0), nil)
	g.avo("VADDPS", x, total, total)
	for r := range partial {
		q := g.op1("VCVTDQ2PS", g.op1("VPMOVSXBD", g.q.at(r, 0)))
		g.avo("VFMADD231PS", x, q, partial[r])
	}
	g.ADDQ(imm(g.lanes), g.q.base)
	g.ADDQ(imm(g.bytes()), g.x)
}

// dequantQ4 emits the dequantization of one block of 4-bit weights.
func (m *vector) dequantQ4() {
	m.kernel("dequant_q4", "dst []float32, q []uint8, zero, scale float32",
		"dst[i] = (q(i)-zero) * scale for 4-bit weights, 16 at a time.")
	zero, scale := m.scalar("zero"), m.scalar("scale")
	dst, q, n := m.slice("dst", 4), m.slice("q", 1), m.length("dst")
	loop, over := operand.LabelRef(m.label("loop")), operand.LabelRef(m.label("over"))
	m.Label(string(loop))
	m.CMPQ(n, imm(16))
	m.JL(over)
	low, high, mask := m.XMM(), m.XMM(), m.XMM()
	m.avo("VMOVQ", at(q, 0), low)
	m.avo("VPSRLW", operand.U8(4), low, high)
	m.avo("VMOVDQU", m.word(0x0f0f0f0f), mask)
	m.avo("VPAND", mask, low, low)
	m.avo("VPAND", mask, high, high)
	m.avo("VPUNPCKLBW", high, low, low)
	for i := range 2 {
		x := m.op1("VCVTDQ2PS", m.op1("VPMOVZXBD", low))
		m.store(m.mul(m.sub(x, zero), scale), at(dst, 32*i), nil)
		m.avo("VPSRLDQ", operand.U8(8), low, low)
	}
	m.ADDQ(imm(8), q.GPVirtual)
	m.ADDQ(imm(64), dst.GPVirtual)
	m.SUBQ(imm(16), n)
	m.JMP(loop)
	m.Label(string(over))
	m.done()
}

// gemvHalves emits the products of 16-bit floats, which are widened in registers,
// with a vector, four rows at a time; the sums of a row do not depend on those
// beside it.
func (m *vector) gemvHalves(stem, doc string, widen func(operand.Mem) v) {
	m.kernel(stem, "dst []float32, w []uint16, x []float32, ldw int", doc)
	dst, rows, w := m.slice("dst", 4), m.length("dst"), m.slice("w", 2)
	ldw := m.GP64()
	m.Load(m.Param("ldw"), ldw)
	m.SHLQ(operand.U8(1), ldw)
	for _, height := range []int{4, 1} {
		loop, over := operand.LabelRef(m.label("rows")), operand.LabelRef(m.label("rowsover"))
		m.Label(string(loop))
		m.CMPQ(rows, imm(height))
		m.JL(over)
		m.halvesAlong(height, dst, w, ldw, widen)
		m.ADDQ(imm(4*height), dst.GPVirtual)
		m.SUBQ(imm(height), rows)
		m.JMP(loop)
		m.Label(string(over))
	}
	m.done()
}

func (m *vector) halvesAlong(height int, dst, w cursor, ldw reg.GPVirtual, widen func(operand.Mem) v) {
	x, n := m.slice("x", 4), m.length("x")
	cursors := []cursor{x}
	for range height {
		row := cursor{m.GP64(), 2}
		m.MOVQ(w.GPVirtual, row.GPVirtual)
		m.ADDQ(ldw, w.GPVirtual)
		cursors = append(cursors, row)
	}
	accs := m.filled(2*height, 0)
	m.whole(n, 2, cursors, func(int, *tail) {
		for i := range 2 {
			xi := m.load(at(x, i*m.bytes()), nil)
			for r := range height {
				m.avo("VFMADD231PS", widen(at(cursors[1+r], i*m.bytes()/2)), xi, accs[2*r+i])
			}
		}
	})
	for r := range height {
		m.VMOVSS(m.fold(accs[2*r:2*r+2], "VADDPS").AsX(), at(dst, 4*r))
	}
}
