package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// halfProduct is a product of few rows of float32, [..., k], with a constant
// matrix of 16-bit floats, with what is computed along with it:
//
//	y = act(MatMul(x, w) + bias + res)
//
// It takes as long as the weights are read, so that they are left in 16 bits and
// widened in registers.
type halfProduct struct {
	k, n    int
	brain   bool     // bfloat16 rather than float16
	weights []uint16 // n rows of k
	bias    []float32
	act     activation
}

func (m *halfProduct) name() string {
	if m.act.name != "" {
		return "MatMul16+" + m.act.name
	}
	return "MatMul16"
}

func (m *halfProduct) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.DType() != tensor.Float32 || x.Rank() == 0 || x.Shape()[x.Rank()-1] != m.k {
		return e.Errorf(0, "want float with %d in the last axis", m.k)
	}
	shape := x.Shape().Clone()
	shape[len(shape)-1] = m.n
	rows := shape[:len(shape)-1].Len()
	y := e.New(tensor.Float32, shape)
	var res []float32
	if len(e.In) > 1 {
		r := e.Tensor(1)
		if r == nil || r.DType() != tensor.Float32 || !r.Shape().Equal(shape) {
			return e.Errorf(1, "want float%v", shape)
		}
		res = tensor.Data[float32](r)
	}
	m.rows(e, tensor.Data[float32](y), tensor.Data[float32](x), res, rows)
	e.SetOut(0, y)
	return nil
}

// halvesEach is how many weights are read for every row before the next are: as
// many as stay in the second cache.
const halvesEach = 64 << 10

func (m *halfProduct) rows(e *op.Eval, y, x, res []float32, rows int) {
	gemv := e.Kernels.GemvF16
	if m.brain {
		gemv = e.Kernels.GemvBF16
	}
	some := max(4, halvesEach/m.k&^3)
	e.Parallel(ceilDiv(m.n, some), macsPerPiece/max(1, some*m.k*rows)+1, func(lo, hi int) {
		for from := lo * some; from < min(hi*some, m.n); from += some {
			to := min(from+some, m.n)
			for r := range rows {
				at := r*m.n + from
				part := y[at : r*m.n+to]
				gemv(part, m.weights[from*m.k:], x[r*m.k:(r+1)*m.k], m.k)
				m.finish(e.Kernels, part, res, from, at)
			}
		}
	})
}

// finish completes the columns of a row from the given one on, which stand at the
// given place of the result.
func (m *halfProduct) finish(k *kernel.Table, part, res []float32, from, at int) {
	if m.bias != nil {
		k.Add(part, part, m.bias[from:from+len(part)])
	}
	if res != nil {
		k.Add(part, part, res[at:at+len(part)])
	}
	m.act.run(k, part, part)
}

// halves returns the product as one with weights that stay in 16 bits, nil if
// they have more, or if there are more rows than the weights are worth reading
// again for.
func (c *productChain) halves() *halfProduct {
	t := c.o.narrow[c.w]
	if t == nil || c.scale != 1 {
		return nil
	}
	rows, shape := 1, c.x.Type.Shape
	for _, d := range shape[:len(shape)-1] {
		if !d.IsKnown() {
			return nil
		}
		rows *= d.Size
	}
	s := t.Shape()
	m := &halfProduct{k: s[0], n: s[1], brain: t.DType() == tensor.BFloat16, bias: c.bias, act: c.act}
	if c.trans {
		m.k, m.n = s[1], s[0]
	}
	if rows > fewRows || m.k%16 != 0 {
		return nil
	}
	src := tensor.Data[uint16](t)
	if m.weights = src; c.trans {
		return m
	}
	const few = 32 // columns whose rows of the result stay in the cache
	m.weights = make([]uint16, len(src))
	c.o.memory.add(t, ceilDiv(m.n, few), func(lo, hi int) {
		for from := lo * few; from < min(hi*few, m.n); from += few {
			to := min(from+few, m.n)
			for r := range m.k {
				for i, h := range src[r*m.n+from : r*m.n+to] {
					m.weights[(from+i)*m.k+r] = h
				}
			}
		}
	})
	return m
}
