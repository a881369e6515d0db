package main

import (
	"github.com/mmcloughlin/avo/operand"
)

// peakChains is the number of independent sums that hide the latency of
// multiply-adds.
const peakChains = 10

// peaks emits the loops that measure the most that multiply-adds can do: those
// of float32, and those of bytes where pairs of products are added in 16 bits.
func peaks(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		m.peak("peak_f32", m.lanes, func(a, b, acc v) { m.avo("VFMADD231PS", a, b, acc) })
		m.peak("peak_i8", m.bytes(), func(a, b, acc v) {
			pairs := m.op2("VPMADDUBSW", b, a)
			m.addTo(acc, m.op2("VPMADDWD", b, pairs))
		})
		m.end()
	}
}

func peakVNNI(f *file) {
	m := newVector(f, avx512)
	m.suffix = "vnni"
	m.peak("peak_i8", m.bytes(), func(a, b, acc v) { m.avo("VPDPBUSD", a, b, acc) })
	m.end()
}

func (m *vector) addTo(acc, a v) { m.avo("VPADDD", a, acc, acc) }

// peak emits a loop of multiply-adds of two constants, each of so many products.
func (m *vector) peak(stem string, products int, multiplyAdd func(a, b, acc v)) {
	m.kernel(stem, "rounds int) (r int", "rounds times 10 independent vectors of multiply-adds, and returns their number.")
	n, total := m.GP64(), m.GP64()
	m.Load(m.Param("rounds"), n)
	m.MOVQ(n, total)
	m.IMUL3Q(imm(peakChains*products), total, total)
	accs, a, b := m.filled(peakChains, 0), m.constant(1), m.constant(0.5)
	loop, over := operand.LabelRef(m.label("loop")), operand.LabelRef(m.label("over"))
	m.Label(string(loop))
	m.SUBQ(imm(1), n)
	m.JL(over)
	for _, acc := range accs {
		multiplyAdd(a, b, acc)
	}
	m.JMP(loop)
	m.Label(string(over))
	m.Store(total, m.ReturnIndex(0))
	m.done()
}
