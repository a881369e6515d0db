package main

import "github.com/mmcloughlin/avo/operand"

// byteRows emits the kernels over rows of bytes. They take whole vectors; the
// callers see to the rest of a row.
func byteRows(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		m.lookup()
		m.zipBytes("max_u8", "dst[i] = max(a[i], b[i]), for whole vectors.", "VPMAXUB")
		m.zipBytes("max_s8", "dst[i] = max(a[i], b[i]) of signed bytes, for whole vectors.", "VPMAXSB")
		m.countBytes()
		m.end()
	}
}

const lookupParams = "dst, src []uint8, table *[256]uint8"

// pieces is how many vectors of 16 bytes a table takes.
const pieces = 16

// lookup emits the look-up by VPSHUFB, which finds one of 16 bytes, or 0 where
// the index is negative. Each piece of the table, but for the first of either
// half, is XORed with the one before; so the XOR of what is found in all, the
// index falling by 16 from piece to piece, is the byte sought if the index
// began in the lower half. For the upper half the sign is flipped.
func (m *vector) lookup() {
	m.kernel("lookup_u8", lookupParams, "dst[i] = table[src[i]], for whole vectors.")
	table := m.GP64()
	m.Load(m.Param("table"), table)
	kept := m.AllocLocal(32 * pieces)
	var piece [pieces]v
	for i := range piece {
		piece[i] = m.repeated(at(table, 16*i))
		if i%(pieces/2) > 0 {
			piece[i] = m.xor(piece[i], m.repeated(at(table, 16*(i-1))))
		}
		if m.lanes == 8 { // which has fewer registers than pieces
			m.store(piece[i], kept.Offset(32*i), nil)
		}
	}
	width, sign := m.broadcast(m.word(0x10101010)), m.broadcast(m.word(0x80808080))
	m.bytesLoop([]string{"src"}, func(dst operand.Mem, src []operand.Mem) {
		x := m.load(src[0], nil)
		y := m.xor(x, x)
		for i := range pieces {
			if i == pieces/2 {
				x = m.xor(m.load(src[0], nil), sign)
			}
			p := piece[i]
			if m.lanes == 8 {
				p = m.load(kept.Offset(32*i), nil)
			}
			y = m.xor(y, m.op2("VPSHUFB", x, p))
			x = m.op2("VPSUBSB", width, x)
		}
		m.store(y, dst, nil)
	})
}

// repeated loads 16 bytes into every 16 bytes of a vector.
func (m *vector) repeated(from operand.Mem) v {
	if m.lanes == 16 {
		return m.op1("VBROADCASTI32X4", from)
	}
	return m.op1("VBROADCASTI128", from)
}

// bytesLoop emits a loop over whole vectors of dst and of operands of the same
// length, and the end of the function.
func (m *vector) bytesLoop(sources []string, emit func(dst operand.Mem, src []operand.Mem)) {
	dst, n := m.slice("dst", 4), m.length("dst")
	m.SHRQ(operand.U8(2), n)
	cursors := []cursor{dst}
	src := make([]operand.Mem, len(sources))
	for i, name := range sources {
		c := m.slice(name, 4)
		cursors = append(cursors, c)
		src[i] = at(c, 0)
	}
	m.whole(n, 1, cursors, func(int, *tail) { emit(at(dst, 0), src) })
	m.done()
}

func (m *vector) zipBytes(stem, doc, opcode string) {
	m.kernel(stem, "dst, a, b []uint8", doc)
	m.bytesLoop([]string{"a", "b"}, func(dst operand.Mem, src []operand.Mem) {
		m.store(m.op2(opcode, m.load(src[1], nil), m.load(src[0], nil)), dst, nil)
	})
}

func (m *vector) countBytes() {
	m.kernel("count_u8", "dst []int32, src []uint8", "dst[i] += src[i], for whole vectors of dst.")
	m.convert(4, 1, func(dst, src operand.Mem) {
		m.store(m.addInt(m.op1("VPMOVZXBD", src), m.load(dst, nil)), dst, nil)
	})
}

// byteRowsVBMI emits the look-up by VPERMI2B, which finds one of 128 bytes.
func byteRowsVBMI(f *file) {
	m := newVector(f, avx512)
	m.suffix = "vbmi"
	m.kernel("lookup_u8", lookupParams, "dst[i] = table[src[i]], for whole vectors.")
	table := m.GP64()
	m.Load(m.Param("table"), table)
	var quarter [4]v
	for i := range quarter {
		quarter[i] = m.load(at(table, 64*i), nil)
	}
	m.bytesLoop([]string{"src"}, func(dst operand.Mem, src []operand.Mem) {
		x, upper := m.load(src[0], nil), m.K()
		low, high := m.copy(x), m.copy(x)
		m.VPMOVB2M(x, upper)
		m.VPERMI2B(quarter[1], quarter[0], low)
		m.VPERMI2B(quarter[3], quarter[2], high)
		m.VMOVDQU8(high, upper, low)
		m.store(low, dst, nil)
	})
}
