package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// binaryOp is an arithmetic operator over two float32 operands.
type binaryOp struct {
	name   string
	vector func(k *kernel.Table) func(dst, a, b []float32)
	scalar func(a, b float32) float32
}

var (
	opAdd = &binaryOp{"Add", func(k *kernel.Table) func(dst, a, b []float32) { return k.Add }, func(a, b float32) float32 { return a + b }}
	opSub = &binaryOp{"Sub", func(k *kernel.Table) func(dst, a, b []float32) { return k.Sub }, func(a, b float32) float32 { return a - b }}
	opMul = &binaryOp{"Mul", func(k *kernel.Table) func(dst, a, b []float32) { return k.Mul }, func(a, b float32) float32 { return a * b }}
	opDiv = &binaryOp{"Div", func(k *kernel.Table) func(dst, a, b []float32) { return k.Div }, func(a, b float32) float32 { return a / b }}
)

var binaryOps = []*binaryOp{opAdd, opSub, opMul, opDiv}

// binaryImage combines two images element by element; an axis of size 1 is
// repeated. The addition of a third, as large as the result, may follow, and an
// activation:
//
//	m = Mul(a, b)  s = Add(m, c)  y = Relu(s)
type binaryImage struct {
	op           *binaryOp
	adds         bool // input 2
	act          activation
	a, b, c, out halo
}

func (m *binaryImage) name() string {
	name := m.op.name
	if m.adds {
		name += "+Add"
	}
	if m.act.name != "" {
		name += "+" + m.act.name
	}
	return name
}

func (m *binaryImage) eval(e *op.Eval) error {
	a, err := imageOf[float32](e.Tensor(0), m.a)
	if err != nil {
		return err
	}
	b, err := imageOf[float32](e.Tensor(1), m.b)
	if err != nil {
		return err
	}
	if !m.adds {
		return m.combine(e, &a, &b, nil)
	}
	c, err := imageOf[float32](e.Tensor(2), m.c)
	if err != nil {
		return err
	}
	return m.combine(e, &a, &b, &c)
}

// combine combines a and b, and adds c unless it is nil.
func (m *binaryImage) combine(e *op.Eval, a, b, c *image[float32]) error {
	shape, err := tensor.Broadcast(tensor.Shape{a.n, a.c, a.h, a.w}, tensor.Shape{b.n, b.c, b.h, b.w})
	if err != nil {
		return err
	}
	y, t := newImage[float32](e, tensor.Float32, shape[0], shape[2], shape[3], shape[1], m.out, 0)
	if c != nil && !sameSize(&c.pixels, &y.pixels) {
		return e.Errorf(2, "%v cannot be added to %v", c, &y)
	}
	vector := m.op.vector(e.Kernels)
	rows(e, &y, func(n, lo, hi int) {
		for i := lo; i < hi; i++ {
			m.row(vector, y.row(n, i), &y, rowOf(a, n, i), a, rowOf(b, n, i), b)
			if c != nil {
				e.Kernels.Add(y.row(n, i), y.row(n, i), c.row(n, i))
			}
			if m.act.name != "" {
				m.act.run(e.Kernels, y.row(n, i), y.row(n, i))
			}
		}
	})
	e.SetOut(0, t)
	return nil
}

// rowOf returns a row of an image that repeats along axes of size 1.
func rowOf(im *image[float32], n, y int) []float32 {
	return im.row(min(n, im.n-1), min(y, im.h-1))
}

// row combines one row: at once where both have all of it, pixel by pixel
// where one repeats a pixel, else element by element.
func (m *binaryImage) row(vector func(dst, a, b []float32), dst []float32, y *image[float32], ra []float32, a *image[float32], rb []float32, b *image[float32]) {
	if len(ra) == len(dst) && len(rb) == len(dst) {
		vector(dst, ra, rb)
		return
	}
	for x := range y.w {
		pa, pb := pixel(ra, a, x), pixel(rb, b, x)
		to := dst[x*y.c : (x+1)*y.c]
		if len(pa) == len(to) && len(pb) == len(to) {
			vector(to, pa, pb)
			continue
		}
		for c := range to {
			to[c] = m.op.scalar(pa[min(c, len(pa)-1)], pb[min(c, len(pb)-1)])
		}
	}
}

func pixel(row []float32, im *image[float32], x int) []float32 {
	x = min(x, im.w-1)
	return row[x*im.c : (x+1)*im.c]
}
