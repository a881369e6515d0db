package main

import (
	"math/bits"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

var sparseI8 kernel.SparseI8

// sparseI8AVX2 emits the products of bytes with sparse weights, and what turns
// rows of bytes into columns and back.
func sparseI8AVX2(f *file) {
	m := newVector(f, avx2)
	m.sparseI8("sparse_csr_u8s8", 1, 2)
	m.sparseI8("sparse_4x1_u8s8", 4, 1)
	m.gatherU8()
	m.scatterU8()
	m.end()
}

// sparseKernelI8 takes sixteen pixels of two columns at a time: widened to 16
// bits and interleaved, they are what one instruction multiplies by a pair of
// weights and adds. Of each sixteen the sums are in two vectors, of the pixels 0
// to 3 and 8 to 11, and of the others.
type sparseKernelI8 struct {
	*vector
	height         int
	t, pixel, left reg.GPVirtual
	row, hi        reg.GPVirtual
}

// pixelsI8 is the pixels of a step.
const pixelsI8 = 16

func (m *vector) sparseI8(stem string, height, most int) {
	name := stem + "_" + m.suffix
	m.begin(name, "t *kernel.SparseI8, lo, hi int", "t *byte, lo, hi int",
		name+" computes the rows, or blocks of rows, from lo to hi of kernel.SparseI8,\nfor pixels that are a multiple of 16.")
	m.AllocLocal(frame)
	s := &sparseKernelI8{vector: m, height: height, t: m.GP64(), pixel: m.GP64(), hi: m.GP64(), row: m.GP64()}
	m.MOVQ(param(), s.t)
	m.Load(m.Param("hi"), s.hi)
	s.left = m.field(s.t, unsafe.Offsetof(sparseI8.Pixels))
	m.XORQ(s.pixel, s.pixel)
	for n := most; n > 0; n-- {
		loop, over := operand.LabelRef(s.label("block")), operand.LabelRef(s.label("blockover"))
		s.Label(string(loop))
		s.CMPQ(s.left, imm(n*pixelsI8))
		s.JL(over)
		s.rows(n)
		s.ADDQ(imm(n*pixelsI8), s.pixel)
		s.SUBQ(imm(n*pixelsI8), s.left)
		s.JMP(loop)
		s.Label(string(over))
	}
	m.done()
}

func (s *sparseKernelI8) rows(n int) {
	loop, over := operand.LabelRef(s.label("row")), operand.LabelRef(s.label("rowover"))
	s.Load(s.Param("lo"), s.row)
	s.Label(string(loop))
	s.CMPQ(s.row, s.hi)
	s.JGE(over)
	accs := s.filled(2*n*s.height, 0)
	s.entries(accs, n)
	s.finish(accs, n)
	s.INCQ(s.row)
	s.JMP(loop)
	s.Label(string(over))
}

// entries adds the pairs of the current block. The sums of row i are the 2n from
// accs[2*n*i] on.
func (s *sparseKernelI8) entries(accs []v, n int) {
	start := s.field(s.t, unsafe.Offsetof(sparseI8.Start))
	j, end := s.GP64(), s.GP64()
	s.MOVLQSX(indexed(start, s.row, 4, 0), j)
	s.MOVLQSX(indexed(start, s.row, 4, 4), end)
	values, columns := s.field(s.t, unsafe.Offsetof(sparseI8.Values)), s.field(s.t, unsafe.Offsetof(sparseI8.Columns))
	base := s.field(s.t, unsafe.Offsetof(sparseI8.X))
	s.ADDQ(s.pixel, base)
	first := s.GP64()
	s.MOVQ(j, first)
	if s.height == 4 {
		s.SHLQ(operand.U8(2), first)
	}
	s.LEAQ(indexed(values, first, 4, 0), values)
	loop, over := operand.LabelRef(s.label("pair")), operand.LabelRef(s.label("pairover"))
	s.Label(string(loop))
	s.CMPQ(j, end)
	s.JGE(over)
	a, b := s.GP64(), s.GP64()
	s.MOVLQSX(indexed(columns, j, 8, 0), a)
	s.MOVLQSX(indexed(columns, j, 8, 4), b)
	var pixels []v
	for i := range n {
		x := s.op1("VPMOVZXBW", indexed(base, a, 1, i*pixelsI8))
		y := s.op1("VPMOVZXBW", indexed(base, b, 1, i*pixelsI8))
		pixels = append(pixels, s.op2("VPUNPCKLWD", y, x), s.op2("VPUNPCKHWD", y, x))
	}
	for r := range s.height {
		weights := s.op1("VPBROADCASTD", at(values, 4*r))
		for i, x := range pixels {
			acc := accs[r*2*n+i]
			s.avo("VPADDD", s.op2("VPMADDWD", weights, x), acc, acc)
		}
	}
	s.ADDQ(imm(4*s.height), values)
	s.INCQ(j)
	s.JMP(loop)
	s.Label(string(over))
}

// finish requantizes and stores the sums of the current block.
func (s *sparseKernelI8) finish(accs []v, n int) {
	row, out, ldo := s.GP64(), s.field(s.t, unsafe.Offsetof(sparseI8.Out)), s.field(s.t, unsafe.Offsetof(sparseI8.LDO))
	s.MOVQ(s.row, row)
	if s.height == 4 {
		s.SHLQ(operand.U8(2), row)
	}
	bias, scale := s.field(s.t, unsafe.Offsetof(sparseI8.Bias)), s.field(s.t, unsafe.Offsetof(sparseI8.Scale))
	s.LEAQ(indexed(bias, row, 4, 0), bias)
	s.LEAQ(indexed(scale, row, 4, 0), scale)
	s.IMULQ(ldo, row)
	s.ADDQ(row, out)
	s.ADDQ(s.pixel, out)
	for r := range s.height {
		unit, first := s.broadcast(at(scale, 4*r)), s.op1("VPBROADCASTD", at(bias, 4*r))
		for i := range n {
			low, high := s.rounded(accs[(r*n+i)*2], first, unit), s.rounded(accs[(r*n+i)*2+1], first, unit)
			s.storeSixteen(s.op2("VPACKSSDW", high, low), at(out, i*pixelsI8))
		}
		s.ADDQ(ldo, out)
	}
}

func (s *sparseKernelI8) rounded(acc, bias, scale v) v {
	x := s.mul(s.op1("VCVTDQ2PS", s.addInt(acc, bias)), scale)
	x = s.maxOf(x, s.broadcast(at(s.t, int(unsafe.Offsetof(sparseI8.Lo)))))
	x = s.minOf(x, s.broadcast(at(s.t, int(unsafe.Offsetof(sparseI8.Hi)))))
	return s.addInt(s.op1("VCVTPS2DQ", x), s.op1("VPBROADCASTD", at(s.t, int(unsafe.Offsetof(sparseI8.Zero)))))
}

// storeSixteen writes the low bytes of sixteen 16-bit numbers.
func (s *sparseKernelI8) storeSixteen(x v, to operand.Mem) {
	low, upper := s.andK(x, 0x00ff00ff), s.XMM()
	s.avo("VEXTRACTI128", operand.U8(1), low, upper)
	s.avo("VPACKUSWB", upper, low.AsX(), upper)
	s.avo("VMOVDQU", upper, to)
}

// Blocks of bytes that are turned: eight rows of sixteen.
const turnedRows, turnedColumns = 8, 16

// turned returns the columns of eight rows of sixteen bytes, two in a vector. Of
// the halves of the list that are interleaved each time, the second ends up
// between the first, so that a row has to begin at its number's bits reversed.
func (m *vector) turned(rows []v) []reg.Register {
	list := make([]reg.Register, len(rows))
	for i, r := range rows {
		list[bits.Reverse8(uint8(i))>>5] = r.AsX()
	}
	for _, opcode := range []string{"BW", "WD", "DQ"} {
		next := make([]reg.Register, len(list))
		half := len(list) / 2
		for i := range half {
			low, high := m.XMM(), m.XMM()
			m.avo("VPUNPCKL"+opcode, list[half+i], list[i], low)
			m.avo("VPUNPCKH"+opcode, list[half+i], list[i], high)
			next[2*i], next[2*i+1] = low, high
		}
		list = next
	}
	return list
}

func (m *vector) gatherU8() {
	m.kernel("gather_u8", "dst []uint8, ldd int, src []uint8, at []int32, n int, flip uint32",
		"dst[c*ldd+i] = src[at[i]+c] ^ flip, eight i by sixteen c at a\ntime; flip holds four bytes.")
	dst, src, list, rows := m.slice("dst", 1), m.slice("src", 1), m.slice("at", 4), m.length("at")
	ldd, n, column, to := m.GP64(), m.GP64(), m.GP64(), m.GP64()
	m.Load(m.Param("ldd"), ldd)
	m.Load(m.Param("n"), n)
	mask, four := m.GP32(), m.XMM()
	m.Load(m.Param("flip"), mask)
	m.avo("VMOVD", mask, four)
	flip := m.op1("VPBROADCASTD", four)
	m.turn(rows, n, column, func() { m.MOVQ(dst.GPVirtual, to) }, func() {
		var block []v
		for i := range turnedRows {
			from, x := m.GP64(), m.fresh()
			m.MOVLQSX(at(list, 4*i), from)
			m.ADDQ(src.GPVirtual, from)
			m.avo("VMOVDQU", indexed(from, column, 1, 0), x.AsX())
			m.avo("VPXOR", flip.AsX(), x.AsX(), x.AsX())
			block = append(block, x)
		}
		for _, pair := range m.turned(block) {
			m.avo("VMOVQ", pair, at(to, 0))
			m.avo("VPEXTRQ", operand.U8(1), pair, indexed(to, ldd, 1, 0))
			m.LEAQ(indexed(to, ldd, 2, 0), to)
		}
	}, func() {
		m.ADDQ(imm(turnedRows), dst.GPVirtual)
		m.ADDQ(imm(4*turnedRows), list.GPVirtual)
	}, turnedRows, turnedColumns)
}

func (m *vector) scatterU8() {
	m.kernel("scatter_u8", "dst []uint8, at []int32, src []uint8, lds, n int",
		"dst[at[i]+c] = src[c*lds+i], sixteen i by eight c at a time.")
	dst, src, list, rows := m.slice("dst", 1), m.slice("src", 1), m.slice("at", 4), m.length("at")
	lds, n, column, from := m.GP64(), m.GP64(), m.GP64(), m.GP64()
	m.Load(m.Param("lds"), lds)
	m.Load(m.Param("n"), n)
	m.turn(rows, n, column, func() { m.MOVQ(src.GPVirtual, from) }, func() {
		var block []v
		for range turnedRows {
			x := m.fresh()
			m.avo("VMOVDQU", at(from, 0), x.AsX())
			m.ADDQ(lds, from)
			block = append(block, x)
		}
		for i, pair := range m.turned(block) {
			to := m.GP64()
			m.MOVLQSX(at(list, 8*i), to)
			m.ADDQ(dst.GPVirtual, to)
			m.avo("VMOVQ", pair, indexed(to, column, 1, 0))
			m.MOVLQSX(at(list, 8*i+4), to)
			m.ADDQ(dst.GPVirtual, to)
			m.avo("VPEXTRQ", operand.U8(1), pair, indexed(to, column, 1, 0))
		}
	}, func() {
		m.ADDQ(imm(turnedColumns), src.GPVirtual)
		m.ADDQ(imm(4*turnedColumns), list.GPVirtual)
	}, turnedColumns, turnedRows)
}

// turn emits the loops over rows, so many at a time, and within that over columns.
func (m *vector) turn(rows, n, column reg.GPVirtual, begin, block, end func(), height, width int) {
	outer, over := operand.LabelRef(m.label("rows")), operand.LabelRef(m.label("rowsover"))
	inner, next := operand.LabelRef(m.label("columns")), operand.LabelRef(m.label("columnsover"))
	last := m.GP64()
	m.Label(string(outer))
	m.SUBQ(imm(height), rows)
	m.JL(over)
	begin()
	m.XORQ(column, column)
	m.MOVQ(imm(width), last)
	m.Label(string(inner))
	m.CMPQ(last, n)
	m.JG(next)
	block()
	m.ADDQ(imm(width), column)
	m.ADDQ(imm(width), last)
	m.JMP(inner)
	m.Label(string(next))
	end()
	m.JMP(outer)
	m.Label(string(over))
	m.done()
}
