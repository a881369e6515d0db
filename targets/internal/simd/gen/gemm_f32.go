package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

var tileF32 kernel.TileF32

var fieldsF32 = fields{
	a:           int(unsafe.Offsetof(tileF32.A)),
	b:           int(unsafe.Offsetof(tileF32.B)),
	taps:        int(unsafe.Offsetof(tileF32.Taps)),
	tapsLen:     int(unsafe.Offsetof(tileF32.Taps)) + 8,
	arow:        int(unsafe.Offsetof(tileF32.ARow)),
	crow:        int(unsafe.Offsetof(tileF32.CRow)),
	m:           int(unsafe.Offsetof(tileF32.M)),
	n:           int(unsafe.Offsetof(tileF32.N)),
	k:           int(unsafe.Offsetof(tileF32.K)),
	panelStride: int(unsafe.Offsetof(tileF32.PanelStride)),
	bias:        int(unsafe.Offsetof(tileF32.Bias)),
	lo:          int(unsafe.Offsetof(tileF32.Lo)),
	hi:          int(unsafe.Offsetof(tileF32.Hi)),
}

const docGemmF32 = "is the product of kernel.TileF32:\nC[i,j] = clamp(sum over t, k of A[i,t,k]*B[t,k,j] + Bias[j] + Res[i,j])."

func gemmF32AVX2(f *file) {
	f.maskTable()
	gemmF32(f, avx2, "gemm_f32_6x16_avx2", 6)
	rowF32(f, avx2)
}

func gemmF32AVX512(f *file) {
	gemmF32(f, avx512, "gemm_f32_12x32_avx512", 12)
	rowF32(f, avx512)
}

func gemmF32(f *file, s isa, name string, mr int) {
	f.begin(name, "t *kernel.TileF32", "t *byte", name+" "+docGemmF32)
	const nv = 2
	g := &gemm{
		file: f, isa: s, mr: mr, nv: nv, size: 4, group: 1,
		step: nv * s.bytes(), unroll: 4, fields: fieldsF32, many: true,
		start: startF32, mac: macF32, finish: finishF32,
	}
	g.emit()
}

// startF32 sets the sums to zero. Where C is far, it asks for the part of C that
// they will be stored to, which arrives while they are computed.
func startF32(t *tile) {
	zeroAccumulators(t)
	near := t.label + "near"
	t.MOVQ(param(), index)
	t.CMPB(at(index, int(unsafe.Offsetof(tileF32.Far))), operand.U8(0))
	t.JEQ(operand.LabelRef(near))
	t.columnAt(int(unsafe.Offsetof(tileF32.C)), 4, reg.R8, "")
	t.eachRow(reg.R8, 4, t.fields.crow, func(_ int, address reg.GPPhysical) {
		for offset := 0; offset < t.vecs*t.bytes(); offset += line {
			t.PREFETCHT0(at(address, offset))
		}
	})
	t.Label(near)
}

func zeroAccumulators(t *tile) {
	t.eachAcc(func(_, _ int, acc reg.VecPhysical) {
		if t.lanes == 16 {
			t.VPXORD(acc, acc, acc)
		} else {
			t.VXORPS(acc, acc, acc)
		}
	})
}

// macF32 broadcasts one element of each row and multiplies it by one row of
// the panel.
func macF32(t *tile, ahead int) {
	for v := range t.vecs {
		t.VMOVUPS(at(bReg, ahead*t.step+v*t.bytes()), t.vec(v))
	}
	for row := range t.rows {
		a := indexed(rowRegs[row], index, 1, 4*ahead)
		if t.vecs == 1 && t.lanes == 16 {
			t.VFMADD231PS_BCST(a, t.vec(0), t.acc(row, 0))
			continue
		}
		broadcast := t.vec(2 + row%2)
		t.VBROADCASTSS(a, broadcast)
		for v := range t.vecs {
			t.VFMADD231PS(broadcast, t.vec(v), t.acc(row, v))
		}
	}
}

func finishF32(t *tile) {
	c := reg.R8
	t.columnAt(int(unsafe.Offsetof(tileF32.C)), 4, c, "")
	t.CMPB(at(index, int(unsafe.Offsetof(tileF32.Accumulate))), operand.U8(0))
	t.JEQ(operand.LabelRef(t.label + "fresh"))
	t.addRows(c, t.fields.crow)
	t.Label(t.label + "fresh")

	t.addColumns(t.fields.bias, func(bias, acc reg.VecPhysical) { t.VADDPS(bias, acc, acc) })

	t.columnAt(int(unsafe.Offsetof(tileF32.Res)), 4, reg.RAX, t.label+"nores")
	t.addRows(reg.RAX, int(unsafe.Offsetof(tileF32.RRow)))
	t.Label(t.label + "nores")

	t.clamp()
	t.storeRows(c)
}

// addRows adds a matrix in memory to the accumulators.
func (t *tile) addRows(base reg.GPPhysical, rows int) {
	t.eachRow(base, 4, rows, func(row int, address reg.GPPhysical) {
		for v := range t.vecs {
			t.load(at(address, v*t.bytes()), v, t.vec(temp0))
			t.VADDPS(t.vec(temp0), t.acc(row, v), t.acc(row, v))
		}
	})
}
