package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// reductions emits the kernels that make one value of a row, and the
// exponentials of a softmax.
func reductions(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		if s.lanes == 8 {
			f.maskTable()
		}
		const params = "src []float32) (r float32"
		m.sum("sum_f32", params, "the sum of src.", false, func(acc, x v) { m.avo("VADDPS", x, acc, acc) })
		m.sum("sumsquares_f32", "src []float32, mean float32) (r float32", "the sum of (src[i]-mean)^2.", true,
			func(acc, x v) { m.avo("VFMADD231PS", x, x, acc) })
		m.extreme("rowmax_f32", "the maximum of src, NaN if it has one.", "VMAXPS", math.Inf(-1))
		m.extreme("rowmin_f32", "the minimum of src, NaN if it has one.", "VMINPS", math.Inf(1))
		m.softmaxExp()
		m.end()
	}
}

const accumulators = 4

func (m *vector) filled(n int, c float64) []v {
	accs := make([]v, n)
	for i := range accs {
		accs[i] = m.constant(c)
	}
	return accs
}

// sum emits a sum over a row, of the distances from the mean if centred. The
// masked lanes of the last vector hold zeros after that.
func (m *vector) sum(stem, params, doc string, centred bool, accumulate func(acc, x v)) {
	m.kernel(stem, params, doc)
	src, n := m.slice("src", 4), m.length("src")
	var mean v
	if centred {
		mean = m.scalar("mean")
	}
	accs := m.filled(accumulators, 0)
	m.row(n, accumulators, []cursor{src}, func(vectors int, t *tail) {
		for i := range vectors {
			x := m.load(at(src, i*m.bytes()), t)
			if centred {
				x = m.only(m.sub(x, mean), t)
			}
			accumulate(accs[i], x)
		}
	})
	m.result(accs, "VADDPS")
}

// only clears the lanes outside the mask.
func (m *vector) only(x v, t *tail) v {
	switch {
	case t == nil:
		return x
	case m.lanes == 16:
		dst := m.fresh()
		m.avo("VMOVAPS_Z", x, t.opmask, dst)
		return dst
	}
	dst := m.fresh()
	m.avo("VANDPS", t.vector, x, dst)
	return dst
}

// result folds the accumulators to one value, pairwise, and returns it.
func (m *vector) result(accs []v, opcode string) {
	m.Store(m.fold(accs, opcode).AsX(), m.ReturnIndex(0))
	m.done()
}

func (m *vector) fold(accs []v, opcode string) v {
	for len(accs) > 1 {
		half := len(accs) / 2
		for i := range half {
			m.avo(opcode, accs[half+i], accs[i], accs[i])
		}
		accs = accs[:half]
	}
	acc := accs[0]
	if m.lanes == 16 {
		upper := m.YMM()
		m.avo("VEXTRACTF64X4", operand.U8(1), acc, upper)
		m.avo(opcode, upper, acc.AsY(), acc.AsY())
	}
	x, upper := acc.AsX(), m.XMM()
	m.avo("VEXTRACTF128", operand.U8(1), acc.AsY(), upper)
	m.avo(opcode, upper, x, x)
	m.avo("VPERMILPS", operand.U8(0x4e), x, upper)
	m.avo(opcode, upper, x, x)
	m.avo("VPERMILPS", operand.U8(0x11), x, upper)
	m.avo(opcode, upper, x, x)
	return acc
}

// extreme emits a maximum or minimum. The instruction drops a NaN on one side,
// so they are collected apart.
func (m *vector) extreme(stem, doc, opcode string, start float64) {
	m.kernel(stem, "src []float32) (r float32", doc)
	src, n := m.slice("src", 4), m.length("src")
	accs, identity := m.filled(accumulators, start), m.constant(start)
	nans := m.noNaNs()
	m.row(n, accumulators, []cursor{src}, func(vectors int, t *tail) {
		for i := range vectors {
			x := m.outside(identity, m.load(at(src, i*m.bytes()), t), t)
			m.avo(opcode, x, accs[i], accs[i])
			m.noteNaNs(x, nans)
		}
	})
	best, nan := m.fold(accs, opcode), m.fold([]v{m.nanLanes(nans)}, m.wide("VPOR"))
	m.avo("VORPS", nan.AsX(), best.AsX(), best.AsX())
	m.Store(best.AsX(), m.ReturnIndex(0))
	m.done()
}

// outside replaces the lanes of x outside the mask.
func (m *vector) outside(by, x v, t *tail) v {
	if t == nil {
		return x
	}
	if m.lanes == 16 {
		dst := m.copy(by)
		m.avo("VMOVAPS", x, t.opmask, dst)
		return dst
	}
	dst := m.fresh()
	m.avo("VBLENDVPS", t.vector, x, by, dst)
	return dst
}

// noNaNs, noteNaNs and nanLanes keep which lanes have seen a NaN, in an opmask
// or in a vector.
func (m *vector) noNaNs() reg.Register {
	if m.lanes == 16 {
		k := m.K()
		m.KXORW(k, k, k)
		return k
	}
	return m.constant(0)
}

func (m *vector) noteNaNs(x v, seen reg.Register) {
	if m.lanes == 16 {
		k := m.K()
		m.avo("VCMPPS", operand.U8(unordered), x, x, k)
		m.KORW(k, seen, seen)
		return
	}
	mask := m.fresh()
	m.avo("VCMPPS", operand.U8(unordered), x, x, mask)
	m.avo("VORPS", mask, seen, seen)
}

func (m *vector) nanLanes(seen reg.Register) v {
	if m.lanes == 16 {
		return m.op1("VPMOVM2D", seen)
	}
	return m.op1("VMOVAPS", seen)
}

// softmaxExp emits the numerators of a softmax.
func (m *vector) softmaxExp() {
	m.kernel("softmaxexp_f32", "dst, src []float32, max float32) (r float32",
		"dst[i] = e^(src[i]-max), and returns their sum.")
	dst, src, n := m.slice("dst", 4), m.slice("src", 4), m.length("dst")
	max, total := m.scalar("max"), m.filled(2, 0)
	m.row(n, 2, []cursor{dst, src}, func(vectors int, t *tail) {
		for i := range vectors {
			y := m.exp(m.sub(m.load(at(src, i*m.bytes()), t), max))
			m.store(y, at(dst, i*m.bytes()), t)
			m.avo("VADDPS", m.only(y, t), total[i], total[i])
		}
	})
	m.result(total, "VADDPS")
}

// gemv emits a matrix times a vector. Each row has the same accumulators
// whatever rows are computed beside it, so that dividing the rows does not
// change the results.
func gemv(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		if s.lanes == 8 {
			f.maskTable()
		}
		m.kernel("gemv_f32", "dst, w, x []float32, ldw int", "dst[i] = sum over k of w[i*ldw+k] * x[k].")
		dst, rows, w := m.slice("dst", 4), m.length("dst"), m.slice("w", 4)
		ldw := m.GP64()
		m.Load(m.Param("ldw"), ldw)
		m.SHLQ(operand.U8(2), ldw)
		m.gemvRows(4, dst, rows, w, ldw)
		m.gemvRows(1, dst, rows, w, ldw)
		m.done()
		m.end()
	}
}

func (m *vector) gemvRows(height int, dst cursor, rows reg.GPVirtual, w cursor, ldw reg.GPVirtual) {
	const perRow = 2
	loop, over := m.label("rows"), m.label("rest")
	m.Label(loop)
	m.CMPQ(rows, imm(height))
	m.JL(operand.LabelRef(over))
	x, n := m.slice("x", 4), m.length("x")
	cursors := []cursor{x}
	for range height {
		row := cursor{m.GP64(), 4}
		m.MOVQ(w.GPVirtual, row.GPVirtual)
		m.ADDQ(ldw, w.GPVirtual)
		cursors = append(cursors, row)
	}
	accs := m.filled(perRow*height, 0)
	m.row(n, perRow, cursors, func(vectors int, t *tail) {
		for i := range vectors {
			o := i * m.bytes()
			xi := m.load(at(x, o), t)
			for r := range height {
				m.avo("VFMADD231PS", m.load(at(cursors[1+r], o), t), xi, accs[r*perRow+i])
			}
		}
	})
	for r := range height {
		total := m.fold(accs[r*perRow:(r+1)*perRow], "VADDPS")
		m.VMOVSS(total.AsX(), at(dst, 4*r))
	}
	m.ADDQ(imm(4*height), dst.GPVirtual)
	m.SUBQ(imm(height), rows)
	m.JMP(operand.LabelRef(loop))
	m.Label(over)
}
