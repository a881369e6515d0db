package main

import (
	"fmt"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// rowF32 emits the product of a single row of A with some panels of B at a
// time. One panel holds too few columns to keep a core busy: each addition waits
// for the one before it in its column. The additions to a column are those of
// the tile kernel, in the same order.
func rowF32(f *file, s isa) {
	m := newVector(f, s)
	defer m.end()
	const nv = 2 // vectors per row of a panel
	nr := nv * m.lanes
	name := fmt.Sprintf("gemm_f32_1x%d_%s", kernel.RowPanels*nr, m.suffix)
	m.begin(name, "t *kernel.TileF32", "t *byte", name+" is gemm_f32 for one row and whole groups of kernel.RowPanels panels.")
	m.AllocLocal(frame)
	t := m.GP64()
	m.MOVQ(param(), t)
	left, panel := m.field(t, unsafe.Offsetof(tileF32.N)), m.field(t, unsafe.Offsetof(tileF32.B))
	stride, column := m.step(t, unsafe.Offsetof(tileF32.PanelStride)), m.GP64()
	stride3 := m.GP64()
	m.LEAQ(indexed(stride, stride, 2, 0), stride3)
	m.XORQ(column, column)
	done := operand.LabelRef("done")
	m.Label("group")
	m.CMPQ(left, imm(kernel.RowPanels*nr))
	m.JL(done)
	accs := m.filled(kernel.RowPanels*nv, 0)
	m.taps(t, panel, func(a, b, k reg.GPVirtual) {
		m.alongRow(a, b, k, 2, accs, stride, stride3)
		m.alongRow(a, b, k, 1, accs, stride, stride3)
	})
	m.finishRow(t, column, accs)
	m.LEAQ(indexed(panel, stride, 4, 0), panel)
	m.ADDQ(imm(4*kernel.RowPanels*nr), column)
	m.SUBQ(imm(kernel.RowPanels*nr), left)
	m.JMP(operand.LabelRef("group"))
	m.Label("done")
	m.done()
}

// taps emits the loop over the taps of row 0 of A: run gets the addresses in A
// and in B, which it advances, and the length of the run, which it may change.
func (m *vector) taps(t, panel reg.GPVirtual, run func(a, b, k reg.GPVirtual)) {
	loop, over := operand.LabelRef(m.label("tap")), operand.LabelRef(m.label("tapover"))
	b, tap, a, k := m.GP64(), m.GP64(), m.GP64(), m.GP64()
	m.MOVQ(panel, b)
	m.XORQ(tap, tap)
	m.Label(string(loop))
	m.CMPQ(tap, at(t, fieldsF32.tapsLen))
	m.JGE(over)
	m.MOVQ(at(t, fieldsF32.taps), a)
	m.MOVLQSX(indexed(a, tap, 4, 0), a)
	m.ADDQ(at(t, fieldsF32.arow), a)
	m.SHLQ(operand.U8(2), a)
	m.ADDQ(at(t, fieldsF32.a), a)
	m.MOVQ(at(t, fieldsF32.k), k)
	run(a, b, k)
	m.INCQ(tap)
	m.JMP(loop)
	m.Label(string(over))
}

// alongRow emits a loop of so many steps along K at once, as long as there are
// so many, over kernel.RowPanels panels that lie stride apart. So few
// streams the hardware foresees.
func (m *vector) alongRow(a, b, k reg.GPVirtual, steps int, accs []v, stride, stride3 reg.GPVirtual) {
	loop, over := operand.LabelRef(m.label("along")), operand.LabelRef(m.label("alongover"))
	step := 2 * m.bytes()
	panels := []func(disp int) operand.Mem{
		func(disp int) operand.Mem { return at(b, disp) },
		func(disp int) operand.Mem { return indexed(b, stride, 1, disp) },
		func(disp int) operand.Mem { return indexed(b, stride, 2, disp) },
		func(disp int) operand.Mem { return indexed(b, stride3, 1, disp) },
	}
	m.CMPQ(k, imm(steps))
	m.JL(over)
	m.Label(string(loop))
	for s := range steps {
		x := m.broadcast(at(a, 4*s))
		for p, in := range panels {
			for v := range 2 {
				m.avo("VFMADD231PS", in(s*step+v*m.bytes()), x, accs[2*p+v])
			}
		}
	}
	m.ADDQ(imm(4*steps), a)
	m.ADDQ(imm(steps*step), b)
	m.SUBQ(imm(steps), k)
	m.CMPQ(k, imm(steps))
	m.JGE(loop)
	m.Label(string(over))
}

// finishRow emits the epilogue of the columns from the given offset in bytes on.
func (m *vector) finishRow(t, column reg.GPVirtual, accs []v) {
	row := func(base, table uintptr) reg.GPVirtual {
		p := m.step(t, table)
		m.ADDQ(at(t, int(base)), p)
		m.ADDQ(column, p)
		return p
	}
	add := func(p reg.GPVirtual) {
		for i, acc := range accs {
			m.avo("VADDPS", at(p, i*m.bytes()), acc, acc)
		}
	}
	c := row(unsafe.Offsetof(tileF32.C), unsafe.Offsetof(tileF32.CRow))
	fresh := operand.LabelRef(m.label("fresh"))
	m.CMPB(at(t, int(unsafe.Offsetof(tileF32.Accumulate))), operand.U8(0))
	m.JEQ(fresh)
	add(c)
	m.Label(string(fresh))
	m.unlessNil(t, unsafe.Offsetof(tileF32.Bias), func(p reg.GPVirtual) {
		m.ADDQ(column, p)
		add(p)
	})
	m.unlessNil(t, unsafe.Offsetof(tileF32.Res), func(reg.GPVirtual) {
		add(row(unsafe.Offsetof(tileF32.Res), unsafe.Offsetof(tileF32.RRow)))
	})
	lo, hi := m.broadcast(at(t, fieldsF32.lo)), m.broadcast(at(t, fieldsF32.hi))
	for i, acc := range accs {
		m.avo("VMAXPS", acc, lo, acc)
		m.avo("VMINPS", acc, hi, acc)
		m.store(acc, at(c, i*m.bytes()), nil)
	}
}
