package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

var dwI8 kernel.DepthwiseU8S8

// More vector registers of the int8 kernels: the scale has that of the mask,
// which they do not need, the others stand behind the accumulators.
const scaleVec = maskVec

func (x *window) zeroVec() int { return firstAcc + x.most() }
func (x *window) lowVec() int  { return x.zeroVec() + 1 }

func windowsI8AVX2(f *file)   { depthwiseU8S8(f, avx2, "depthwise_u8s8_avx2", multiplyAdd) }
func windowsI8AVX512(f *file) { depthwiseU8S8(f, avx512, "depthwise_u8s8_avx512", multiplyAdd) }

func windowsI8VNNI(f *file) {
	depthwiseU8S8(f, avx512, "depthwise_u8s8_vnni", func(x *window, a, w, acc reg.VecPhysical) { x.VPDPWSSD(a, w, acc) })
}

// multiplyAdd adds the products of 16-bit integers that lie alone in 32 bits.
func multiplyAdd(x *window, a, w, acc reg.VecPhysical) {
	x.VPMADDWD(a, w, a)
	x.VPADDD(a, acc, acc)
}

func depthwiseU8S8(f *file, s isa, name string, multiply func(x *window, a, w, acc reg.VecPhysical)) {
	x := newWindow(f, s, name, unsafe.Offsetof(dwI8.Window), 1)
	x.whole = true
	x.in, x.out = int(unsafe.Offsetof(dwI8.In)), int(unsafe.Offsetof(dwI8.Out))
	x.prepare = prepareDepthwiseU8S8
	x.tap = func(x *window) { x.VPMOVSXBD(indexed(weightReg, scratch, 1, 0), x.vec(weightVec)) }
	x.step = func(x *window, p int, m operand.Mem) {
		x.VPMOVZXBD(m, x.vec(tempVec))
		multiply(x, x.vec(tempVec), x.vec(weightVec), x.acc(p))
	}
	x.finish = finishDepthwiseU8S8
	x.emit("DepthwiseU8S8", "is the depthwise convolution of kernel.DepthwiseU8S8,\nfor channels that are whole vectors.")
}

func prepareDepthwiseU8S8(x *window) {
	x.cursorAt(int(unsafe.Offsetof(dwI8.Weights)), weightReg)
	x.VBROADCASTSS(at(argument, int(unsafe.Offsetof(dwI8.Lo))), x.vec(loVec))
	x.VBROADCASTSS(at(argument, int(unsafe.Offsetof(dwI8.Hi))), x.vec(hiVec))
	x.VPBROADCASTD(at(argument, int(unsafe.Offsetof(dwI8.Zero))), x.vec(x.zeroVec()))
	x.zero(x.vec(biasVec))
	x.cursorUnlessNil(int(unsafe.Offsetof(dwI8.Bias)), 4, tapIn, func() { x.VMOVUPS(at(tapIn, 0), x.vec(biasVec)) })
	x.cursorUnlessNil(int(unsafe.Offsetof(dwI8.Scale)), 4, tapIn, func() { x.VMOVUPS(at(tapIn, 0), x.vec(scaleVec)) })
	if x.lanes == 8 {
		x.MOVL(operand.U32(0xff), scratch.As32())
		x.VMOVD(scratch.As32(), x.xmm(x.lowVec()))
		x.VPBROADCASTD(x.xmm(x.lowVec()), x.vec(x.lowVec()))
	}
}

func finishDepthwiseU8S8(x *window) {
	x.each("stored", func(acc reg.VecPhysical) {
		x.VCVTDQ2PS(acc, acc)
		x.VMULPS(x.vec(scaleVec), acc, acc)
		x.clamp(acc)
		x.VCVTPS2DQ(acc, acc)
		x.VPADDD(x.vec(x.zeroVec()), acc, acc)
		x.storeBytes(acc)
		x.ADDQ(outStepReg, outReg)
	})
}

// storeBytes writes the low byte of every lane.
func (x *window) storeBytes(acc reg.VecPhysical) {
	if x.lanes == 16 {
		x.VPMOVDB(acc, at(outReg, 0))
		return
	}
	x.VPAND(x.vec(x.lowVec()), acc, acc)
	x.VPACKUSDW(acc, acc, acc)
	x.VPERMQ(operand.U8(0xd8), acc, acc)
	x.VPACKUSWB(acc, acc, acc)
	x.VMOVQ(acc.AsX(), at(outReg, 0))
}
