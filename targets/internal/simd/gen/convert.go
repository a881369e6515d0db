package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// conversions emits the kernels between float32 and narrower types. They take
// whole vectors; the callers see to the rest of a row.
func conversions(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		m.quantize()
		m.dequantize("dequantize_u8", "uint8", "VPMOVZXBD")
		m.dequantize("dequantize_s8", "int8", "VPMOVSXBD")
		m.halves()
		m.brains()
		if s.lanes == 8 {
			m.transpose()
		}
		m.end()
	}
}

// convert emits a loop over whole vectors from elements of one size to
// elements of another.
func (m *vector) convert(dstSize, srcSize int, emit func(dst, src operand.Mem)) {
	dst, src, n := m.slice("dst", dstSize), m.slice("src", srcSize), m.length("dst")
	cursors := []cursor{dst, src}
	for _, vectors := range []int{4, 1} {
		m.whole(n, vectors, cursors, func(vectors int, _ *tail) {
			for i := range vectors {
				emit(at(dst, i*m.lanes*dstSize), at(src, i*m.lanes*srcSize))
			}
		})
	}
	m.done()
}

func (m *vector) quantize() {
	m.kernel("quantize_8", "dst []uint8, src []float32, scale, lo, hi float32, zero int32",
		"the low byte of round(clamp(src[i]/scale, lo, hi)) + zero, lo for NaN,\nfor whole vectors.")
	scale, lo, hi := m.scalar("scale"), m.scalar("lo"), m.scalar("hi")
	zero := m.integer("zero")
	m.convert(1, 4, func(dst, src operand.Mem) {
		q := m.minOf(m.maxOf(m.div(m.load(src, nil), scale), lo), hi)
		m.storeBytes(m.addInt(m.op1("VCVTPS2DQ", q), zero), dst)
	})
}

// integer broadcasts an int32 argument.
func (m *vector) integer(name string) v {
	value, x := m.GP32(), m.XMM()
	m.Load(m.Param(name), value)
	m.VMOVD(value, x)
	return m.op1("VPBROADCASTD", x)
}

// storeBytes writes the low byte of every lane.
func (m *vector) storeBytes(x v, to operand.Mem) {
	if m.lanes == 16 {
		m.avo("VPMOVDB", x, to)
		return
	}
	low := m.andK(x, 0xff)
	words, ordered := m.op2("VPACKUSDW", low, low), m.fresh()
	m.avo("VPERMQ", operand.U8(0xd8), words, ordered)
	bytes := m.op2("VPACKUSWB", ordered, ordered)
	m.avo("VMOVQ", bytes.AsX(), to)
}

func (m *vector) dequantize(stem, goType, widen string) {
	m.kernel(stem, "dst []float32, src []"+goType+", scale float32, zero int32",
		"dst[i] = float32(src[i]-zero) * scale, for whole vectors.")
	scale, zero := m.scalar("scale"), m.integer("zero")
	m.convert(4, 1, func(dst, src operand.Mem) {
		x := m.subInt(m.op1(widen, src), zero)
		m.store(m.mul(m.op1("VCVTDQ2PS", x), scale), dst, nil)
	})
}

func (m *vector) halves() {
	m.kernel("f16tof32", "dst []float32, src []uint16", "the float32 of half floats, for whole vectors.")
	m.convert(4, 2, func(dst, src operand.Mem) { m.store(m.op1("VCVTPH2PS", src), dst, nil) })
	m.kernel("f32tof16", "dst []uint16, src []float32", "the nearest half floats, ties to even, for whole vectors.")
	m.convert(2, 4, func(dst, src operand.Mem) { m.avo("VCVTPS2PH", operand.U8(0), m.load(src, nil), dst) })
}

func (m *vector) brains() {
	m.kernel("bf16tof32", "dst []float32, src []uint16", "the float32 of bfloat16s, for whole vectors.")
	m.convert(4, 2, func(dst, src operand.Mem) {
		m.store(m.shiftLeft(m.op1("VPMOVZXWD", src), 16), dst, nil)
	})
	m.kernel("f32tobf16", "dst []uint16, src []float32", "the nearest bfloat16s, ties to even, for whole vectors.")
	m.convert(2, 4, func(dst, src operand.Mem) {
		x := m.load(src, nil)
		odd := m.andK(m.shiftRight(x, 16), 1)
		rounded := m.addIntK(m.addInt(x, odd), 0x7fff)
		quiet := m.k(m.wide("VPOR"), m.word(0x400000), x)
		m.storeWords(m.shiftRight(m.choose(unordered, x, x, quiet, rounded), 16), dst)
	})
}

// storeWords writes the low 16 bits of every lane, the high ones being zero.
func (m *vector) storeWords(x v, to operand.Mem) {
	if m.lanes == 16 {
		m.avo("VPMOVDW", x, to)
		return
	}
	words, ordered := m.op2("VPACKUSDW", x, x), m.fresh()
	m.avo("VPERMQ", operand.U8(0xd8), words, ordered)
	m.avo("VMOVDQU", ordered.AsX(), to)
}

// transpose emits the transposition of a strip 8 columns wide, 8 rows at a
// time: rows are interleaved in pairs, then pairs of pairs, then halves.
func (m *vector) transpose() {
	m.kernel("transpose_f32_8x8", "dst *float32, ldd int, src *float32, lds, rows int",
		"dst[c*ldd+r] = src[r*lds+c] for c < 8 and r < rows, rows a multiple of 8.")
	dst, src, ldd, lds, rows := m.GP64(), m.GP64(), m.GP64(), m.GP64(), m.GP64()
	m.Load(m.Param("dst"), dst)
	m.Load(m.Param("ldd"), ldd)
	m.Load(m.Param("src"), src)
	m.Load(m.Param("lds"), lds)
	m.Load(m.Param("rows"), rows)
	m.SHLQ(operand.U8(2), ldd)
	m.SHLQ(operand.U8(2), lds)
	loop, over := m.label("loop"), m.label("over")
	m.Label(loop)
	m.CMPQ(rows, imm(8))
	m.JL(operand.LabelRef(over))
	below, to := m.GP64(), m.GP64()
	m.MOVQ(dst, to)
	for half := range 2 {
		m.MOVQ(src, below)
		for _, column := range m.transposed4(below, lds, 16*half) {
			m.avo("VMOVUPS", column, at(to, 0))
			m.ADDQ(ldd, to)
		}
	}
	m.LEAQ(indexed(src, lds, 8, 0), src)
	m.ADDQ(imm(32), dst)
	m.SUBQ(imm(8), rows)
	m.JMP(operand.LabelRef(loop))
	m.Label(over)
	m.done()
}

// transposed4 loads four columns, at disp, of 8 rows from src and transposes
// them. Rows 4 to 7 are loaded beside rows 0 to 3, in the lane where they stay.
func (m *vector) transposed4(src, lds reg.GPVirtual, disp int) []v {
	rows := make([]v, 4)
	for i := range rows {
		rows[i] = m.fresh()
		m.avo("VMOVUPS", at(src, disp), rows[i].AsX())
		m.avo("VINSERTF128", operand.U8(1), indexed(src, lds, 4, disp), rows[i], rows[i])
		m.ADDQ(lds, src)
	}
	lo0, hi0 := m.op2("VUNPCKLPS", rows[1], rows[0]), m.op2("VUNPCKHPS", rows[1], rows[0])
	lo1, hi1 := m.op2("VUNPCKLPS", rows[3], rows[2]), m.op2("VUNPCKHPS", rows[3], rows[2])
	return []v{
		m.op2("VUNPCKLPD", lo1, lo0), m.op2("VUNPCKHPD", lo1, lo0),
		m.op2("VUNPCKLPD", hi1, hi0), m.op2("VUNPCKHPD", hi1, hi0),
	}
}
