package main

import (
	"fmt"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

var sparseF32 kernel.SparseF32

// sparse emits the products with sparse weights. The pixels are taken in blocks
// of as many vectors as there are registers for; within a block the rows of X
// that the weights name are multiplied from memory.
func sparse(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		if s.lanes == 8 {
			f.maskTable()
		}
		if s.lanes == 16 {
			m.sparse("sparse_csr_f32", 1, 8)
			m.sparse("sparse_4x1_f32", 4, 6)
		} else {
			m.sparse("sparse_csr_f32", 1, 6)
			m.sparse("sparse_4x1_f32", 4, 3)
		}
		m.end()
	}
}

// sparseKernel holds what the code for all block sizes shares.
type sparseKernel struct {
	*vector
	height         int // rows of C for each entry
	t, pixel, left reg.GPVirtual
	hi             reg.GPVirtual
	row, ldx       reg.GPVirtual
}

func (m *vector) sparse(stem string, height, widest int) {
	name := stem + "_" + m.suffix
	m.begin(name, "t *kernel.SparseF32, lo, hi int", "t *byte, lo, hi int",
		name+" computes the rows, or blocks of rows, from lo to hi of kernel.SparseF32.")
	m.AllocLocal(frame)
	s := &sparseKernel{vector: m, height: height, t: m.GP64(), pixel: m.GP64(), hi: m.GP64(), row: m.GP64()}
	m.MOVQ(param(), s.t)
	m.Load(m.Param("hi"), s.hi)
	s.left = m.field(s.t, unsafe.Offsetof(sparseF32.Pixels))
	s.ldx = m.step(s.t, unsafe.Offsetof(sparseF32.LDX))
	m.XORQ(s.pixel, s.pixel)
	m.Label("block")
	m.TESTQ(s.left, s.left)
	m.JLE(operand.LabelRef("done"))
	if m.lanes == 16 {
		s.blocks(widest)
	} else {
		s.wholeBlocks(widest)
	}
	m.Label("done")
	m.done()
}

// blocks emits the code for blocks of up to widest vectors, of the least number
// that holds what is left, the last of which may be partial.
func (s *sparseKernel) blocks(widest int) {
	for n := widest; n > 0; n-- {
		next := fmt.Sprintf("atmost%d", n-1)
		s.CMPQ(s.left, imm((n-1)*s.lanes))
		s.JLE(operand.LabelRef(next))
		whole := operand.LabelRef(s.label("whole"))
		over := operand.LabelRef(s.label("blockover"))
		s.CMPQ(s.left, imm(n*s.lanes))
		s.JGE(whole)
		t := s.partial(n)
		s.rows(n, &t)
		s.JMP(over)
		s.Label(string(whole))
		s.rows(n, nil)
		s.Label(string(over))
		s.advance(n)
		s.Label(next)
	}
}

// wholeBlocks emits the code for blocks of up to widest vectors that are all
// whole, since masked stores are slow before AVX-512: the last one overlaps what
// is there already. Only of fewer pixels than a vector has is one partial.
func (s *sparseKernel) wholeBlocks(widest int) {
	for n := widest; n > 0; n-- {
		next := fmt.Sprintf("below%d", n)
		s.CMPQ(s.left, imm(n*s.lanes))
		s.JL(operand.LabelRef(next))
		if n == 1 {
			s.Label("single")
		}
		s.rows(n, nil)
		s.advance(n)
		s.Label(next)
	}
	few := operand.LabelRef(s.label("few"))
	s.TESTQ(s.pixel, s.pixel)
	s.JEQ(few)
	s.LEAQ(indexed(s.pixel, s.left, 4, -s.bytes()), s.pixel)
	s.MOVQ(imm(s.lanes), s.left)
	s.JMP(operand.LabelRef("single"))
	s.Label(string(few))
	t := s.partial(1)
	s.rows(1, &t)
}

// partial is the mask of the last of n vectors.
func (s *sparseKernel) partial(n int) tail {
	rest := s.GP64()
	s.MOVQ(s.left, rest)
	s.SUBQ(imm((n-1)*s.lanes), rest)
	return s.tailMask(rest)
}

// advance goes on to the pixels behind n vectors.
func (s *sparseKernel) advance(n int) {
	s.ADDQ(imm(4*n*s.lanes), s.pixel)
	s.SUBQ(imm(n*s.lanes), s.left)
	s.JMP(operand.LabelRef("block"))
}

func (s *sparseKernel) rows(n int, t *tail) {
	loop, over := operand.LabelRef(s.label("row")), operand.LabelRef(s.label("rowover"))
	s.Load(s.Param("lo"), s.row)
	s.Label(string(loop))
	s.CMPQ(s.row, s.hi)
	s.JGE(over)
	accs := s.filled(n*s.height*s.sums(), 0)
	s.entries(accs, n, t)
	for i, rest := range accs[n*s.height:] {
		s.avo("VADDPS", rest, accs[i], accs[i])
	}
	s.finish(accs[:n*s.height], n, t)
	s.INCQ(s.row)
	s.JMP(loop)
	s.Label(string(over))
}

// sums is how many sums there are of each element: before AVX-512 there are no
// registers for so many pixels of single rows that additions need not wait for
// each other, so the even and the odd entries are added by themselves.
func (s *sparseKernel) sums() int {
	if s.height == 1 && s.lanes < 16 {
		return 2
	}
	return 1
}

func lastOnly(i, n int, t *tail) *tail {
	if i == n-1 {
		return t
	}
	return nil
}

// entries emits the sum over the entries of the current row.
func (s *sparseKernel) entries(accs []v, n int, t *tail) {
	start := s.field(s.t, unsafe.Offsetof(sparseF32.Start))
	j, end := s.GP64(), s.GP64()
	s.MOVLQSX(indexed(start, s.row, 4, 0), j)
	s.MOVLQSX(indexed(start, s.row, 4, 4), end)
	values, columns := s.field(s.t, unsafe.Offsetof(sparseF32.Values)), s.field(s.t, unsafe.Offsetof(sparseF32.Columns))
	base := s.field(s.t, unsafe.Offsetof(sparseF32.X))
	s.ADDQ(s.pixel, base)
	if s.height == 4 {
		first := s.GP64()
		s.MOVQ(j, first)
		s.SHLQ(operand.U8(4), first)
		s.ADDQ(first, values)
	} else {
		s.LEAQ(indexed(values, j, 4, 0), values)
	}
	s.LEAQ(indexed(columns, j, 4, 0), columns)
	s.SUBQ(j, end)
	for _, count := range []int{sparseUnroll, 1} {
		loop, over := operand.LabelRef(s.label("entry")), operand.LabelRef(s.label("entryover"))
		s.CMPQ(end, imm(count))
		s.JL(over)
		s.Label(string(loop))
		for i := range count {
			x := s.GP64()
			s.MOVLQSX(at(columns, 4*i), x)
			s.IMULQ(s.ldx, x)
			sums := accs[i%s.sums()*n*s.height:]
			s.multiply(sums, n, at(values, 4*s.height*i), func(v int) operand.Mem { return indexed(base, x, 1, v*s.bytes()) }, t)
		}
		s.ADDQ(imm(4*count), columns)
		s.ADDQ(imm(4*s.height*count), values)
		s.SUBQ(imm(count), end)
		s.CMPQ(end, imm(count))
		s.JGE(loop)
		s.Label(string(over))
	}
}

// sparseUnroll is how many entries a round of the loop over them takes, an even
// number.
const sparseUnroll = 4

// multiply adds the products of an entry, or of a block, at value with the
// vectors of pixels at x.
func (s *sparseKernel) multiply(accs []v, n int, value operand.Mem, x func(v int) operand.Mem, t *tail) {
	if s.height == 1 {
		factor := s.broadcast(value)
		for i := range n {
			if mask := lastOnly(i, n, t); mask != nil {
				s.avo("VFMADD231PS", s.load(x(i), mask), factor, accs[i])
				continue
			}
			s.avo("VFMADD231PS", x(i), factor, accs[i])
		}
		return
	}
	pixels := make([]v, n)
	for i := range n {
		pixels[i] = s.load(x(i), lastOnly(i, n, t))
	}
	for r := range s.height {
		factor := s.broadcast(value.Offset(4 * r))
		for i := range n {
			s.avo("VFMADD231PS", pixels[i], factor, accs[r*n+i])
		}
	}
}

// finish adds the bias, limits and stores the sums of the current row or block.
func (s *sparseKernel) finish(accs []v, n int, t *tail) {
	row := s.GP64()
	s.MOVQ(s.row, row)
	if s.height == 4 {
		s.SHLQ(operand.U8(2), row)
	}
	s.unlessNil(s.t, unsafe.Offsetof(sparseF32.Bias), func(p reg.GPVirtual) {
		for r := range s.height {
			b := s.broadcast(indexed(p, row, 4, 4*r))
			for i := range n {
				s.avo("VADDPS", b, accs[r*n+i], accs[r*n+i])
			}
		}
	})
	out, ldo := s.field(s.t, unsafe.Offsetof(sparseF32.Out)), s.step(s.t, unsafe.Offsetof(sparseF32.LDO))
	s.IMULQ(ldo, row)
	s.ADDQ(row, out)
	s.ADDQ(s.pixel, out)
	least := s.broadcast(at(s.t, int(unsafe.Offsetof(sparseF32.Lo))))
	most := s.broadcast(at(s.t, int(unsafe.Offsetof(sparseF32.Hi))))
	for r := range s.height {
		for i := range n {
			acc := accs[r*n+i]
			s.avo("VMAXPS", acc, least, acc)
			s.avo("VMINPS", acc, most, acc)
			s.store(acc, at(out, i*s.bytes()), lastOnly(i, n, t))
		}
		s.ADDQ(ldo, out)
	}
}
