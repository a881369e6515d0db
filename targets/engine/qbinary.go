package engine

import (
	"sync"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// qbinary combines two images element by element into an 8-bit one; an axis of
// size 1 is repeated:
//
//	y = Quantize(act(op(Dequantize(a), Dequantize(b))))
//
// One of the operands may be float32.
type qbinary struct {
	op     *binaryOp
	a, b   qoperand
	act    activation
	result quantized
	out    halo
}

// qoperand is an image of 8-bit numbers, or of float32 if typ is Undefined.
type qoperand struct {
	quantized
	halo
}

func (m *qbinary) name() string { return "Q" + m.op.name }

// quantBinary returns the operator between 8-bit images that n is part of, its
// operands and the nodes that it stands for, or nil.
func (l *layout) quantBinary(n *graph.Node, axes int) (imageMachine, []*graph.Value, []*graph.Node) {
	op := binaryOf(n)
	if op == nil {
		return nil, nil, nil
	}
	m := &qbinary{op: op}
	var ins [2]*graph.Value
	found := false
	for i, to := range []*qoperand{&m.a, &m.b} {
		if q, ok := l.dequantized(n.In(i)); ok && l.bytes[q.value] && l.axes[q.value] == axes {
			to.quantized, ins[i], found = q, q.value, true
		} else if ins[i] = n.In(i); !l.imageable(ins[i], axes) {
			return nil, nil, nil
		}
	}
	act, result, nodes := l.epilogue(n)
	if !found || result.typ == tensor.Undefined {
		return nil, nil, nil
	}
	m.act, m.result = act, result
	return m, ins[:], nodes
}

// binaryOf returns the arithmetic operator that n is, nil if it is none.
func binaryOf(n *graph.Node) *binaryOp {
	if n.Domain != "" || n.Opset() < 7 {
		return nil
	}
	for _, b := range binaryOps {
		if n.Op == b.name {
			return b
		}
	}
	return nil
}

func (m *qbinary) eval(e *op.Eval) error {
	a, err := m.a.open(e, 0)
	if err != nil {
		return err
	}
	b, err := m.b.open(e, 1)
	if err != nil {
		return err
	}
	shape, err := tensor.Broadcast(tensor.Shape{a.n, a.c, a.h, a.w}, tensor.Shape{b.n, b.c, b.h, b.w})
	if err != nil {
		return err
	}
	y, t := newImage(e, m.result.typ, shape[0], shape[2], shape[3], shape[1], m.out, uint8(m.result.zero))
	vector := m.op.vector(e.Kernels)
	rows(e, &y, func(n, lo, hi int) {
		s := floatBlocks.Get().(*[2][]float32)
		step := max(1, blockFloats/max(1, y.c)) // pixels
		for i := range s {
			s[i] = resized(s[i], step*y.c)
		}
		for i := lo; i < hi; i++ {
			to := y.row(n, i)
			for x := 0; x < y.w; x += step {
				pixels := min(step, y.w-x)
				count := pixels * y.c
				p := a.read(e.Kernels, s[0], n, i, x, pixels, y.c)
				q := b.read(e.Kernels, s[1], n, i, x, pixels, y.c)
				sum := s[0][:count]
				vector(sum, p, q)
				if m.act.name != "" {
					m.act.run(e.Kernels, sum, sum)
				}
				m.result.quantize(e.Kernels, to[x*y.c:][:count], sum)
			}
		}
		floatBlocks.Put(s)
	})
	e.SetOut(0, t)
	return nil
}

// blockFloats is about how many numbers are dequantized at once, to stay in
// the cache.
const blockFloats = 1024

// floatBlocks lends scratch for dequantized numbers.
var floatBlocks = sync.Pool{New: func() any { return new([2][]float32) }}

func resized(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// operandImage is an operand of one evaluation.
type operandImage struct {
	*qoperand
	pixels
	bytes  []uint8
	floats []float32
}

func (q *qoperand) open(e *op.Eval, i int) (operandImage, error) {
	if q.typ == tensor.Undefined {
		x, err := imageOf[float32](e.Tensor(i), q.halo)
		return operandImage{qoperand: q, pixels: x.pixels, floats: x.data}, err
	}
	x, err := imageOf[uint8](e.Tensor(i), q.halo)
	return operandImage{qoperand: q, pixels: x.pixels, bytes: x.data}, err
}

// read returns pixels of a row as float32 with the given number of channels,
// in buf if they are not there already. What has size 1 is repeated.
func (o *operandImage) read(k *kernel.Table, buf []float32, n, y, x, pixels, channels int) []float32 {
	from := o.at(min(n, o.n-1), min(y, o.h-1))
	if o.w > 1 {
		from += x * o.c
	}
	buf = buf[:pixels*channels]
	if o.c == channels && (o.w > 1 || pixels == 1) {
		return o.values(k, buf, from)
	}
	for i := range pixels {
		to := buf[i*channels : (i+1)*channels]
		if o.w == 1 && i > 0 {
			copy(to, buf)
			continue
		}
		copy(to, o.values(k, to[:o.c], from+i*o.c))
		if o.c == 1 {
			fill(to[1:], to[0])
		}
	}
	return buf
}

// values returns consecutive numbers as float32.
func (o *operandImage) values(k *kernel.Table, buf []float32, from int) []float32 {
	if o.typ == tensor.Undefined {
		return o.floats[from:][:len(buf)]
	}
	o.dequantize(k, buf, o.bytes[from:][:len(buf)])
	return buf
}
