package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

var (
	winoIn  kernel.WinogradInput
	winoOut kernel.WinogradOutput
)

// winograd emits the transforms of F(4x4, 3x3): columns first, to a buffer on
// the stack, then rows.
func winograd(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		if s.lanes == 8 {
			f.maskTable()
		}
		m.winogradInput()
		m.winogradOutput()
		m.end()
	}
}

// structKernel opens a function of one pointer to a struct of package kernel,
// and returns the pointer.
func (m *vector) structKernel(stem, goType, doc string) reg.GPVirtual {
	name := stem + "_" + m.suffix
	m.begin(name, "t *kernel."+goType, "t *byte", name+" "+doc)
	m.AllocLocal(frame)
	t := m.GP64()
	m.MOVQ(param(), t)
	return t
}

// field loads an integer or a pointer of the argument; step loads a number of
// float32 as bytes.
func (m *vector) field(t reg.GPVirtual, offset uintptr) reg.GPVirtual {
	r := m.GP64()
	m.MOVQ(at(t, int(offset)), r)
	return r
}

func (m *vector) step(t reg.GPVirtual, offset uintptr) reg.GPVirtual {
	r := m.field(t, offset)
	m.SHLQ(operand.U8(2), r)
	return r
}

func (m *vector) winogradInput() {
	t := m.structKernel("winograd_in_f32", "WinogradInput", "is the input transform of kernel.WinogradInput.")
	buffer := m.AllocLocal(kernel.WinogradElems * m.bytes())
	in, out := cursor{m.field(t, unsafe.Offsetof(winoIn.In)), 4}, cursor{m.field(t, unsafe.Offsetof(winoIn.Out)), 4}
	row, pixel, step := m.step(t, unsafe.Offsetof(winoIn.RowStep)), m.step(t, unsafe.Offsetof(winoIn.PixelStep)), m.step(t, unsafe.Offsetof(winoIn.Step))
	row3, row5 := m.GP64(), m.GP64()
	m.LEAQ(indexed(row, row, 2, 0), row3)
	m.LEAQ(indexed(row, row, 4, 0), row5)
	n, p := m.field(t, unsafe.Offsetof(winoIn.C)), m.GP64()
	m.row(n, 1, []cursor{in, out}, func(_ int, tail *tail) {
		m.MOVQ(in.GPVirtual, p)
		for column := range 6 {
			d := []v{
				m.load(at(p, 0), tail), m.load(indexed(p, row, 1, 0), tail), m.load(indexed(p, row, 2, 0), tail),
				m.load(indexed(p, row3, 1, 0), tail), m.load(indexed(p, row, 4, 0), tail), m.load(indexed(p, row5, 1, 0), tail),
			}
			m.ADDQ(pixel, p)
			for i, x := range m.inputTransform(d) {
				m.store(x, buffer.Offset((6*i+column)*m.bytes()), nil)
			}
		}
		m.MOVQ(out.GPVirtual, p)
		for i := range 6 {
			for _, x := range m.inputTransform(m.loadSix(buffer.Offset(6 * i * m.bytes()))) {
				m.store(x, at(p, 0), tail)
				m.ADDQ(step, p)
			}
		}
	})
	m.done()
}

func (m *vector) loadSix(from operand.Mem) []v {
	d := make([]v, 6)
	for i := range d {
		d[i] = m.load(from.Offset(i*m.bytes()), nil)
	}
	return d
}

// inputTransform is Bt times a column of 6.
func (m *vector) inputTransform(d []v) []v {
	even, odd := m.fmaMulK(d[2], -4, d[4]), m.fmaMulK(d[1], -4, d[3])
	near, far := m.sub(d[4], d[2]), m.sub(d[3], d[1])
	return []v{
		m.fmaMulK(d[2], -5, m.fmaMulK(d[0], 4, d[4])),
		m.add(even, odd),
		m.sub(even, odd),
		m.fmaMulK(far, 2, near),
		m.fmaMulK(far, -2, near),
		m.fmaMulK(d[3], -5, m.fmaMulK(d[1], 4, d[5])),
	}
}

// outputTransform is At times a column of 6.
func (m *vector) outputTransform(d []v) []v {
	plus1, minus1 := m.add(d[1], d[2]), m.sub(d[1], d[2])
	plus2, minus2 := m.add(d[3], d[4]), m.sub(d[3], d[4])
	return []v{
		m.add(m.add(d[0], plus1), plus2),
		m.fmaMulK(minus2, 2, minus1),
		m.fmaMulK(plus2, 4, plus1),
		m.add(m.fmaMulK(minus2, 8, minus1), d[5]),
	}
}

func (m *vector) winogradOutput() {
	t := m.structKernel("winograd_out_f32", "WinogradOutput", "is the output transform of kernel.WinogradOutput.")
	buffer := m.AllocLocal(kernel.WinogradOut * kernel.WinogradIn * m.bytes())
	in, step := cursor{m.field(t, unsafe.Offsetof(winoOut.In)), 4}, m.step(t, unsafe.Offsetof(winoOut.Step))
	offset := cursor{m.GP64(), 4} // of the vector among the channels, in bytes
	m.XORQ(offset.GPVirtual, offset.GPVirtual)
	lo, hi := m.broadcast(at(t, int(unsafe.Offsetof(winoOut.Lo)))), m.broadcast(at(t, int(unsafe.Offsetof(winoOut.Hi))))
	n := m.field(t, unsafe.Offsetof(winoOut.C))
	m.row(n, 1, []cursor{in, offset}, func(_ int, tail *tail) {
		p := m.GP64()
		m.fetchPixels(t, offset.GPVirtual)
		m.MOVQ(in.GPVirtual, p)
		m.sumsToBuffer(p, step, buffer, tail)
		m.outputRows(t, offset.GPVirtual, buffer, lo, hi, tail)
	})
	m.done()
}

// fetchPixels asks for the lines that outputRows writes, which arrive meanwhile.
func (m *vector) fetchPixels(t, offset reg.GPVirtual) {
	row, p := m.field(t, unsafe.Offsetof(winoOut.Out)), m.GP64()
	rowStep, step := m.step(t, unsafe.Offsetof(winoOut.RowStep)), m.step(t, unsafe.Offsetof(winoOut.PixelStep))
	m.ADDQ(offset, row)
	for range kernel.WinogradOut {
		m.MOVQ(row, p)
		for range kernel.WinogradOut {
			m.PREFETCHT0(at(p, 0))
			m.ADDQ(step, p)
		}
		m.ADDQ(rowStep, row)
	}
}

// sumsToBuffer transforms the six columns of sums.
func (m *vector) sumsToBuffer(p, step reg.GPVirtual, buffer operand.Mem, tail *tail) {
	rowStep := m.GP64()
	m.LEAQ(indexed(step, step, 2, 0), rowStep)
	m.SHLQ(operand.U8(1), rowStep)
	for column := range 6 {
		q := m.GP64()
		m.MOVQ(p, q)
		d := make([]v, 6)
		for row := range d {
			d[row] = m.load(at(q, 0), tail)
			m.ADDQ(rowStep, q)
		}
		for i, x := range m.outputTransform(d) {
			m.store(x, buffer.Offset((6*i+column)*m.bytes()), nil)
		}
		m.ADDQ(step, p)
	}
}

// outputRows transforms the rows and writes those pixels that exist.
func (m *vector) outputRows(t, offset reg.GPVirtual, buffer operand.Mem, lo, hi v, tail *tail) {
	bias := m.constant(0)
	m.unlessNil(t, unsafe.Offsetof(winoOut.Bias), func(p reg.GPVirtual) {
		m.avo("VMOVAPS", m.load(indexed(p, offset, 1, 0), tail), bias)
	})
	outRow := m.field(t, unsafe.Offsetof(winoOut.Out))
	resRow := m.field(t, unsafe.Offsetof(winoOut.Res))
	m.ADDQ(offset, outRow)
	m.ADDQ(offset, resRow)
	over := operand.LabelRef(m.label("rows"))
	for y := range kernel.WinogradOut {
		m.CMPQ(at(t, int(unsafe.Offsetof(winoOut.H))), imm(y))
		m.JLE(over)
		pixels := m.outputTransform(m.loadSix(buffer.Offset(6 * y * m.bytes())))
		out, res := m.GP64(), m.GP64()
		m.MOVQ(outRow, out)
		m.MOVQ(resRow, res)
		rowOver := operand.LabelRef(m.label("pixels"))
		for x, pixel := range pixels {
			m.CMPQ(at(t, int(unsafe.Offsetof(winoOut.W))), imm(x))
			m.JLE(rowOver)
			sum := m.add(pixel, bias)
			m.unlessNil(t, unsafe.Offsetof(winoOut.Res), func(reg.GPVirtual) {
				m.avo("VADDPS", m.load(at(res, 0), tail), sum, sum)
			})
			m.store(m.minOf(hi, m.maxOf(lo, sum)), at(out, 0), tail)
			m.ADDQ(m.step(t, unsafe.Offsetof(winoOut.PixelStep)), out)
			m.ADDQ(m.step(t, unsafe.Offsetof(winoOut.ResPixelStep)), res)
		}
		m.Label(string(rowOver))
		m.ADDQ(m.step(t, unsafe.Offsetof(winoOut.RowStep)), outRow)
		m.ADDQ(m.step(t, unsafe.Offsetof(winoOut.ResRowStep)), resRow)
	}
	m.Label(string(over))
}

// unlessNil emits code for a pointer in the argument that may be nil.
func (m *vector) unlessNil(t reg.GPVirtual, offset uintptr, emit func(p reg.GPVirtual)) {
	p := m.field(t, offset)
	over := operand.LabelRef(m.label("nil"))
	m.TESTQ(p, p)
	m.JEQ(over)
	emit(p)
	m.Label(string(over))
}
