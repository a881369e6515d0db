package main

import (
	"fmt"
	"math"
	"reflect"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vector emits arithmetic on whole vectors of one file, without saying their
// width. Its constants are collected and laid down at the end of the file.
type vector struct {
	*file
	isa
	suffix    string // of symbols: avx2 or avx512
	constants []uint32
	labels    int
}

// v is a vector of float32 or of 32-bit integers.
type v = reg.VecVirtual

func newVector(f *file, s isa) *vector {
	suffix := "avx2"
	if s.lanes == 16 {
		suffix = "avx512"
	}
	return &vector{file: f, isa: s, suffix: suffix}
}

func (m *vector) fresh() v {
	if m.lanes == 16 {
		return m.ZMM()
	}
	return m.YMM()
}

// label makes a label that is new in the file.
func (m *vector) label(what string) string {
	m.labels++
	return fmt.Sprintf("%s%d", what, m.labels)
}

func (m *vector) table() string { return "constants_" + m.suffix }

// word is the memory operand of a constant, repeated for a whole vector where
// the instruction set cannot broadcast operands.
func (m *vector) word(bits uint32) operand.Mem {
	at := len(m.constants)
	for i, c := range m.constants {
		if c == bits {
			at = i
		}
	}
	if at == len(m.constants) {
		m.constants = append(m.constants, bits)
	}
	return operand.NewDataAddr(operand.NewStaticSymbol(m.table()), at*m.constantSize())
}

func (m *vector) constantSize() int {
	if m.lanes == 16 {
		return 4
	}
	return 32
}

// end lays down the constants of the file.
func (m *vector) end() {
	m.StaticGlobal(m.table())
	m.DataAttributes(attr.RODATA | attr.NOPTR)
	offset := 0
	for _, c := range m.constants {
		for range m.constantSize() / 4 {
			m.AddDatum(offset, operand.U32(c))
			offset += 4
		}
	}
}

func (m *vector) float(c float64) operand.Mem { return m.word(math.Float32bits(float32(c))) }

// op2 is an instruction of two sources; k is the same with a constant from
// memory as the source that the instruction names first.
func (m *vector) op2(opcode string, b, a v) v {
	dst := m.fresh()
	m.avo(opcode, b, a, dst)
	return dst
}

func (m *vector) k(opcode string, c operand.Mem, a v) v {
	dst := m.fresh()
	if m.lanes == 16 {
		opcode += "_BCST"
	}
	m.avo(opcode, c, a, dst)
	return dst
}

// wide chooses the spelling of bitwise operations, which have a lane size
// at 512 bits.
func (m *vector) wide(opcode string) string {
	if m.lanes == 16 {
		return opcode + "D"
	}
	return opcode
}

func (m *vector) add(a, b v) v               { return m.op2("VADDPS", b, a) }
func (m *vector) sub(a, b v) v               { return m.op2("VSUBPS", b, a) }
func (m *vector) mul(a, b v) v               { return m.op2("VMULPS", b, a) }
func (m *vector) div(a, b v) v               { return m.op2("VDIVPS", b, a) }
func (m *vector) addK(a v, c float64) v      { return m.k("VADDPS", m.float(c), a) }
func (m *vector) mulK(a v, c float64) v      { return m.k("VMULPS", m.float(c), a) }
func (m *vector) andK(a v, bits uint32) v    { return m.k(m.wide("VPAND"), m.word(bits), a) }
func (m *vector) xor(a, b v) v               { return m.op2(m.wide("VPXOR"), b, a) }
func (m *vector) or(a, b v) v                { return m.op2(m.wide("VPOR"), b, a) }
func (m *vector) abs(a v) v                  { return m.andK(a, 0x7fffffff) }
func (m *vector) sign(a v) v                 { return m.andK(a, 0x80000000) }
func (m *vector) addInt(a, b v) v            { return m.op2("VPADDD", b, a) }
func (m *vector) subInt(a, b v) v            { return m.op2("VPSUBD", b, a) }
func (m *vector) addIntK(a v, c uint32) v    { return m.k("VPADDD", m.word(c), a) }
func (m *vector) shiftLeft(a v, n uint8) v   { return m.shift("VPSLLD", a, n) }
func (m *vector) shiftRight(a v, n uint8) v  { return m.shift("VPSRLD", a, n) }
func (m *vector) shiftSigned(a v, n uint8) v { return m.shift("VPSRAD", a, n) }

func (m *vector) shift(opcode string, a v, n uint8) v {
	dst := m.fresh()
	m.avo(opcode, operand.U8(n), a, dst)
	return dst
}

// maxOf and minOf give b where either is NaN.
func (m *vector) maxOf(a, b v) v { return m.op2("VMAXPS", b, a) }
func (m *vector) minOf(a, b v) v { return m.op2("VMINPS", b, a) }

// atMost and atLeast limit a by a constant and keep NaN.
func (m *vector) atMost(a v, c float64) v  { return m.minOf(m.constant(c), a) }
func (m *vector) atLeast(a v, c float64) v { return m.maxOf(m.constant(c), a) }

func (m *vector) constant(c float64) v { return m.broadcast(m.float(c)) }

func (m *vector) broadcast(from operand.Op) v {
	dst := m.fresh()
	m.avo("VBROADCASTSS", from, dst)
	return dst
}

// fma is a*b + c; fmaK has a constant c.
func (m *vector) fma(a, b, c v) v {
	dst := m.copy(c)
	m.avo("VFMADD231PS", b, a, dst)
	return dst
}

func (m *vector) fmaK(a, b v, c float64) v {
	dst := m.copy(a)
	m.hornerStep(dst, b, c)
	return dst
}

// hornerStep is p = p*x + c.
func (m *vector) hornerStep(p, x v, c float64) {
	opcode := "VFMADD213PS"
	if m.lanes == 16 {
		opcode += "_BCST"
	}
	m.avo(opcode, m.float(c), x, p)
}

// fmaMulK is a*k + c for a constant k.
func (m *vector) fmaMulK(a v, k float64, c v) v {
	dst := m.copy(c)
	opcode := "VFMADD231PS"
	if m.lanes == 16 {
		opcode += "_BCST"
	}
	m.avo(opcode, m.float(k), a, dst)
	return dst
}

func (m *vector) copy(a v) v {
	dst := m.fresh()
	m.avo("VMOVAPS", a, dst)
	return dst
}

// polynomial is c[0] + c[1]*x + ... by Horner's rule.
func (m *vector) polynomial(x v, c []float64) v {
	p := m.constant(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		m.hornerStep(p, x, c[i])
	}
	return p
}

// Predicates of VCMPPS.
const (
	less      = 0x11 // ordered, quiet
	unordered = 0x03
)

// choose is yes where a compares to b by the predicate, no elsewhere.
func (m *vector) choose(predicate uint8, a, b, yes, no v) v {
	dst := m.copy(no)
	if m.lanes == 16 {
		mask := m.K()
		m.avo("VCMPPS", operand.U8(predicate), b, a, mask)
		m.avo("VMOVAPS", yes, mask, dst)
		return dst
	}
	mask := m.fresh()
	m.avo("VCMPPS", operand.U8(predicate), b, a, mask)
	out := m.fresh()
	m.avo("VBLENDVPS", mask, yes, dst, out)
	return out
}

// round is the nearest integer, half to even, as a float32.
func (m *vector) round(a v) v {
	dst := m.fresh()
	if m.lanes == 16 {
		m.avo("VRNDSCALEPS", operand.U8(8), a, dst)
	} else {
		m.avo("VROUNDPS", operand.U8(8), a, dst)
	}
	return dst
}

// op1 is an instruction of one source.
func (m *vector) op1(opcode string, a operand.Op) v {
	dst := m.fresh()
	m.avo(opcode, a, dst)
	return dst
}

// tail holds the mask of the last, partial vector of a row.
type tail struct {
	opmask reg.Register
	vector reg.Register
}

// tailMask makes a mask of the low n lanes, n below the number of lanes.
func (m *vector) tailMask(n reg.GPVirtual) tail {
	if m.lanes == 16 {
		ones, mask := m.GP32(), m.K()
		m.MOVL(imm(-1), ones)
		m.BZHIL(n.As32(), ones, ones)
		m.KMOVW(ones, mask)
		return tail{opmask: mask}
	}
	table, back, mask := m.GP64(), m.GP64(), m.fresh()
	m.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("maskTable"), 0), table)
	m.MOVQ(n, back)
	m.NEGQ(back)
	m.VMOVDQU(indexed(table, back, 4, 64), mask)
	return tail{vector: mask}
}

// load and store move a vector, or its masked part.
func (m *vector) load(from operand.Mem, t *tail) v {
	dst := m.fresh()
	switch {
	case t == nil:
		m.avo("VMOVUPS", from, dst)
	case m.lanes == 16:
		m.avo("VMOVUPS_Z", from, t.opmask, dst)
	default:
		m.avo("VMASKMOVPS", from, t.vector, dst)
	}
	return dst
}

func (m *vector) store(src v, to operand.Mem, t *tail) {
	switch {
	case t == nil:
		m.avo("VMOVUPS", src, to)
	case m.lanes == 16:
		m.avo("VMOVUPS", src, t.opmask, to)
	default:
		m.avo("VMASKMOVPS", src, t.vector, to)
	}
}

// row emits a loop over the elements of a row: blocks of unroll vectors, then
// single vectors, then the masked rest. emit gets the offset in bytes of each
// vector from the cursors, which advance by one element's bytes each.
func (m *vector) row(n reg.GPVirtual, unroll int, cursors []cursor, emit func(vectors int, t *tail)) {
	if unroll > 1 {
		m.whole(n, unroll, cursors, emit)
	}
	m.whole(n, 1, cursors, emit)
	over := m.label("over")
	m.TESTQ(n, n)
	m.JEQ(operand.LabelRef(over))
	t := m.tailMask(n)
	emit(1, &t)
	m.Label(over)
}

// interleave emits the same straight code for n vectors, instruction by
// instruction where there are registers enough: each waits for the one before it
// on the same vector, and a CPU holds but so many that wait.
func (m *vector) interleave(n int, emit func(i int)) {
	f := m.function()
	start := len(f.Nodes)
	for i := range n {
		emit(i)
	}
	if m.lanes < 16 {
		return
	}
	all := f.Nodes[start:]
	each := len(all) / n
	mixed := make([]ir.Node, 0, len(all))
	for k := range each {
		for i := range n {
			mixed = append(mixed, all[i*each+k])
		}
	}
	copy(all, mixed)
}

// function is the function under construction.
func (m *vector) function() *ir.Function {
	file, err := m.Result()
	if err != nil {
		panic(err)
	}
	functions := file.Functions()
	return functions[len(functions)-1]
}

// cursor is an address that advances along a row of elements of some size.
type cursor struct {
	reg.GPVirtual
	size int
}

func (m *vector) whole(n reg.GPVirtual, vectors int, cursors []cursor, emit func(vectors int, t *tail)) {
	loop, over := m.label("loop"), m.label("next")
	step := vectors * m.lanes
	m.Label(loop)
	m.CMPQ(n, imm(step))
	m.JL(operand.LabelRef(over))
	emit(vectors, nil)
	for _, c := range cursors {
		m.ADDQ(imm(step*c.size), c.GPVirtual)
	}
	m.SUBQ(imm(step), n)
	m.JMP(operand.LabelRef(loop))
	m.Label(over)
}

// slice loads the address of a slice argument.
func (m *vector) slice(name string, size int) cursor {
	c := cursor{m.GP64(), size}
	m.Load(m.Param(name).Base(), c.GPVirtual)
	return c
}

func (m *vector) length(name string) reg.GPVirtual {
	n := m.GP64()
	m.Load(m.Param(name).Len(), n)
	return n
}

// scalar broadcasts a float32 argument.
func (m *vector) scalar(name string) v {
	component, err := m.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return m.broadcast(component.Addr)
}

// kernel opens the function stem_suffix.
func (m *vector) kernel(stem, params, doc string) {
	name := stem + "_" + m.suffix
	m.begin(name, params, params, name+" is "+doc)
	m.AllocLocal(frame)
}

func (m *vector) done() {
	m.VZEROUPPER()
	m.RET()
}

// avo calls the method of the builder named by the opcode.
func (m *vector) avo(opcode string, operands ...operand.Op) {
	method := reflect.ValueOf(m.Context).MethodByName(opcode)
	arguments := make([]reflect.Value, len(operands))
	for i, o := range operands {
		arguments[i] = reflect.ValueOf(o)
	}
	method.Call(arguments)
}
