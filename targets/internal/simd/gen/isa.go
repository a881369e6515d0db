package main

import (
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa says how wide vectors are and how the end of a row is masked.
type isa struct {
	lanes int // float32 per vector
	first int // the first vector register that holds an accumulator
}

var (
	avx2   = isa{lanes: 8, first: 4}
	avx512 = isa{lanes: 16, first: 8}
)

func (s isa) bytes() int { return 4 * s.lanes }

var ymm = []reg.VecPhysical{
	reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
	reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
}

var zmm = []reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
	reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

// vec is vector register i at its full width, xmm its low 16 bytes.
func (s isa) vec(i int) reg.VecPhysical {
	if s.lanes == 16 {
		return zmm[i]
	}
	return ymm[i]
}

func (s isa) xmm(i int) reg.Register { return s.vec(i).AsX() }

// raw emits an instruction that avo has no method for.
func (f *file) raw(opcode string, operands ...operand.Op) {
	f.Instruction(&ir.Instruction{Opcode: opcode, Operands: operands})
}

// param is the address of the only argument, a pointer.
func param() operand.Mem { return operand.NewParamAddr("t", 0) }

func at(base reg.Register, disp int) operand.Mem {
	return operand.Mem{Base: base, Disp: disp}
}

func indexed(base, index reg.Register, scale uint8, disp int) operand.Mem {
	return operand.Mem{Base: base, Index: index, Scale: scale, Disp: disp}
}

func imm(n int) operand.Constant { return operand.I32(int32(n)) }
