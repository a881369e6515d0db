package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// matrices emits the kernels over rows that lie apart.
func (m *vector) matrices() {
	const places = "dst []float32, dstStep int, a []float32, aStep int"
	m.kernel("copyrows_f32", places+", rows, n int", "dst[r*dstStep+i] = a[r*aStep+i] for rows of n.")
	m.eachRow([]string{"dst", "a"}, func(at func(i int) operand.Mem, t *tail) {
		m.store(m.load(at(1), t), at(0), t)
	})
	m.kernel("addrows_f32", places+", b []float32, bStep, rows, n int", "dst[r*dstStep+i] = a[r*aStep+i] + b[r*bStep+i] for rows of n.")
	m.eachRow([]string{"dst", "a", "b"}, func(at func(i int) operand.Mem, t *tail) {
		m.store(m.add(m.load(at(1), t), m.load(at(2), t)), at(0), t)
	})
}

// eachRow emits the loop over the rows of matrices, the first of which is
// written to, and the end of the function. emit gets the address of a vector in
// each of them.
func (m *vector) eachRow(names []string, emit func(at func(i int) operand.Mem, t *tail)) {
	var starts, cursors []cursor
	var steps []reg.GPVirtual
	for _, name := range names {
		step := m.GP64()
		m.Load(m.Param(name+"Step"), step)
		m.SHLQ(operand.U8(2), step)
		starts, steps = append(starts, m.slice(name, 4)), append(steps, step)
		cursors = append(cursors, cursor{m.GP64(), 4})
	}
	rows, n := m.GP64(), m.GP64()
	m.Load(m.Param("rows"), rows)
	loop, over := m.label("rows"), m.label("done")
	m.Label(loop)
	m.DECQ(rows)
	m.JL(operand.LabelRef(over))
	m.Load(m.Param("n"), n)
	for i, c := range cursors {
		m.MOVQ(starts[i].GPVirtual, c.GPVirtual)
		m.ADDQ(steps[i], starts[i].GPVirtual)
	}
	m.row(n, 4, cursors, func(vectors int, t *tail) {
		for v := range vectors {
			emit(func(i int) operand.Mem { return at(cursors[i], v*m.bytes()) }, t)
		}
	})
	m.JMP(operand.LabelRef(loop))
	m.Label(over)
	m.done()
}
