package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// groupWindow is a depthwise convolution by dot products of groups of taps: of
// four bytes, or of two bytes widened to 16 bits. The inputs of a group's taps
// are interleaved, which gives each channel its products in one lane; the
// weights are interleaved the same way once for all pixels. Interleaving works
// within 128 bits, so a vector of bytes yields four vectors of sums, the j-th
// of which holds channels 4j to 4j+3 of each 16, and packing them to bytes
// restores the order.
type groupWindow struct {
	*vector
	group                   int // taps
	dot                     func(m *vector, weights operand.Mem, a, acc v)
	t, in, out, left        reg.GPVirtual
	inStep, outStep, groups reg.GPVirtual

	channel, wide operand.Mem // the first channel, and how many are left
	taps, weights operand.Mem
	bias, scale   operand.Mem
}

// groupTaps bounds the taps of such a kernel.
const groupTaps = 32

func windowsQuadVNNI(f *file) {
	m := newVector(f, avx512)
	m.suffix = "vnni"
	m.groupWindow("quad", 4, func(m *vector, weights operand.Mem, a, acc v) { m.avo("VPDPBUSD", weights, a, acc) })
	m.end()
}

func windowsPair(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		m.groupWindow("pair", 2, func(m *vector, weights operand.Mem, a, acc v) {
			m.avo("VPMADDWD", weights, a, a)
			m.avo("VPADDD", a, acc, acc)
		})
		m.end()
	}
}

func (m *vector) groupWindow(stem string, group int, dot func(m *vector, weights operand.Mem, a, acc v)) {
	t := m.structKernel("depthwise_u8s8_"+stem, "DepthwiseU8S8",
		"is the depthwise convolution of kernel.DepthwiseU8S8,\nfor up to 32 taps and channels that are whole vectors of bytes.")
	q := &groupWindow{vector: m, group: group, dot: dot, t: t}
	q.channel, q.wide = m.AllocLocal(8), m.AllocLocal(8)
	q.taps = m.AllocLocal(4 * groupTaps)
	q.weights = m.AllocLocal(groupTaps/group*4*m.bytes() + line)
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
	q.row(2)
	m.ADDQ(imm(m.bytes()), q.channel)
	m.SUBQ(imm(m.bytes()), q.wide)
	m.JMP(loop)
	m.Label(string(over))
	m.done()
}

// element addresses element i of 4 bytes in a local.
func (q *groupWindow) element(local operand.Mem, i reg.GPVirtual) operand.Mem {
	local.Index, local.Scale = i, 4
	return local
}

// copyTaps lists the input offsets of the taps, filled up to whole groups with
// the last, which will meet weights of zero, and counts the groups.
func (q *groupWindow) copyTaps() {
	taps, n, i, offset := q.field(q.t, unsafe.Offsetof(dwI8.Taps)), q.GP64(), q.GP64(), q.GP64()
	q.MOVQ(at(q.t, int(unsafe.Offsetof(dwI8.Taps))+8), n)
	q.XORQ(i, i)
	q.XORQ(offset, offset)
	loop, filled := operand.LabelRef(q.label("copy")), operand.LabelRef(q.label("filled"))
	q.Label(string(loop))
	q.CMPQ(i, imm(groupTaps))
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
	q.ADDQ(imm(q.group-1), q.groups)
	q.SHRQ(operand.U8(q.group/2), q.groups)
}

// interleave makes of the bytes of a group's taps the four vectors of their
// products' operands.
func (q *groupWindow) interleave(taps []v) []v {
	if q.group == 2 {
		zero := q.zero()
		low, high := q.op2("VPUNPCKLBW", taps[1], taps[0]), q.op2("VPUNPCKHBW", taps[1], taps[0])
		return []v{
			q.op2("VPUNPCKLBW", zero, low), q.op2("VPUNPCKHBW", zero, low),
			q.op2("VPUNPCKLBW", zero, high), q.op2("VPUNPCKHBW", zero, high),
		}
	}
	low01, high01 := q.op2("VPUNPCKLBW", taps[1], taps[0]), q.op2("VPUNPCKHBW", taps[1], taps[0])
	low23, high23 := q.op2("VPUNPCKLBW", taps[3], taps[2]), q.op2("VPUNPCKHBW", taps[3], taps[2])
	return []v{
		q.op2("VPUNPCKLWD", low23, low01), q.op2("VPUNPCKHWD", low23, low01),
		q.op2("VPUNPCKLWD", high23, high01), q.op2("VPUNPCKHWD", high23, high01),
	}
}

// zero is a vector of zeros.
func (q *groupWindow) zero() v {
	z := q.fresh()
	q.avo(q.vector.wide("VPXOR"), z, z, z)
	return z
}

// interleaveSigned is interleave of weights.
func (q *groupWindow) interleaveSigned(taps []v) []v {
	if q.group == 4 {
		return q.interleave(taps)
	}
	widened := func(opcode string, tap v) v { // puts bytes above zeros
		w := q.op2(opcode, tap, q.zero())
		return q.shift("VPSRAW", w, 8)
	}
	low := []v{widened("VPUNPCKLBW", taps[0]), widened("VPUNPCKLBW", taps[1])}
	high := []v{widened("VPUNPCKHBW", taps[0]), widened("VPUNPCKHBW", taps[1])}
	return []v{
		q.op2("VPUNPCKLWD", low[1], low[0]), q.op2("VPUNPCKHWD", low[1], low[0]),
		q.op2("VPUNPCKLWD", high[1], high[0]), q.op2("VPUNPCKHWD", high[1], high[0]),
	}
}

// alignedWeights sets to to where the weights are: on a cache line, as Go does
// not align its stack.
func (q *groupWindow) alignedWeights(to reg.GPVirtual) {
	q.LEAQ(q.weights.Offset(line-1), to)
	q.ANDQ(imm(-line), to)
}

func (q *groupWindow) interleaveWeights() {
	taps, left := q.field(q.t, unsafe.Offsetof(dwI8.Taps)), q.GP64()
	q.MOVQ(at(q.t, int(unsafe.Offsetof(dwI8.Taps))+8), left)
	base, to := q.field(q.t, unsafe.Offsetof(dwI8.Weights)), q.GP64()
	q.ADDQ(q.channel, base)
	q.alignedWeights(to)
	loop, over := operand.LabelRef(q.label("weights")), operand.LabelRef(q.label("weightsover"))
	q.Label(string(loop))
	q.TESTQ(left, left)
	q.JLE(over)
	vectors := make([]v, q.group)
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
	for i, part := range q.interleaveSigned(vectors) {
		q.avo("VMOVUPS", part, at(to, i*q.bytes()))
	}
	q.ADDQ(imm(4*q.bytes()), to)
	q.ADDQ(imm(8*q.group), taps)
	q.SUBQ(imm(q.group), left)
	q.JMP(loop)
	q.Label(string(over))
}

// spread copies one value per channel, of 4 bytes, to the order of the sums;
// the values of a nil slice are zero.
func (q *groupWindow) spread(field uintptr, local operand.Mem) {
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
func (q *groupWindow) row(pixels int) {
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
func (q *groupWindow) block(n int) {
	sums := make([]v, 4*n)
	for i := range sums {
		sums[i] = q.load(q.bias.Offset(i%4*q.bytes()), nil)
	}
	weights, tap, left := q.GP64(), q.GP64(), q.GP64()
	q.alignedWeights(weights)
	q.LEAQ(q.taps, tap)
	q.MOVQ(q.groups, left)
	loop, over := operand.LabelRef(q.label("group")), operand.LabelRef(q.label("groupover"))
	q.Label(string(loop))
	q.SUBQ(imm(1), left)
	q.JL(over)
	offsets := make([]reg.GPVirtual, q.group)
	for i := range offsets {
		offsets[i] = q.GP64()
		q.MOVLQSX(at(tap, 4*i), offsets[i])
		q.ADDQ(q.in, offsets[i])
	}
	for p := range n {
		taps := make([]v, q.group)
		for i, offset := range offsets {
			from := at(offset, 0)
			if p > 0 {
				from = indexed(offset, q.inStep, 1, 0)
			}
			taps[i] = q.load(from, nil)
		}
		for j, part := range q.interleave(taps) {
			q.dot(q.vector, at(weights, j*q.bytes()), part, sums[4*p+j])
		}
	}
	q.ADDQ(imm(4*q.bytes()), weights)
	q.ADDQ(imm(4*q.group), tap)
	q.JMP(loop)
	q.Label(string(over))
	for p := range n {
		q.requantize(sums[4*p : 4*p+4])
		q.ADDQ(q.inStep, q.in)
	}
}

// requantize finishes the sums of one pixel and stores them.
func (q *groupWindow) requantize(sums []v) {
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
