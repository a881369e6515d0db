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
	gap             reg.GPVirtual // bytes from the first vector of the result to the second
	weights         reg.GPVirtual
	held            []v    // the weights for which there are registers
	masks           []tail // of the vectors that are loaded
	stored          tail   // of the one that is stored, for AVX-512
	sums            [][]v  // of each vector, of the rows of the result that are under way, the oldest first
	even, odd       v      // which lanes of two vectors, for AVX-512
	narrow          bool   // the result is narrower than a vector
	inner           bool   // the column needs no masks
}

func (m *vector) depthwisePlanes(stride int) {
	name := fmt.Sprintf("depthwise_planes_s%d_%s", stride, m.suffix)
	m.begin(name, "t *kernel.DepthwisePlanes", "t *byte",
		fmt.Sprintf("%s computes kernel.DepthwisePlanes at a stride of %d.", name, stride))
	m.AllocLocal(frame)
	p := &planesKernel{vector: m, stride: stride, t: m.GP64(), x: m.GP64()}
	m.MOVQ(param(), p.t)
	p.rowStep, p.outRow = m.step(p.t, unsafe.Offsetof(depthPlanes.LDR)), m.step(p.t, unsafe.Offsetof(depthPlanes.OW))
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
		p.column(1)
	}
	m.done()
}

// columns emits the loop over the columns of the result. Masked stores are slow
// before AVX-512, so there the last column overlaps the one before.
func (p *planesKernel) columns() {
	columns, single, done := operand.LabelRef(p.label("columns")), operand.LabelRef(p.label("single")), operand.LabelRef(p.label("columnsover"))
	width := at(p.t, int(unsafe.Offsetof(depthPlanes.OW)))
	p.Label(string(columns))
	if p.lanes == 16 {
		p.column(1)
	} else {
		last := p.GP64()
		p.MOVQ(width, last)
		p.SUBQ(imm(p.lanes), last)
		p.CMPQ(p.x, last)
		p.JGE(single)
		p.pair(last, single)
		p.ADDQ(imm(2*p.lanes), p.x)
		p.CMPQ(p.x, width)
		p.JL(columns)
		p.JMP(done)
		p.Label(string(single))
		p.MOVQ(width, last)
		p.SUBQ(imm(p.lanes), last)
		p.CMPQ(p.x, last)
		p.CMOVQGT(last, p.x)
		p.edgeOrInner(nil)
	}
	p.ADDQ(imm(p.lanes), p.x)
	p.CMPQ(p.x, width)
	p.JL(columns)
	p.Label(string(done))
	p.VZEROUPPER()
	p.RET()
}

// pair emits two columns at once, so that there is more to do while sums wait
// for each other. The second one begins at last at the latest. For a stride of 2
// there are no registers for the masks of two columns: such are left to single.
func (p *planesKernel) pair(last reg.GPVirtual, single operand.LabelRef) {
	p.SUBQ(p.x, last)
	p.gap = p.GP64()
	p.MOVQ(imm(p.lanes), p.gap)
	p.CMPQ(last, p.gap)
	p.CMOVQLT(last, p.gap)
	p.SHLQ(operand.U8(2), p.gap)
	p.edgeOrInner(&single)
}

// edgeOrInner emits a column, or a pair of them if that is what there is a label
// for, and one of those whose windows lie within the width of the input, which
// need no masks.
func (p *planesKernel) edgeOrInner(single *operand.LabelRef) {
	wide, edge, over := 1, operand.LabelRef(p.label("edge")), operand.LabelRef(p.label("columnover"))
	if single != nil {
		wide = 2
	}
	first, end := p.first(), p.GP64()
	p.TESTQ(first, first)
	p.JL(edge)
	p.LEAQ(at(first, p.stride*p.lanes+2), end)
	if wide == 2 {
		between := p.GP64()
		p.MOVQ(p.gap, between)
		p.SHRQ(operand.U8(3-p.stride), between)
		p.ADDQ(between, end)
	}
	p.CMPQ(end, at(p.t, int(unsafe.Offsetof(depthPlanes.W))))
	p.JG(edge)
	p.inner = true
	p.column(wide)
	p.inner = false
	p.JMP(over)
	p.Label(string(edge))
	if wide == 2 && p.stride == 2 {
		p.JMP(*single)
	} else {
		p.column(wide)
	}
	p.Label(string(over))
}

// first is the input's column that the column's first window begins with.
func (p *planesKernel) first() reg.GPVirtual {
	first := p.GP64()
	p.MOVQ(p.x, first)
	if p.stride == 2 {
		p.SHLQ(operand.U8(1), first)
	}
	p.SUBQ(at(p.t, int(unsafe.Offsetof(depthPlanes.Left))), first)
	return first
}

// column emits the loop over the channels for a column of so many vectors.
func (p *planesKernel) column(wide int) {
	first := p.first()
	p.sums, p.masks = make([][]v, wide), nil
	if !p.inner {
		p.edgeMasks(first, wide)
	}
	if p.lanes == 16 {
		p.stored = p.inside(p.x, 0, unsafe.Offsetof(depthPlanes.OW))
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

// edgeMasks makes the masks of the vectors that a row is loaded in.
func (p *planesKernel) edgeMasks(first reg.GPVirtual, wide int) {
	starts := []int{0, 1, 2}
	if p.stride == 2 {
		starts = []int{0, p.lanes, 2, p.lanes + 2}
	}
	for i := range wide {
		from := first
		if i == 1 {
			from = p.GP64()
			p.MOVQ(p.gap, from)
			p.SHRQ(operand.U8(3-p.stride), from)
			p.ADDQ(first, from)
		}
		for _, s := range starts {
			p.masks = append(p.masks, p.inside(from, s, unsafe.Offsetof(depthPlanes.W)))
		}
	}
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
	for i := range p.sums {
		p.sums[i] = p.filled(4-p.stride, 0)
	}
	loop, over := operand.LabelRef(p.label("rows")), operand.LabelRef(p.label("rowsover"))
	// The rows of the input before the last one that the first row of the result
	// needs.
	p.inputRow(0)
	if p.stride == 1 {
		p.inputRow(1, 0)
	}
	p.Label(string(loop))
	p.TESTQ(left, left)
	p.JLE(over)
	if p.stride == 2 {
		p.inputRow(1)
	}
	for _, sum := range p.sums {
		p.zero(sum[len(sum)-1])
	}
	if p.stride == 1 {
		p.inputRow(2, 1, 0)
	} else {
		p.inputRow(2, 0)
	}
	p.finish(bias)
	for _, sum := range p.sums {
		for i := range sum[1:] {
			p.avo("VMOVAPS", sum[i+1], sum[i])
		}
	}
	p.DECQ(left)
	p.JMP(loop)
	p.Label(string(over))
}

// room is for how many weights there are registers.
func (p *planesKernel) room() int {
	if p.lanes == 16 {
		return 9
	}
	used := 1 + len(p.masks) + len(p.sums)*(4-p.stride)
	if p.stride == 1 {
		used += len(p.sums)
	} else {
		used += 3
	}
	return min(9, 16-used)
}

func (p *planesKernel) zero(a v) { p.avo(p.wide("VPXOR"), a, a, a) }

// inputRow adds the current row of the input, unless it lies outside, to the sums
// in whose windows it is the row ky, the oldest first, and goes on to the next.
func (p *planesKernel) inputRow(ky ...int) {
	outside := operand.LabelRef(p.label("outside"))
	p.CMPQ(p.y, at(p.t, int(unsafe.Offsetof(depthPlanes.H))))
	p.JAE(outside)
	if p.stride == 1 {
		for kx := range 3 {
			var x []v
			for i := range p.sums {
				x = append(x, p.element(i, 4*kx, kx))
			}
			p.tap(x, p.sums, kx, ky)
		}
	} else {
		for i := range p.sums {
			sums := p.sums[i : i+1]
			a, b := p.element(i, 0, 0), p.element(i, p.bytes(), 1)
			p.tap([]v{p.evens(a, b)}, sums, 0, ky)
			p.tap([]v{p.odds(a, b)}, sums, 1, ky)
			p.tap([]v{p.evens(p.element(i, 8, 2), p.element(i, p.bytes()+8, 3))}, sums, 2, ky)
		}
	}
	p.Label(string(outside))
	p.ADDQ(p.rowStep, p.row)
	p.INCQ(p.y)
}

// element loads a vector of the current row for vector i of the result.
func (p *planesKernel) element(i, offset, mask int) v {
	from := at(p.row, offset)
	if i == 1 {
		from = indexed(p.row, p.gap, uint8(p.stride), offset)
	}
	if p.inner {
		return p.load(from, nil)
	}
	return p.load(from, &p.masks[i*len(p.masks)/len(p.sums)+mask])
}

// tap adds x, for each vector, times the weights of the column kx of the window.
func (p *planesKernel) tap(x []v, sums [][]v, kx int, ky []int) {
	for at, k := range ky {
		weight := p.weight(3*k + kx)
		for i := range x {
			p.avo("VFMADD231PS", weight, x[i], sums[i][at])
		}
	}
}

func (p *planesKernel) weight(i int) v {
	if i < len(p.held) {
		return p.held[i]
	}
	return p.broadcast(at(p.weights, 4*i))
}

// evens and odds are every second element of a and b together, for AVX2 the
// middle quarters in each other's place: see finish.
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
	return dst
}

// finish adds the bias to the oldest sums, limits and stores them.
func (p *planesKernel) finish(bias reg.GPVirtual) {
	none := operand.LabelRef(p.label("nobias"))
	p.TESTQ(bias, bias)
	p.JEQ(none)
	add := p.broadcast(at(bias, 0))
	for _, sum := range p.sums {
		p.avo("VADDPS", add, sum[0], sum[0])
	}
	p.Label(string(none))
	least := p.broadcast(at(p.t, int(unsafe.Offsetof(depthPlanes.Lo))))
	for _, sum := range p.sums {
		p.avo("VMAXPS", sum[0], least, sum[0])
	}
	most := p.broadcast(at(p.t, int(unsafe.Offsetof(depthPlanes.Hi))))
	for i, sum := range p.sums {
		p.avo("VMINPS", sum[0], most, sum[0])
		if p.lanes < 16 && p.stride == 2 {
			p.avo("VPERMPD", operand.U8(0xd8), sum[0], sum[0])
		}
		switch {
		case p.lanes == 16:
			p.store(sum[0], at(p.out, 0), &p.stored)
		case p.narrow:
			p.pieces(sum[0].AsX())
		case i == 1:
			p.store(sum[0], indexed(p.out, p.gap, 1, 0), nil)
		default:
			p.store(sum[0], at(p.out, 0), nil)
		}
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
