package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// matmul is a product of a float32 tensor [..., k] with a constant matrix, with
// what can be computed along with it:
//
//	y = act(MatMul(x, w) + bias + res)
type matmul struct {
	k, n    int
	weights []float32 // packed
	bias    []float32 // nil if none
	act     activation
}

func (m *matmul) name() string {
	if m.act.name != "" {
		return "MatMul+" + m.act.name
	}
	return "MatMul"
}

func (m *matmul) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.DType() != tensor.Float32 || x.Rank() == 0 || x.Shape()[x.Rank()-1] != m.k {
		return e.Errorf(0, "want float with %d in the last axis", m.k)
	}
	shape := x.Shape().Clone()
	shape[len(shape)-1] = m.n
	y := e.New(tensor.Float32, shape)
	p := kernel.ProductF32{A: tensor.Data[float32](x), B: m.weights, C: tensor.Data[float32](y), Bias: m.bias, Lo: m.act.lo, Hi: m.act.hi}
	p.M, p.N, p.K, p.LDA, p.LDC = shape[:len(shape)-1].Len(), m.n, m.k, m.k, m.n
	if len(e.In) > 1 {
		r := e.Tensor(1)
		if r == nil || r.DType() != tensor.Float32 || !r.Shape().Equal(shape) {
			return e.Errorf(1, "want float%v", shape)
		}
		p.Res, p.LDR = tensor.Data[float32](r), m.n
	}
	productF32(e, &p, epilogue{act: &m.act})
	e.SetOut(0, y)
	return nil
}

// productChain is a product with a constant matrix and the nodes behind it
// that are computed along with it.
type productChain struct {
	o        *optimizer
	nodes    []*graph.Node
	x        *graph.Value
	w        *tensor.Tensor // [k, n], or [n, k] if trans
	trans    bool
	scale    float32
	bias     []float32
	residual *graph.Value
	act      activation
}

// fuseProducts makes one operator of products with constant matrices and the
// bias, residual and activation behind them:
//
//	m = MatMul(x, w)  a = Add(m, b)  y = Relu(a)
func (o *optimizer) fuseProducts() {
	for n := range o.graph.Nodes() {
		c := o.productOf(n)
		if c == nil {
			continue
		}
		c.extend()
		m := c.machine()
		ins := []*graph.Value{c.x}
		if c.residual != nil {
			ins = append(ins, c.residual)
		}
		o.replace(o.insert(c.nodes[len(c.nodes)-1], m, n, ins...), c.nodes...)
	}
}

// productOf returns the chain of n alone, nil if n is no product with a
// constant float32 matrix.
func (o *optimizer) productOf(n *graph.Node) *productChain {
	if !o.isProduct(n) {
		return nil
	}
	w := o.constant(n.In(1))
	if w == nil || w.DType() != tensor.Float32 {
		return nil
	}
	return o.productWith(n, w)
}

// isProduct reports whether n multiplies a float32 tensor of 2 axes or more.
func (o *optimizer) isProduct(n *graph.Node) bool {
	return n.Is("MatMul", "Gemm") && n.NumOut() == 1 && o.isFloat32(n.In(0)) && len(n.In(0).Type.Shape) >= 2
}

// productWith returns the chain of n, a product, alone, whose matrix is given
// by w; nil if it has another form.
func (o *optimizer) productWith(n *graph.Node, w *tensor.Tensor) *productChain {
	if w.Rank() != 2 || w.Len() == 0 {
		return nil
	}
	c := &productChain{o: o, nodes: []*graph.Node{n}, x: n.In(0), w: w, scale: 1}
	if n.Op == "MatMul" {
		return c
	}
	c.trans, c.scale = n.Int("transB", 0) != 0, n.Float("alpha", 1)
	if n.Int("transA", 0) != 0 {
		o.note(n, "not packed: the first operand is transposed")
		return nil
	}
	if n.In(2) == nil {
		return c
	}
	if n.Float("beta", 1) != 1 || !c.addBias(o.constant(n.In(2))) {
		o.note(n, "not packed: the third operand is no constant bias")
		return nil
	}
	return c
}

// columns returns the number of columns of the product.
func (c *productChain) columns() int {
	if c.trans {
		return c.w.Shape()[0]
	}
	return c.w.Shape()[1]
}

// addBias takes t, a number for each column or one for all, as bias.
func (c *productChain) addBias(t *tensor.Tensor) bool {
	n := c.columns()
	if t == nil || t.DType() != tensor.Float32 || t.Len() != 1 && (t.Len() != n || t.Shape()[t.Rank()-1] != n) || t.Rank() > 2 {
		return false
	}
	src, bias := tensor.Data[float32](t), make([]float32, n)
	copy(bias, c.bias)
	for i := range bias {
		bias[i] += src[i%len(src)]
	}
	c.bias = bias
	return true
}

// extend takes the nodes that follow into the chain as far as they fit.
func (c *productChain) extend() {
	for c.act.name == "" {
		last := c.nodes[len(c.nodes)-1]
		n, i := next(last)
		if n == nil || !c.take(last, n, i) {
			return
		}
		c.nodes = append(c.nodes, n)
	}
}

func (c *productChain) take(last, n *graph.Node, i int) bool {
	if act, ok := c.o.activationOf(n); ok && i == 0 {
		c.act = act
		return true
	}
	if !n.Is("Add") || n.Opset() < 7 || c.residual != nil {
		return false
	}
	other := n.In(1 - i)
	if t := c.o.constant(other); t != nil {
		return c.addBias(t)
	}
	if c.o.isFloat32(other) && sameDims(last.Out(0), other) {
		c.residual = other
		return true
	}
	return false
}

func (c *productChain) machine() machine {
	w := tensor.Data[float32](c.w)
	if c.scale != 1 {
		w = slices.Clone(w)
		for i := range w {
			w[i] *= c.scale
		}
	}
	if m := c.sparse(w); m != nil {
		return m
	}
	if m := c.halves(); m != nil {
		return m
	}
	s := c.w.Shape()
	m := &matmul{k: s[0], n: s[1], bias: c.bias, act: c.act}
	if c.trans {
		m.k, m.n = s[1], s[0]
	}
	m.weights = c.o.memory.matrix(c.o.kernels, c.w, w, m.k, m.n, c.trans)
	return m
}
