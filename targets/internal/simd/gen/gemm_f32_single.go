package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Registers of the code for whole tiles of a single tap, where there are enough
// of them: what else is in memory, or computed for every panel, stays here from
// panel to panel. Short sums spend much of their time on such.
var (
	onePanel  = reg.R9
	oneColumn = reg.R10 // offset of the panel's first column in bytes
	oneLeft   = reg.R11 // columns
	oneRun    = reg.R12 // minus the length of the run of A in bytes
	onePlaces = reg.R13 // the argument, moved on by the places of rows before
	oneArg    = reg.R14
)

// single emits the loop over full panels of a tile of mr rows with a single tap.
// It goes to other where there are more taps, and leaves the columns that do not
// fill a panel to what follows.
func (g *gemm) single(other string) {
	t := &tile{gemm: g, label: "single", rows: g.mr, vecs: g.nv}
	over, width := operand.LabelRef("singleover"), g.nv*g.lanes
	t.MOVQ(param(), oneArg)
	t.CMPQ(at(oneArg, t.fields.tapsLen), imm(1))
	t.JNE(operand.LabelRef(other))
	t.singleRows()
	t.MOVQ(t.panel, onePanel)
	t.MOVQ(t.remaining, oneLeft)
	t.XORQ(oneColumn, oneColumn)
	t.Label(t.label)
	t.CMPQ(oneLeft, imm(width))
	t.JL(over)
	zeroAccumulators(t)
	t.fetchSingle()
	t.MOVQ(onePanel, bReg)
	t.MOVQ(oneRun, index)
	t.loop("many", t.unroll)
	t.loop("one", 1)
	t.finishSingle()
	t.MOVQ(at(oneArg, t.fields.panelStride), index)
	t.LEAQ(indexed(onePanel, index, 4, 0), onePanel)
	t.ADDQ(imm(4*width), oneColumn)
	t.SUBQ(imm(width), oneLeft)
	t.JMP(operand.LabelRef(t.label))
	t.Label(string(over))
	t.SHRQ(operand.U8(2), oneColumn)
	t.MOVQ(oneColumn, t.column)
	t.MOVQ(oneLeft, t.remaining)
	t.MOVQ(onePanel, t.panel)
}

// singleRows sets the row registers to the ends of the runs, and the registers
// of the argument.
func (t *tile) singleRows() {
	t.MOVQ(at(oneArg, t.fields.taps), index)
	t.MOVLQSX(at(index, 0), index)
	t.MOVQ(at(oneArg, t.fields.k), oneRun)
	t.ADDQ(oneRun, index)
	t.SHLQ(operand.U8(2), index)
	t.ADDQ(at(oneArg, t.fields.a), index)
	t.SHLQ(operand.U8(2), oneRun)
	t.NEGQ(oneRun)
	t.MOVQ(oneArg, onePlaces)
	t.ADDQ(t.shift, onePlaces)
	for row := range t.rows {
		t.MOVQ(at(onePlaces, t.fields.arow+8*row), rowRegs[row])
		t.LEAQ(indexed(index, rowRegs[row], 4, 0), rowRegs[row])
	}
}

// fetchSingle asks for the part of C where the sums will go, if that is far.
func (t *tile) fetchSingle() {
	near := operand.LabelRef(t.label + "near")
	t.CMPB(at(oneArg, int(unsafe.Offsetof(tileF32.Far))), operand.U8(0))
	t.JEQ(near)
	t.cursorOf(unsafe.Offsetof(tileF32.C))
	for row := range t.rows {
		t.MOVQ(at(onePlaces, t.fields.crow+8*row), index)
		for offset := 0; offset < t.vecs*t.bytes(); offset += line {
			t.PREFETCHT0(indexed(bReg, index, 4, offset))
		}
	}
	t.Label(string(near))
}

// cursorOf sets bReg to the panel's first column in a slice of the argument.
func (t *tile) cursorOf(slice uintptr) {
	t.MOVQ(at(oneArg, int(slice)), bReg)
	t.ADDQ(oneColumn, bReg)
}

// finishSingle is finishF32 in terms of these registers.
func (t *tile) finishSingle() {
	fresh, absent, alone := t.unique("fresh"), t.unique("absent"), t.unique("alone")
	t.CMPB(at(oneArg, int(unsafe.Offsetof(tileF32.Accumulate))), operand.U8(0))
	t.JEQ(operand.LabelRef(fresh))
	t.cursorOf(unsafe.Offsetof(tileF32.C))
	t.addSingle(t.fields.crow)
	t.Label(fresh)

	t.CMPQ(at(oneArg, t.fields.bias), imm(0))
	t.JEQ(operand.LabelRef(absent))
	t.cursorOf(uintptr(t.fields.bias))
	for v := range t.vecs {
		t.VMOVUPS(at(bReg, v*t.bytes()), t.vec(temp0+v))
	}
	t.eachAcc(func(_, v int, acc reg.VecPhysical) { t.VADDPS(t.vec(temp0+v), acc, acc) })
	t.Label(absent)

	t.CMPQ(at(oneArg, int(unsafe.Offsetof(tileF32.Res))), imm(0))
	t.JEQ(operand.LabelRef(alone))
	t.cursorOf(unsafe.Offsetof(tileF32.Res))
	t.addSingle(int(unsafe.Offsetof(tileF32.RRow)))
	t.Label(alone)

	t.clampBy(oneArg)
	t.cursorOf(unsafe.Offsetof(tileF32.C))
	for row := range t.rows {
		t.MOVQ(at(onePlaces, t.fields.crow+8*row), index)
		for v := range t.vecs {
			t.VMOVUPS(t.acc(row, v), indexed(bReg, index, 4, v*t.bytes()))
		}
	}
}

// addSingle adds a matrix at bReg, whose rows' places are given, to the sums.
func (t *tile) addSingle(rows int) {
	for row := range t.rows {
		t.MOVQ(at(onePlaces, rows+8*row), index)
		for v := range t.vecs {
			t.VADDPS(indexed(bReg, index, 4, v*t.bytes()), t.acc(row, v), t.acc(row, v))
		}
	}
}
