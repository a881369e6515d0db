package main

import (
	"fmt"
	"unsafe"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

var depthPlanes kernel.DepthwisePlanes

// planes emits the depthwise convolutions over planes. Their results are taken
// a column of vectors at a time: from row to row of the input the sums of the
// rows of the result that it is part of stay in registers, so that each element
// is loaded once for each of the three columns of the window.
func planes(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		for stride := 1; stride <= 2; stride++ {
			m.depthwisePlanes(stride)
		}
		m.lanesTable()
		m.end()
	}
}

// planesKernel holds what the code of one kernel shares.
type planesKernel struct {
	*vector
	stride          int
	t, x            reg.GPVirtual // the first column of the result
	row, out, y     reg.GPVirtual // of the input, of the result; the input row's number
	rowStep, outRow reg.GPVirtual
	weights         reg.GPVirtual
	held            []v // the weights, where there are registers for them
	masks           []tail
	sum             []v  // of the rows of the result that are under way, the oldest first
	even, odd       v    // which lanes of two vectors, for AVX-512
	narrow          bool // the result is narrower than a vector
}

func (m *vector) depthwisePlanes(stride int) {
	name := fmt.Sprintf("depthwise_planes_s%d_%s", stride, m.suffix)
	m.begin(name, "t *kernel.DepthwisePlanes", "t *byte",
		fmt.Sprintf("%s computes kernel.DepthwisePlanes at a stride of %d.", name, stride))
	m.AllocLocal(frame)
	p := &planesKernel{vector: m, stride: stride, t: m.GP64(), x: m.GP64()}
	m.MOVQ(param(), p.t)
	p.rowStep, p.outRow = m.step(p.t, unsafe.Offsetof(depthPlanes.W)), m.step(p.t, unsafe.Offsetof(depthPlanes.OW))
	if m.lanes == 16 && stride == 2 {
		p.even, p.odd = m.load(m.lanesAt(0), nil), m.load(m.lanesAt(64), nil)
	}
	m.XORQ(p.x, p.x)
	if m.lanes == 16 {
		p.columns()
	} else {
		narrow := operand.LabelRef(m.label("narrow"))
		m.CMPQ(at(p.t, int(unsafe.Offsetof(depthPlanes.OW))), imm(m.lanes))
		m.JL(narrow)
		p.columns()
		m.Label(string(narrow))
		p.narrow = true
		p.column()
	}
	m.done()
}

// columns emits the loop over the columns of the result. Masked stores are slow
// before AVX-512, so there the last column overlaps the one before.
func (p *planesKernel) columns() {
	columns, done := operand.LabelRef(p.label("columns")), operand.LabelRef(p.label("columnsover"))
	width := at(p.t, int(unsafe.Offsetof(depthPlanes.OW)))
	p.Label(string(columns))
	p.column()
	p.ADDQ(imm(p.lanes), p.x)
	p.CMPQ(p.x, width)
	p.JGE(done)
	if p.lanes < 16 {
		back := p.GP64()
		p.MOVQ(width, back)
		p.SUBQ(imm(p.lanes), back)
		p.CMPQ(p.x, back)
		p.CMOVQGT(back, p.x)
	}
	p.JMP(columns)
	p.Label(string(done))
	p.VZEROUPPER()
	p.RET()
}

// column emits the loop over the channels for one column of vectors.
func (p *planesKernel) column() {
	first := p.GP64()
	p.MOVQ(p.x, first)
	if p.stride == 2 {
		p.SHLQ(operand.U8(1), first)
	}
	p.SUBQ(at(p.t, int(unsafe.Offsetof(depthPlanes.Left))), first)
	p.masks = nil
	starts := []int{0, 1, 2}
	if p.stride == 2 {
		starts = []int{0, p.lanes, 2, p.lanes + 2}
	}
	for _, s := range starts {
		p.masks = append(p.masks, p.inside(first, s, unsafe.Offsetof(depthPlanes.W)))
	}
	if p.lanes == 16 {
		p.masks = append(p.masks, p.inside(p.x, 0, unsafe.Offsetof(depthPlanes.OW)))
	}

	left, in, out := p.field(p.t, unsafe.Offsetof(depthPlanes.C)), p.field(p.t, unsafe.Offsetof(depthPlanes.In)), p.field(p.t, unsafe.Offsetof(depthPlanes.Out))
	p.LEAQ(indexed(in, first, 4, 0), in)
	p.LEAQ(indexed(out, p.x, 4, 0), out)
	top := p.field(p.t, unsafe.Offsetof(depthPlanes.Top))
	back := p.GP64()
	p.MOVQ(p.rowStep, back)
	p.IMULQ(top, back)
	p.SUBQ(back, in)
	p.weights = p.field(p.t, unsafe.Offsetof(depthPlanes.Weights))
	bias := p.field(p.t, unsafe.Offsetof(depthPlanes.Bias))

	channels, over := operand.LabelRef(p.label("channels")), operand.LabelRef(p.label("channelsover"))
	p.Label(string(channels))
	p.TESTQ(left, left)
	p.JLE(over)
	p.channel(in, out, bias)
	ldi := p.step(p.t, unsafe.Offsetof(depthPlanes.LDI))
	p.ADDQ(ldi, in)
	ldo := p.step(p.t, unsafe.Offsetof(depthPlanes.LDO))
	p.ADDQ(ldo, out)
	p.ADDQ(imm(9*4), p.weights)
	none := operand.LabelRef(p.label("nobias"))
	p.TESTQ(bias, bias)
	p.JEQ(none)
	p.ADDQ(imm(4), bias)
	p.Label(string(none))
	p.DECQ(left)
	p.JMP(channels)
	p.Label(string(over))
}

// inside makes the mask of the lanes i for which first+start+i is from 0 to the
// field less one.
func (p *planesKernel) inside(first reg.GPVirtual, start int, field uintptr) tail {
	begin, end, zero, all := p.GP64(), p.GP64(), p.GP64(), p.GP64()
	p.XORQ(zero, zero)
	p.MOVQ(at(p.t, int(field)), end)
	p.SUBQ(first, end)
	p.SUBQ(imm(start), end)
	p.CMPQ(end, zero)
	p.CMOVQLT(zero, end)
	p.MOVQ(imm(p.lanes), all)
	p.CMPQ(end, all)
	p.CMOVQGT(all, end)
	p.MOVQ(first, begin)
	p.NEGQ(begin)
	p.SUBQ(imm(start), begin)
	p.CMPQ(begin, zero)
	p.CMOVQLT(zero, begin)
	ones := p.GP64()
	p.MOVQ(imm(-1), ones)
	p.BZHIQ(end, ones, ones)
	p.SHRXQ(begin, ones, ones)
	p.SHLXQ(begin, ones, ones)
	if p.lanes == 16 {
		mask := p.K()
		p.KMOVW(ones.As32(), mask)
		return tail{opmask: mask}
	}
	low, bits := p.XMM(), p.YMM()
	p.VMOVD(ones.As32(), low)
	p.VPBROADCASTD(low, bits)
	p.VPAND(p.lanesAt(0), bits, bits)
	p.VPCMPEQD(p.lanesAt(0), bits, bits)
	return tail{vector: bits}
}

// lanesTable lays down which lanes of two vectors are the even and the odd ones,
// for AVX2 the bit of each lane.
func (m *vector) lanesTable() {
	m.StaticGlobal("lanes_" + m.suffix)
	m.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 32 {
		if m.lanes == 16 {
			m.AddDatum(4*i, operand.U32(2*(i%16)+i/16))
		} else if i < 8 {
			m.AddDatum(4*i, operand.U32(1<<i))
		}
	}
}

func (m *vector) lanesAt(offset int) operand.Mem {
	return operand.NewDataAddr(operand.NewStaticSymbol("lanes_"+m.suffix), offset)
}

// channel emits the column of one channel.
func (p *planesKernel) channel(in, out, bias reg.GPVirtual) {
	p.row, p.out, p.y = p.GP64(), p.GP64(), p.GP64()
	p.MOVQ(in, p.row)
	p.MOVQ(out, p.out)
	p.XORQ(p.y, p.y)
	p.SUBQ(at(p.t, int(unsafe.Offsetof(depthPlanes.Top))), p.y)
	p.held = nil
	for i := range p.room() {
		p.held = append(p.held, p.broadcast(at(p.weights, 4*i)))
	}
	left := p.field(p.t, unsafe.Offsetof(depthPlanes.OH))
	p.sum = p.filled(4-p.stride, 0)
	loop, over := operand.LabelRef(p.label("rows")), operand.LabelRef(p.label("rowsover"))
	// The rows of the input before the last one that the first row of the result
	// needs.
	if p.stride == 1 {
		p.inputRow([]int{0}, p.sum)
		p.inputRow([]int{1, 0}, p.sum)
	} else {
		p.inputRow([]int{0}, p.sum)
	}
	p.Label(string(loop))
	p.TESTQ(left, left)
	p.JLE(over)
	if p.stride == 1 {
		p.zero(p.sum[2])
		p.inputRow([]int{2, 1, 0}, p.sum)
	} else {
		p.inputRow([]int{1}, p.sum)
		p.zero(p.sum[1])
		p.inputRow([]int{2, 0}, p.sum)
	}
	p.finish(bias)
	for i := range p.sum[1:] {
		p.avo("VMOVAPS", p.sum[i+1], p.sum[i])
	}
	p.DECQ(left)
	p.JMP(loop)
	p.Label(string(over))
}

// room is for how many weights there are registers.
func (p *planesKernel) room() int {
	switch {
	case p.lanes == 16:
		return 9
	case p.stride == 1:
		return 8
	}
	return 5
}

func (p *planesKernel) zero(a v) { p.avo(p.wide("VPXOR"), a, a, a) }

// inputRow adds the current row of the input, unless it lies outside, to each of
// the sums, in whose windows it is the row ky, and goes on to the next.
func (p *planesKernel) inputRow(ky []int, sums []v) {
	outside := operand.LabelRef(p.label("outside"))
	p.CMPQ(p.y, at(p.t, int(unsafe.Offsetof(depthPlanes.H))))
	p.JAE(outside)
	if p.stride == 1 {
		for kx := range 3 {
			p.tap(p.load(at(p.row, 4*kx), &p.masks[kx]), kx, ky, sums)
		}
	} else {
		a, b := p.load(at(p.row, 0), &p.masks[0]), p.load(at(p.row, p.bytes()), &p.masks[1])
		p.tap(p.evens(a, b), 0, ky, sums)
		p.tap(p.odds(a, b), 1, ky, sums)
		a, b = p.load(at(p.row, 8), &p.masks[2]), p.load(at(p.row, p.bytes()+8), &p.masks[3])
		p.tap(p.evens(a, b), 2, ky, sums)
	}
	p.Label(string(outside))
	p.ADDQ(p.rowStep, p.row)
	p.INCQ(p.y)
}

func (p *planesKernel) tap(x v, kx int, ky []int, sums []v) {
	for i, k := range ky {
		if n := 3*k + kx; n < len(p.held) {
			p.avo("VFMADD231PS", p.held[n], x, sums[i])
		} else {
			p.avo("VFMADD231PS", p.broadcast(at(p.weights, 4*n)), x, sums[i])
		}
	}
}

// evens and odds are every second element of a and b together.
func (p *planesKernel) evens(a, b v) v { return p.pick(a, b, p.even, 0x88) }
func (p *planesKernel) odds(a, b v) v  { return p.pick(a, b, p.odd, 0xdd) }

func (p *planesKernel) pick(a, b, lanes v, shuffle uint8) v {
	if p.lanes == 16 {
		dst := p.copy(a)
		p.avo("VPERMT2PS", b, lanes, dst)
		return dst
	}
	dst := p.fresh()
	p.avo("VSHUFPS", operand.U8(shuffle), b, a, dst)
	p.avo("VPERMPD", operand.U8(0xd8), dst, dst)
	return dst
}

// finish adds the bias to the oldest sum, limits and stores it.
func (p *planesKernel) finish(bias reg.GPVirtual) {
	sum := p.sum[0]
	none := operand.LabelRef(p.label("nobias"))
	p.TESTQ(bias, bias)
	p.JEQ(none)
	p.avo("VADDPS", p.broadcast(at(bias, 0)), sum, sum)
	p.Label(string(none))
	p.avo("VMAXPS", sum, p.broadcast(at(p.t, int(unsafe.Offsetof(depthPlanes.Lo)))), sum)
	p.avo("VMINPS", sum, p.broadcast(at(p.t, int(unsafe.Offsetof(depthPlanes.Hi)))), sum)
	switch {
	case p.lanes == 16:
		p.store(sum, at(p.out, 0), &p.masks[len(p.masks)-1])
	case p.narrow:
		p.pieces(sum.AsX())
	default:
		p.store(sum, at(p.out, 0), nil)
	}
	p.ADDQ(p.outRow, p.out)
}

// pieces stores the first elements of a vector, fewer than 8, by fours, twos and
// ones.
func (p *planesKernel) pieces(low reg.Register) {
	n, to := p.field(p.t, unsafe.Offsetof(depthPlanes.OW)), p.GP64()
	p.MOVQ(p.out, to)
	for _, piece := range []int{4, 2, 1} {
		over := operand.LabelRef(p.label("piece"))
		p.TESTQ(imm(piece), n)
		p.JEQ(over)
		switch piece {
		case 4:
			p.VMOVUPS(low, at(to, 0))
			p.VEXTRACTF128(operand.U8(1), low.(reg.Vec).AsY(), low)
		case 2:
			p.VMOVLPS(low, at(to, 0))
			p.VPERMILPS(operand.U8(0x0e), low, low)
		default:
			p.VMOVSS(low, at(to, 0))
		}
		if piece > 1 {
			p.ADDQ(imm(4*piece), to)
		}
		p.Label(string(over))
	}
}
