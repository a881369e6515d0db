package main

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// window describes a kernel over the taps of kernel.Window. It goes through
// the channels by vectors, and for each vector through the pixels in blocks of
// up to 8 or 16, whose sums are kept in registers while the taps pass.
type window struct {
	*file
	isa
	name string
	size int // bytes of an input element and of an output element
	// offsets of fields in the argument
	taps, tapsLen, w, c, inStep, outStep, in, out int

	// prepare loads what all pixels of a vector share, with biasVec as the
	// value at which their accumulators start.
	prepare func(x *window)
	tap     func(x *window) // loads what all pixels of a tap share
	step    func(x *window, pixel int, m operand.Mem)
	// accumulate adds the taps of n pixels to their accumulators: eachTap, but
	// for kernels that know their taps.
	accumulate func(x *window, n int)
	finish     func(x *window)

	whole  bool // the channels are a multiple of the vector
	masked bool
	label  string

	channel operand.Mem // the vector's first channel
	left    operand.Mem // channels from there on
	res     operand.Mem // cursor in the residual
}

// Registers of a window kernel. Three odd multiples of the pixel step serve to
// address 8 pixels from one base.
var (
	inReg      = reg.RAX
	weightReg  = reg.RBX
	scratch    = reg.RCX
	tapIn      = reg.RDX
	tapReg     = reg.RSI
	tapsLeft   = reg.RDI
	taken      = tapsLeft // after the taps: the pixels of the block
	stepReg    = reg.R8
	step3      = reg.R9
	step5      = reg.R10
	step7      = reg.R11
	outReg     = reg.R12
	outStepReg = reg.R13
	pixelsLeft = reg.R14
	argument   = reg.R15
)

// Vector registers below the accumulators.
const (
	weightVec = 0
	loVec     = 1
	hiVec     = 2
	biasVec   = 3
	maskVec   = 4
	tempVec   = 5
	firstAcc  = 6
)

// most is the number of pixels in a block: as many as there are registers for.
func (x *window) most() int {
	if x.lanes == 16 {
		return 16
	}
	return 8
}

func (x *window) acc(pixel int) reg.VecPhysical { return x.vec(firstAcc + pixel) }

func (x *window) emit(goType, doc string) {
	x.begin(x.name, "d *kernel."+goType, "d *byte", x.name+" "+doc)
	local := x.AllocLocal(frame)
	x.channel, x.left, x.res = local, local.Offset(8), local.Offset(16)
	x.MOVQ(operand.NewParamAddr("d", 0), argument)
	for _, s := range []struct {
		field int
		to    reg.GPPhysical
	}{{x.inStep, stepReg}, {x.outStep, outStepReg}} {
		x.MOVQ(at(argument, s.field), s.to)
		if x.size == 4 {
			x.SHLQ(operand.U8(2), s.to)
		}
	}
	x.LEAQ(indexed(stepReg, stepReg, 2, 0), step3)
	x.LEAQ(indexed(stepReg, stepReg, 4, 0), step5)
	x.LEAQ(indexed(step3, stepReg, 4, 0), step7)
	x.MOVQ(imm(0), x.channel)
	x.MOVQ(at(argument, x.c), scratch)
	x.MOVQ(scratch, x.left)

	x.Label("vectors")
	x.MOVQ(x.left, scratch)
	x.TESTQ(scratch, scratch)
	x.JLE(operand.LabelRef("done"))
	x.vectors()
	x.Label("done")
	x.VZEROUPPER()
	x.RET()
}

// vectors emits the body of the loop over the channels, with a masked form for
// the last of them.
func (x *window) vectors() {
	if x.whole {
		x.pixels()
		return
	}
	x.CMPQ(scratch, imm(x.lanes))
	x.JL(operand.LabelRef("partial"))
	x.masked, x.label = false, "whole"
	x.pixels()
	x.Label("partial")
	x.mask()
	x.masked, x.label = true, "part"
	x.pixels()
}

// mask makes a mask of the channels left.
func (x *window) mask() {
	if x.lanes == 16 {
		x.MOVQ(imm(-1), tapIn)
		x.BZHIQ(scratch, tapIn, tapIn)
		x.KMOVW(tapIn.As32(), reg.K1)
		return
	}
	x.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("maskTable"), 0), tapIn)
	x.NEGQ(scratch)
	x.VMOVDQU(indexed(tapIn, scratch, 4, 64), x.vec(maskVec))
}

// pixels emits the work on one vector of channels and the step to the next.
// The pixels are taken in blocks of most, and the rest in smaller ones. Only
// the sum over the taps is emitted for each size.
func (x *window) pixels() {
	x.cursorAt(x.in, inReg)
	x.cursorAt(x.out, outReg)
	x.prepare(x)
	x.MOVQ(at(argument, x.w), pixelsLeft)
	block, finish, next := x.label+"block", x.label+"finish", x.label+"next"
	size := func(n int) operand.LabelRef { return operand.LabelRef(fmt.Sprintf("%spixels%d", x.label, n)) }
	x.Label(block)
	x.TESTQ(pixelsLeft, pixelsLeft)
	x.JLE(operand.LabelRef(next))
	for n := x.most(); n > 0; n = x.smaller(n) {
		x.Label(string(size(n)))
		if n > 1 {
			x.CMPQ(pixelsLeft, imm(n))
			x.JL(size(x.smaller(n)))
		}
		for p := range n {
			x.VMOVAPS(x.vec(biasVec), x.acc(p))
		}
		x.accumulate(x, n)
		x.MOVQ(imm(n), taken)
		if n > 1 {
			x.JMP(operand.LabelRef(finish))
		}
	}
	x.Label(finish)
	x.finish(x)
	x.SUBQ(taken, pixelsLeft)
	x.IMULQ(stepReg, taken)
	x.ADDQ(taken, inReg)
	x.JMP(operand.LabelRef(block))
	x.Label(next)
	x.ADDQ(imm(x.lanes), x.channel)
	x.SUBQ(imm(x.lanes), x.left)
	x.JMP(operand.LabelRef("vectors"))
}

// smaller is the next smaller size of a block: any, but powers of two for the
// last channels.
func (x *window) smaller(n int) int {
	if x.masked {
		return n / 2
	}
	return n - 1
}

// each calls emit for the pixels of a block, and makes it leave off after the
// last.
func (x *window) each(what string, emit func(acc reg.VecPhysical)) {
	over := x.label + what
	for p := range x.most() {
		emit(x.acc(p))
		if p+1 < x.most() {
			x.CMPQ(taken, imm(p+1))
			x.JE(operand.LabelRef(over))
		}
	}
	x.Label(over)
}

// cursorAt sets dst to the current channel of the slice at the given field.
func (x *window) cursorAt(field int, dst reg.GPPhysical) {
	x.MOVQ(at(argument, field), dst)
	x.MOVQ(x.channel, scratch)
	x.LEAQ(indexed(dst, scratch, uint8(x.size), 0), dst)
}

// pixelSteps are the ways to address 8 pixels from one base.
var pixelSteps = []struct {
	index reg.GPPhysical
	scale uint8
}{{}, {stepReg, 1}, {stepReg, 2}, {step3, 1}, {stepReg, 4}, {step5, 1}, {step3, 2}, {step7, 1}}

// pixelAt addresses a pixel from bases that are 8 pixels apart.
func pixelAt(pixel int, bases ...reg.GPPhysical) operand.Mem {
	base, s := bases[pixel/8], pixelSteps[pixel%8]
	if s.scale == 0 {
		return at(base, 0)
	}
	return indexed(base, s.index, s.scale, 0)
}

// eachTap is the accumulation over any taps.
func eachTap(x *window, n int) {
	x.MOVQ(at(argument, x.taps), tapReg)
	x.MOVQ(at(argument, x.tapsLen), tapsLeft)
	loop, over := fmt.Sprintf("%stap%d", x.label, n), fmt.Sprintf("%stapped%d", x.label, n)
	x.TESTQ(tapsLeft, tapsLeft)
	x.JEQ(operand.LabelRef(over))
	x.Label(loop)
	x.MOVLQSX(at(tapReg, 0), tapIn)
	if x.tap != nil {
		x.MOVLQSX(at(tapReg, 4), scratch)
		x.tap(x)
	}
	x.ADDQ(imm(8), tapReg)
	x.LEAQ(indexed(inReg, tapIn, uint8(x.size), 0), tapIn)
	if n > len(pixelSteps) {
		x.LEAQ(indexed(tapIn, stepReg, 8, 0), scratch)
	}
	for p := range n {
		x.step(x, p, pixelAt(p, tapIn, scratch))
	}
	x.DECQ(tapsLeft)
	x.JNE(operand.LabelRef(loop))
	x.Label(over)
}

// instruction is a method of the builder.
type instruction = func(operands ...operand.Op)

// join emits an instruction on a pixel in memory, another source and, as the
// destination, the pixel's accumulator.
func (x *window) join(opcode instruction, m operand.Mem, pixel int, source operand.Op) {
	acc := x.acc(pixel)
	switch {
	case !x.masked:
		opcode(m, source, acc)
	case x.lanes == 16:
		opcode(m, source, reg.K1, acc)
	default:
		x.load(m, x.vec(tempVec))
		opcode(x.vec(tempVec), source, acc)
	}
}

// load reads a vector of float32, zeros outside the mask.
func (x *window) load(m operand.Mem, dst reg.VecPhysical) {
	switch {
	case !x.masked:
		x.VMOVUPS(m, dst)
	case x.lanes == 16:
		x.VMOVUPS_Z(m, reg.K1, dst)
	default:
		x.VMASKMOVPS(m, x.vec(maskVec), dst)
	}
}

func (x *window) store(src reg.VecPhysical, m operand.Mem) {
	switch {
	case !x.masked:
		x.VMOVUPS(src, m)
	case x.lanes == 16:
		x.VMOVUPS(src, reg.K1, m)
	default:
		x.VMASKMOVPS(src, x.vec(maskVec), m)
	}
}

func (x *window) zero(dst reg.VecPhysical) {
	if x.lanes == 16 {
		x.VPXORD(dst, dst, dst)
	} else {
		x.VXORPS(dst, dst, dst)
	}
}

func (x *window) clamp(acc reg.VecPhysical) {
	x.VMAXPS(acc, x.vec(loVec), acc)
	x.VMINPS(acc, x.vec(hiVec), acc)
}

// unlessNil emits code for a slice argument that may be nil, whose cursor it
// puts in scratch.
func (x *window) cursorUnlessNil(field int, size uint8, to reg.GPPhysical, present func()) {
	over := fmt.Sprintf("%snil%d", x.label, field)
	x.MOVQ(at(argument, field), to)
	x.TESTQ(to, to)
	x.JEQ(operand.LabelRef(over))
	x.MOVQ(x.channel, scratch)
	x.LEAQ(indexed(to, scratch, size, 0), to)
	present()
	x.Label(over)
}

var (
	dwF32 kernel.DepthwiseF32
	poolF kernel.Pool
)

// newWindow describes a kernel whose argument has its kernel.Window at base.
func newWindow(f *file, s isa, name string, base uintptr, size int) *window {
	var w kernel.Window
	b := int(base)
	return &window{
		file: f, isa: s, name: name, size: size, accumulate: eachTap,
		taps: b + int(unsafe.Offsetof(w.Taps)), tapsLen: b + int(unsafe.Offsetof(w.Taps)) + 8,
		w: b + int(unsafe.Offsetof(w.W)), c: b + int(unsafe.Offsetof(w.C)),
		inStep: b + int(unsafe.Offsetof(w.InStep)), outStep: b + int(unsafe.Offsetof(w.OutStep)),
	}
}

// windows emits the kernels over windows of float32.
func windows(s isa) func(*file) {
	return func(f *file) {
		suffix := "avx2"
		if s.lanes == 16 {
			suffix = "avx512"
		} else {
			f.maskTable()
		}
		depthwiseF32(f, s, "depthwise_f32_"+suffix, "", eachTap)
		depthwiseF32(f, s, "depthwise_f32_3x3_"+suffix, ",\nfor 3x3 taps, row by row, whose columns are as far apart as the pixels", threeByThree)
		pool(f, s, "poolmax_f32_"+suffix, math.Inf(-1), func(x *window) instruction { return x.VMAXPS })
		pool(f, s, "poolsum_f32_"+suffix, 0, func(x *window) instruction { return x.VADDPS })
	}
}

func depthwiseF32(f *file, s isa, name, limits string, accumulate func(x *window, n int)) {
	x := newWindow(f, s, name, unsafe.Offsetof(dwF32.Window), 4)
	x.in, x.out = int(unsafe.Offsetof(dwF32.In)), int(unsafe.Offsetof(dwF32.Out))
	bias := x.vec(biasVec)
	x.prepare = func(x *window) {
		x.cursorAt(int(unsafe.Offsetof(dwF32.Weights)), weightReg)
		x.VBROADCASTSS(at(argument, int(unsafe.Offsetof(dwF32.Lo))), x.vec(loVec))
		x.VBROADCASTSS(at(argument, int(unsafe.Offsetof(dwF32.Hi))), x.vec(hiVec))
		x.zero(bias)
		x.cursorUnlessNil(int(unsafe.Offsetof(dwF32.Bias)), 4, tapIn, func() { x.load(at(tapIn, 0), bias) })
		x.MOVQ(imm(0), x.res)
		x.cursorUnlessNil(int(unsafe.Offsetof(dwF32.Res)), 4, tapIn, func() { x.MOVQ(tapIn, x.res) })
	}
	x.tap = func(x *window) { x.load(indexed(weightReg, scratch, 4, 0), x.vec(weightVec)) }
	x.step = func(x *window, p int, m operand.Mem) { x.join(x.VFMADD231PS, m, p, x.vec(weightVec)) }
	x.accumulate = accumulate
	x.finish = finishDepthwiseF32
	x.emit("DepthwiseF32", "is the depthwise convolution of kernel.DepthwiseF32:\nOut[x,c] = clamp(sum over taps of In[x,tap,c]*Weights[tap,c] + Bias[c] + Res[x,c])"+limits+".")
}

// threeByThree loads each input pixel of a row once, for the three output
// pixels that it belongs to. The products of one output are added in the order
// of the taps, as eachTap does.
func threeByThree(x *window, n int) {
	weights := []reg.VecPhysical{x.vec(weightVec), x.vec(firstAcc + x.most()), x.vec(firstAcc + x.most() + 1)}
	for row := range 3 {
		x.MOVQ(at(argument, x.taps), tapReg)
		for column, w := range weights {
			x.MOVLQSX(at(tapReg, 8*(3*row+column)+4), scratch)
			x.load(indexed(weightReg, scratch, 4, 0), w)
		}
		x.MOVLQSX(at(tapReg, 8*3*row), tapIn)
		x.LEAQ(indexed(inReg, tapIn, 4, 0), tapIn)
		x.LEAQ(indexed(tapIn, stepReg, 8, 0), scratch)
		x.LEAQ(indexed(scratch, stepReg, 8, 0), tapReg)
		for p := range n + 2 {
			x.load(pixelAt(p, tapIn, scratch, tapReg), x.vec(tempVec))
			for column, w := range weights {
				if out := p - column; out >= 0 && out < n {
					x.VFMADD231PS(x.vec(tempVec), w, x.acc(out))
				}
			}
		}
	}
}

func finishDepthwiseF32(x *window) {
	over := x.label + "nores"
	x.MOVQ(x.res, scratch)
	x.TESTQ(scratch, scratch)
	x.JEQ(operand.LabelRef(over))
	x.MOVQ(at(argument, int(unsafe.Offsetof(dwF32.ResStep))), tapIn)
	x.SHLQ(operand.U8(2), tapIn)
	x.each("res", func(acc reg.VecPhysical) {
		x.load(at(scratch, 0), x.vec(tempVec))
		x.VADDPS(x.vec(tempVec), acc, acc)
		x.ADDQ(tapIn, scratch)
	})
	x.MOVQ(scratch, x.res)
	x.Label(over)
	x.each("stored", func(acc reg.VecPhysical) {
		x.clamp(acc)
		x.storePixel(acc)
	})
}

func (x *window) storePixel(acc reg.VecPhysical) {
	x.store(acc, at(outReg, 0))
	x.ADDQ(outStepReg, outReg)
}

func pool(f *file, s isa, name string, initial float64, opcode func(x *window) instruction) {
	x := newWindow(f, s, name, unsafe.Offsetof(poolF.Window), 4)
	x.in, x.out = int(unsafe.Offsetof(poolF.In)), int(unsafe.Offsetof(poolF.Out))
	x.prepare = func(x *window) {
		x.VBROADCASTSS(at(argument, int(unsafe.Offsetof(poolF.Factor))), x.vec(weightVec))
		x.MOVL(operand.U32(math.Float32bits(float32(initial))), scratch.As32())
		x.VMOVD(scratch.As32(), x.xmm(biasVec))
		x.VBROADCASTSS(x.xmm(biasVec), x.vec(biasVec))
	}
	x.step = func(x *window, p int, m operand.Mem) { x.join(opcode(x), m, p, x.acc(p)) }
	x.finish = func(x *window) {
		x.each("stored", func(acc reg.VecPhysical) {
			x.VMULPS(x.vec(weightVec), acc, acc)
			x.storePixel(acc)
		})
	}
	x.emit("Pool", "reduces the windows of kernel.Pool, channel by channel.")
}
