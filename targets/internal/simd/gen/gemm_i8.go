package main

import (
	"fmt"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

var tileI8 kernel.TileI8

var fieldsI8 = fields{
	a:           int(unsafe.Offsetof(tileI8.A)),
	b:           int(unsafe.Offsetof(tileI8.B)),
	taps:        int(unsafe.Offsetof(tileI8.Taps)),
	tapsLen:     int(unsafe.Offsetof(tileI8.Taps)) + 8,
	arow:        int(unsafe.Offsetof(tileI8.ARow)),
	crow:        int(unsafe.Offsetof(tileI8.CRow)),
	m:           int(unsafe.Offsetof(tileI8.M)),
	n:           int(unsafe.Offsetof(tileI8.N)),
	k:           int(unsafe.Offsetof(tileI8.K)),
	panelStride: int(unsafe.Offsetof(tileI8.PanelStride)),
	extra:       int(unsafe.Offsetof(tileI8.Extra)),
	bias:        int(unsafe.Offsetof(tileI8.Bias)),
	lo:          int(unsafe.Offsetof(tileI8.Lo)),
	hi:          int(unsafe.Offsetof(tileI8.Hi)),
}

const docGemmI8 = "is the product of kernel.TileI8:\nthe sum over t, k of A[i,t,k]*B[t,k,j], finished as Out says"

// dot is an instruction sequence for the products of four bytes of A with a
// panel: the registers below the accumulators are its own.
type dot struct {
	layout kernel.LayoutI8
	// flip is set where signed A is made unsigned by adding 128, which start
	// takes back by way of the sums of the columns.
	flip bool
	// constants loads what multiply needs.
	constants func(t *tile)
	// multiply multiplies the four bytes in every lane of vector register
	// operandA by the panel, steps ahead of the cursor, for one row.
	multiply func(t *tile, row, ahead int)
	// panel loads what all rows share.
	panel func(t *tile, ahead int)
}

// Registers of a dot product.
const (
	panelReg = 0 // and 1
	operandA = 2
	constant = 3
)

func gemmI8AVX2(f *file) {
	f.maskTable()
	gemmI8(f, avx2, "gemm_u8s8_6x16_avx2", 6, pairs16(false))
	gemmI8(f, avx2, "gemm_s8s8_6x16_avx2", 6, pairs16(true))
	gemmI8(f, avx2, "gemm_u8s8fit_6x16_avx2", 6, saturating(false))
	gemmI8(f, avx2, "gemm_s8s8fit_6x16_avx2", 6, saturating(true))
}

func gemmI8AVX512(f *file) {
	gemmI8(f, avx512, "gemm_u8s8_12x32_avx512", 12, pairs16(false))
	gemmI8(f, avx512, "gemm_s8s8_12x32_avx512", 12, pairs16(true))
	gemmI8(f, avx512, "gemm_u8s8fit_12x32_avx512", 12, saturating(false))
	gemmI8(f, avx512, "gemm_s8s8fit_12x32_avx512", 12, saturating(true))
}

func gemmI8AVXVNNI(f *file) {
	f.maskTable()
	gemmI8(f, avx2, "gemm_u8s8_6x16_avxvnni", 6, dotProduct(false, vexVPDPBUSD))
	gemmI8(f, avx2, "gemm_s8s8_6x16_avxvnni", 6, dotProduct(true, vexVPDPBUSD))
}

func gemmI8VNNI(f *file) {
	evex := func(t *tile, b, a, acc reg.VecPhysical) { t.VPDPBUSD(b, a, acc) }
	gemmI8(f, avx512, "gemm_u8s8_12x32_vnni", 12, dotProduct(false, evex))
	gemmI8(f, avx512, "gemm_s8s8_12x32_vnni", 12, dotProduct(true, evex))
}

func gemmI8(f *file, s isa, name string, mr int, d dot) {
	f.begin(name, "t *kernel.TileI8", "t *byte", name+" "+docGemmI8)
	const nv = 2
	nr := nv * s.lanes
	step, unroll := 4*nr, 1
	if d.layout == kernel.Pair16 {
		step *= 2
	}
	if d.panel != nil {
		unroll = 2
	}
	g := &gemm{
		file: f, isa: s, mr: mr, nv: nv, size: 1, group: 4,
		header: 4 * nr, step: step, unroll: unroll, fields: fieldsI8,
		start: func(t *tile) { d.start(t) },
		mac: func(t *tile, ahead int) {
			d.rows(t, ahead, func(row int) {
				t.VPBROADCASTD(indexed(rowRegs[row], index, 1, 4*ahead), t.vec(operandA))
			})
		},
		partial: func(t *tile) {
			t.maskBytes()
			d.rows(t, 0, t.broadcastBytes)
		},
		finish: finishI8,
	}
	g.emit()
}

func (d dot) rows(t *tile, ahead int, broadcast func(row int)) {
	if d.panel != nil {
		d.panel(t, ahead)
	}
	t.each(2, func(row int) {
		broadcast(row)
		d.multiply(t, row, ahead)
	})
}

// maskBytes makes the mask of the bytes left, for the instruction set that has
// one, in K3. No general register is free but the cursor in B, which is saved.
func (t *tile) maskBytes() {
	if t.lanes < 16 {
		return
	}
	t.MOVQ(bReg, t.cursor)
	t.NEGQ(index)
	t.MOVQ(imm(-1), bReg)
	t.BZHIQ(index, bReg, bReg)
	t.KMOVW(bReg.As32(), reg.K3)
	t.NEGQ(index)
	t.MOVQ(t.cursor, bReg)
}

// broadcastBytes is VPBROADCASTD of the one to three bytes left, zeros after
// them.
func (t *tile) broadcastBytes(row int) {
	a, from := t.vec(operandA), func(i int) operand.Mem { return indexed(rowRegs[row], index, 1, i) }
	x := a.AsX()
	if t.lanes == 16 {
		t.VMOVDQU8_Z(from(0), reg.K3, x)
		t.VPBROADCASTD(x, a)
		return
	}
	one, two, over := t.unique("one"), t.unique("two"), t.unique("filled")
	t.VPXOR(x, x, x)
	t.CMPQ(index, imm(-2))
	t.JG(operand.LabelRef(one))
	t.JEQ(operand.LabelRef(two))
	t.VPINSRB(operand.U8(2), from(2), x, x)
	t.Label(two)
	t.VPINSRW(operand.U8(0), from(0), x, x)
	t.JMP(operand.LabelRef(over))
	t.Label(one)
	t.VPINSRB(operand.U8(0), from(0), x, x)
	t.Label(over)
	t.VPBROADCASTD(x, a)
}

func (d dot) start(t *tile) {
	if d.constants != nil {
		defer d.constants(t)
	}
	if !d.flip {
		zeroAccumulators(t)
		return
	}
	for v := range t.vecs {
		sum := t.vec(temp0 + v)
		zero := t.acc(0, v)
		t.VMOVUPS(at(bReg, v*t.bytes()), sum)
		t.VPSLLD(operand.U8(7), sum, sum)
		t.xor(zero, zero, zero)
		t.VPSUBD(sum, zero, sum)
	}
	t.eachAcc(func(_, v int, acc reg.VecPhysical) { t.VMOVAPS(t.vec(temp0+v), acc) })
}

// xor and and are bitwise operations at either width.
func (t *tile) xor(a, b, dst operand.Op) {
	if t.lanes == 16 {
		t.VPXORD(a, b, dst)
	} else {
		t.VPXOR(a, b, dst)
	}
}

func (t *tile) and(a, b, dst operand.Op) {
	if t.lanes == 16 {
		t.VPANDD(a, b, dst)
	} else {
		t.VPAND(a, b, dst)
	}
}

// word fills a vector register with a 32-bit constant.
func (t *tile) word(value int32, dst int) {
	t.MOVL(operand.I32(value), reg.EAX)
	t.VMOVD(reg.EAX, t.xmm(dst))
	t.VPBROADCASTD(t.xmm(dst), t.vec(dst))
}

// dotProduct uses VPDPBUSD, which adds four products of unsigned by signed
// bytes to an int32 without saturation.
func dotProduct(signed bool, vpdpbusd func(t *tile, b, a, acc reg.VecPhysical)) dot {
	d := dot{layout: kernel.Quad, flip: signed}
	if signed {
		d.constants = func(t *tile) { t.word(-0x7f7f7f80, constant) }
	}
	d.panel = func(t *tile, ahead int) {
		for v := range t.vecs {
			t.VMOVUPS(at(bReg, ahead*t.step+v*t.bytes()), t.vec(panelReg+v))
		}
	}
	d.multiply = func(t *tile, row, _ int) {
		a := t.vec(operandA)
		if signed {
			t.xor(a, t.vec(constant), a)
		}
		for v := range t.vecs {
			vpdpbusd(t, t.vec(panelReg+v), a, t.acc(row, v))
		}
	}
	return d
}

// vexVPDPBUSD encodes VEX.256.66.0F38.W0 50 /r, which Go's assembler lacks.
func vexVPDPBUSD(t *tile, b, a, acc reg.VecPhysical) {
	r, v, m := uint8(acc.PhysicalIndex()&15), uint8(a.PhysicalIndex()&15), uint8(b.PhysicalIndex()&15)
	for _, code := range []uint8{
		0xc4,
		^(r>>3)&1<<7 | 1<<6 | ^(m>>3)&1<<5 | 2,
		^v&15<<3 | 1<<2 | 1,
		0x50,
		3<<6 | r&7<<3 | m&7,
	} {
		t.raw("BYTE", operand.U8(code))
	}
}

// pairs16 widens the bytes of A to int16 by masking and shifting, and adds
// pairs of products with VPMADDWD, exactly.
func pairs16(signed bool) dot {
	d := dot{layout: kernel.Pair16}
	if !signed {
		d.constants = func(t *tile) { t.word(0x00ff00ff, constant) }
	}
	d.multiply = func(t *tile, row, ahead int) {
		a, half, product := t.vec(operandA), t.vec(0), t.vec(1)
		for odd := range 2 {
			switch {
			case odd == 0 && !signed:
				t.and(t.vec(constant), a, half)
			case odd == 0:
				t.VPSLLW(operand.U8(8), a, half)
				t.VPSRAW(operand.U8(8), half, half)
			case signed:
				t.VPSRAW(operand.U8(8), a, half)
			default:
				t.VPSRLW(operand.U8(8), a, half)
			}
			for v := range t.vecs {
				t.VPMADDWD(at(bReg, ahead*t.step+odd*t.step/2+v*t.bytes()), half, product)
				t.VPADDD(product, t.acc(row, v), t.acc(row, v))
			}
		}
	}
	return d
}

// saturating adds pairs of products with VPMADDUBSW, in 16 bits.
func saturating(signed bool) dot {
	d := dot{layout: kernel.Quad, flip: signed}
	d.constants = func(t *tile) {
		t.word(0x00010001, constant)
		if signed {
			t.word(-0x7f7f7f80, 0)
		}
	}
	d.multiply = func(t *tile, row, ahead int) {
		a, product := t.vec(operandA), t.vec(1)
		if signed {
			t.xor(a, t.vec(0), a)
		}
		for v := range t.vecs {
			t.VPMADDUBSW(at(bReg, ahead*t.step+v*t.bytes()), a, product)
			t.VPMADDWD(t.vec(constant), product, product)
			t.VPADDD(product, t.acc(row, v), t.acc(row, v))
		}
	}
	return d
}

func finishI8(t *tile) {
	out := at(index, int(unsafe.Offsetof(tileI8.Out)))
	t.addColumns(t.fields.bias, func(bias, acc reg.VecPhysical) { t.VPADDD(bias, acc, acc) })
	t.CMPB(out, operand.U8(uint8(kernel.OutS32)))
	t.JNE(operand.LabelRef(t.label + "scale"))
	t.columnAt(int(unsafe.Offsetof(tileI8.C32)), 4, reg.R8, "")
	t.storeRows(reg.R8)
	t.JMP(operand.LabelRef(t.label + "stored"))

	t.Label(t.label + "scale")
	t.addColumns(int(unsafe.Offsetof(tileI8.Scale)), func(scale, acc reg.VecPhysical) {
		t.VCVTDQ2PS(acc, acc)
		t.VMULPS(scale, acc, acc)
	})
	t.CMPB(out, operand.U8(uint8(kernel.OutQ8)))
	t.JEQ(operand.LabelRef(t.label + "quantize"))
	t.addColumns(int(unsafe.Offsetof(tileI8.Add)), func(add, acc reg.VecPhysical) { t.VADDPS(add, acc, acc) })
	t.clamp()
	t.columnAt(int(unsafe.Offsetof(tileI8.CF)), 4, reg.R8, "")
	t.storeRows(reg.R8)
	t.JMP(operand.LabelRef(t.label + "stored"))

	t.Label(t.label + "quantize")
	t.clamp()
	zero := t.vec(temp0)
	t.VPBROADCASTD(at(index, int(unsafe.Offsetof(tileI8.Zero))), zero)
	t.eachAcc(func(_, _ int, acc reg.VecPhysical) {
		t.VCVTPS2DQ(acc, acc)
		t.VPADDD(zero, acc, acc)
	})
	t.columnAt(int(unsafe.Offsetof(tileI8.C8)), 1, reg.R8, "")
	if t.lanes == 8 {
		t.word(0xff, mask0)
	}
	t.eachRow(reg.R8, 1, t.fields.crow, t.storeBytes)
	t.Label(t.label + "stored")
}

// storeBytes writes the low bytes of one row of accumulators.
func (t *tile) storeBytes(row int, address reg.GPPhysical) {
	if t.lanes == 16 {
		for v := range t.vecs {
			t.VPMOVDB(t.acc(row, v), t.opmask(v), at(address, v*t.lanes))
		}
		return
	}
	first, last, low := t.acc(row, 0), t.acc(row, t.vecs-1), t.vec(mask0)
	t.VPAND(low, first, first)
	if t.vecs > 1 {
		t.VPAND(low, last, last)
	}
	t.VPACKUSDW(last, first, first)
	t.VPERMQ(operand.U8(0xd8), first, first)
	t.VPACKUSWB(first, first, first)
	t.VPERMQ(operand.U8(0xd8), first, first)
	x := first.AsX()
	if !t.masked {
		t.VMOVDQU(x, at(address, 0))
		return
	}
	t.storeSome(x, address)
}

// storeSome writes the first bytes of x, as many as there are columns left of
// at most 15, or all 16.
func (t *tile) storeSome(x reg.Register, address reg.GPPhysical) {
	stem := t.unique("store")
	label := func(n int) operand.LabelRef { return operand.LabelRef(fmt.Sprintf("%sx%d", stem, n)) }
	t.CMPQ(t.remaining, imm(16))
	t.JL(label(16))
	t.VMOVDQU(x, at(address, 0))
	t.JMP(label(0))
	t.Label(string(label(16)))
	for n := 8; n > 0; n /= 2 {
		t.TESTB(operand.U8(uint8(n)), t.remaining)
		t.JEQ(label(n))
		switch n {
		case 8:
			t.VMOVQ(x, at(address, 0))
		case 4:
			t.VMOVD(x, at(address, 0))
		case 2:
			t.VPEXTRW(operand.U8(0), x, at(address, 0))
		case 1:
			t.VPEXTRB(operand.U8(0), x, at(address, 0))
		}
		t.VPSRLDQ(operand.U8(uint8(n)), x, x)
		t.ADDQ(imm(n), address)
		t.Label(string(label(n)))
	}
	t.Label(string(label(0)))
}
