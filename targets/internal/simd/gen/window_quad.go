package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// quadWindow is a depthwise convolution by dot products of four bytes. The
// inputs of four taps are interleaved byte by byte, which gives each channel
// its four products in one lane; the weights are interleaved the same way once
// for all pixels. Interleaving works within 128 bits, so a vector of bytes
// yields four vectors of sums, the j-th of which holds channels 4j to 4j+3 of
// each 16, and packing them to bytes restores the order.
type quadWindow struct {
	*vector
	dot                     func(m *vector, weights operand.Mem, a, acc v)
	t, in, out, left        reg.GPVirtual
	inStep, outStep, groups reg.GPVirtual

	channel, wide operand.Mem // the first channel, and how many are left
	taps, weights operand.Mem
	bias, scale   operand.Mem
}

// quadTaps bounds the taps of such a kernel.
const quadTaps = 32

func windowsQuadVNNI(f *file) {
	m := newVector(f, avx512)
	m.suffix = "vnni"
	m.quadWindow(func(m *vector, weights operand.Mem, a, acc v) { m.avo("VPDPBUSD", weights, a, acc) }, 2)
	m.end()
}

func (m *vector) quadWindow(dot func(m *vector, weights operand.Mem, a, acc v), pixels int) {
	t := m.structKernel("depthwise_u8s8_quad", "DepthwiseU8S8",
		"is the depthwise convolution of kernel.DepthwiseU8S8,\nfor up to 32 taps and channels that are whole vectors of bytes.")
	q := &quadWindow{vector: m, dot: dot, t: t}
	q.channel, q.wide = m.AllocLocal(8), m.AllocLocal(8)
	q.taps = m.AllocLocal(4 * quadTaps)
	q.weights = m.AllocLocal(quadTaps * m.bytes())
	q.bias, q.scale = m.AllocLocal(4*m.bytes()), m.AllocLocal(4*m.bytes())
	q.groups = m.GP64()
	q.copyTaps()
	c := m.field(t, unsafe.Offsetof(dwI8.C))
	m.MOVQ(c, q.wide)
	m.MOVQ(imm(0), q.channel)
	loop, over := operand.LabelRef(m.label("channels")), operand.LabelRef(m.label("done"))
	m.Label(string(loop))
	m.CMPQ(q.wide, imm(m.bytes()))
	m.JL(over)
	q.interleaveWeights()
	q.spread(unsafe.Offsetof(dwI8.Bias), q.bias)
	q.spread(unsafe.Offsetof(dwI8.Scale), q.scale)
	q.row(pixels)
	m.ADDQ(imm(m.bytes()), q.channel)
	m.SUBQ(imm(m.bytes()), q.wide)
	m.JMP(loop)
	m.Label(string(over))
	m.done()
}

// element addresses element i of 4 bytes in a local.
func (q *quadWindow) element(local operand.Mem, i reg.GPVirtual) operand.Mem {
	local.Index, local.Scale = i, 4
	return local
}

// copyTaps lists the input offsets of the taps, filled up to whole groups with
// the last, which will meet weights of zero, and counts the groups.
func (q *quadWindow) copyTaps() {
	taps, n, i, offset := q.field(q.t, unsafe.Offsetof(dwI8.Taps)), q.GP64(), q.GP64(), q.GP64()
	q.MOVQ(at(q.t, int(unsafe.Offsetof(dwI8.Taps))+8), n)
	q.XORQ(i, i)
	q.XORQ(offset, offset)
	loop, filled := operand.LabelRef(q.label("copy")), operand.LabelRef(q.label("filled"))
	q.Label(string(loop))
	q.CMPQ(i, imm(quadTaps))
	q.JGE(filled)
	keep := operand.LabelRef(q.label("keep"))
	q.CMPQ(i, n)
	q.JGE(keep)
	q.MOVL(operand.Mem{Base: taps, Index: i, Scale: 8}, offset.As32())
	q.Label(string(keep))
	q.MOVL(offset.As32(), q.element(q.taps, i))
	q.INCQ(i)
	q.JMP(loop)
	q.Label(string(filled))
	q.MOVQ(n, q.groups)
	q.ADDQ(imm(3), q.groups)
	q.SHRQ(operand.U8(2), q.groups)
}

// interleave makes of the bytes of four taps the four vectors of their quads.
func (q *quadWindow) interleave(taps []v) []v {
	low01, high01 := q.op2("VPUNPCKLBW", taps[1], taps[0]), q.op2("VPUNPCKHBW", taps[1], taps[0])
	low23, high23 := q.op2("VPUNPCKLBW", taps[3], taps[2]), q.op2("VPUNPCKHBW", taps[3], taps[2])
	return []v{
		q.op2("VPUNPCKLWD", low23, low01), q.op2("VPUNPCKHWD", low23, low01),
		q.op2("VPUNPCKLWD", high23, high01), q.op2("VPUNPCKHWD", high23, high01),
	}
}

func (q *quadWindow) interleaveWeights() {
	taps, left := q.field(q.t, unsafe.Offsetof(dwI8.Taps)), q.GP64()
	q.MOVQ(at(q.t, int(unsafe.Offsetof(dwI8.Taps))+8), left)
	base, to := q.field(q.t, unsafe.Offsetof(dwI8.Weights)), q.GP64()
	q.ADDQ(q.channel, base)
	q.LEAQ(q.weights, to)
	loop, over := operand.LabelRef(q.label("weights")), operand.LabelRef(q.label("weightsover"))
	q.Label(string(loop))
	q.TESTQ(left, left)
	q.JLE(over)
	vectors := make([]v, 4)
	for i := range vectors {
		absent := operand.LabelRef(q.label("absent"))
		vectors[i] = q.constant(0)
		q.CMPQ(left, imm(i))
		q.JLE(absent)
		offset := q.GP64()
		q.MOVLQSX(at(taps, 8*i+4), offset)
		q.avo("VMOVUPS", indexed(base, offset, 1, 0), vectors[i])
		q.Label(string(absent))
	}
	for i, quad := range q.interleave(vectors) {
		q.avo("VMOVUPS", quad, at(to, i*q.bytes()))
	}
	q.ADDQ(imm(4*q.bytes()), to)
	q.ADDQ(imm(32), taps)
	q.SUBQ(imm(4), left)
	q.JMP(loop)
	q.Label(string(over))
}

// spread copies one value per channel, of 4 bytes, to the order of the sums;
// the values of a nil slice are zero.
func (q *quadWindow) spread(field uintptr, local operand.Mem) {
	zero := q.constant(0)
	for j := range 4 {
		q.avo("VMOVUPS", zero, local.Offset(j*q.bytes()))
	}
	q.unlessNil(q.t, field, func(p reg.GPVirtual) {
		channel := q.GP64()
		q.MOVQ(q.channel, channel)
		q.LEAQ(indexed(p, channel, 4, 0), p)
		for j := range 4 {
			for lane := range q.bytes() / 16 {
				x := q.XMM()
				q.avo("VMOVUPS", at(p, 4*(16*lane+4*j)), x)
				q.avo("VMOVUPS", x, local.Offset(j*q.bytes()+16*lane))
			}
		}
	})
}

// row emits the loop over the pixels, several at a time and then one by one.
func (q *quadWindow) row(pixels int) {
	q.in, q.out = q.field(q.t, unsafe.Offsetof(dwI8.In)), q.field(q.t, unsafe.Offsetof(dwI8.Out))
	q.ADDQ(q.channel, q.in)
	q.ADDQ(q.channel, q.out)
	q.inStep, q.outStep = q.field(q.t, unsafe.Offsetof(dwI8.InStep)), q.field(q.t, unsafe.Offsetof(dwI8.OutStep))
	q.left = q.field(q.t, unsafe.Offsetof(dwI8.W))
	for _, n := range []int{pixels, 1} {
		loop, over := operand.LabelRef(q.label("pixels")), operand.LabelRef(q.label("pixelsover"))
		q.Label(string(loop))
		q.CMPQ(q.left, imm(n))
		q.JL(over)
		q.block(n)
		q.SUBQ(imm(n), q.left)
		q.JMP(loop)
		q.Label(string(over))
	}
}

// block emits n pixels, one or two.
func (q *quadWindow) block(n int) {
	sums := make([]v, 4*n)
	for i := range sums {
		sums[i] = q.load(q.bias.Offset(i%4*q.bytes()), nil)
	}
	weights, tap, left := q.GP64(), q.GP64(), q.GP64()
	q.LEAQ(q.weights, weights)
	q.LEAQ(q.taps, tap)
	q.MOVQ(q.groups, left)
	loop, over := operand.LabelRef(q.label("quad")), operand.LabelRef(q.label("quadover"))
	q.Label(string(loop))
	q.SUBQ(imm(1), left)
	q.JL(over)
	taps := make([]v, 4*n)
	for i := range 4 {
		offset := q.GP64()
		q.MOVLQSX(at(tap, 4*i), offset)
		q.ADDQ(q.in, offset)
		for p := range n {
			from := at(offset, 0)
			if p > 0 {
				from = indexed(offset, q.inStep, 1, 0)
			}
			taps[4*p+i] = q.load(from, nil)
		}
	}
	for p := range n {
		for j, quad := range q.interleave(taps[4*p : 4*p+4]) {
			q.dot(q.vector, at(weights, j*q.bytes()), quad, sums[4*p+j])
		}
	}
	q.ADDQ(imm(4*q.bytes()), weights)
	q.ADDQ(imm(16), tap)
	q.JMP(loop)
	q.Label(string(over))
	for p := range n {
		q.requantize(sums[4*p : 4*p+4])
		q.ADDQ(q.inStep, q.in)
	}
}

// requantize finishes the sums of one pixel and stores them.
func (q *quadWindow) requantize(sums []v) {
	lo, hi := q.broadcast(at(q.t, int(unsafe.Offsetof(dwI8.Lo)))), q.broadcast(at(q.t, int(unsafe.Offsetof(dwI8.Hi))))
	zero := q.op1("VPBROADCASTD", at(q.t, int(unsafe.Offsetof(dwI8.Zero))))
	for j, sum := range sums {
		q.avo("VCVTDQ2PS", sum, sum)
		q.avo("VMULPS", q.scale.Offset(j*q.bytes()), sum, sum)
		q.avo("VMAXPS", sum, lo, sum)
		q.avo("VMINPS", sum, hi, sum)
		q.avo("VCVTPS2DQ", sum, sum)
		q.avo("VPADDD", zero, sum, sum)
	}
	low := q.andK(q.op2("VPACKSSDW", sums[1], sums[0]), 0x00ff00ff)
	high := q.andK(q.op2("VPACKSSDW", sums[3], sums[2]), 0x00ff00ff)
	q.avo("VMOVUPS", q.op2("VPACKUSWB", high, low), at(q.out, 0))
	q.ADDQ(q.outStep, q.out)
}
