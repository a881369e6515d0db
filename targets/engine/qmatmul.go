package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// qmatmul is a product of an 8-bit tensor [..., k] with a constant int8 matrix.
// The sums are integers; the result is 8-bit,
//
//	y = Quantize(clamp(MatMul(Dequantize(x), Dequantize(w)) + bias))
//
// or float32, and then any activation may follow, and a tensor be added before:
//
//	y = act(MatMul(Dequantize(x), Dequantize(w)) + bias + res)
type qmatmul struct {
	k, n int
	integerWeights
	sparse *sparseIntegers // instead of the packed weights; nil if they are dense
	act    activation
	requantization
}

func (m *qmatmul) name() string {
	if m.sparse != nil {
		return "SparseQMatMul"
	}
	return "QMatMul"
}

func (m *qmatmul) eval(e *op.Eval) error {
	p, shape, err := m.product(e, e.Tensor(0))
	if err != nil {
		return err
	}
	p.Bias, p.Scale = m.bias, m.scale
	if m.result.typ == tensor.Undefined {
		return m.float(e, &p, shape, 1)
	}
	y := e.New(m.made().typ, shape)
	p.C8 = tensor.Data[uint8](y)
	if m.sparse != nil {
		m.sparse.multiply(e, &p, m.table)
	} else {
		productI8(e, m.gemm, &p, m.finisher())
	}
	e.SetOut(0, y)
	return nil
}

// product returns the product of x and the weights, without destination, and
// its shape.
func (m *qmatmul) product(e *op.Eval, x *tensor.Tensor) (kernel.ProductI8, tensor.Shape, error) {
	if x == nil || x.DType().Bits() != 8 || x.Rank() == 0 || x.Shape()[x.Rank()-1] != m.k {
		return kernel.ProductI8{}, nil, e.Errorf(0, "want 8-bit integers with %d in the last axis", m.k)
	}
	shape := x.Shape().Clone()
	shape[len(shape)-1] = m.n
	p := kernel.ProductI8{
		A: tensor.Data[uint8](x), Extra: m.extra, Add: m.add,
		Lo: m.lo, Hi: m.hi, Zero: m.result.zero, Out: kernel.OutQ8,
	}
	p.M, p.N, p.K, p.LDA, p.LDC = shape[:len(shape)-1].Len(), m.n, m.k, m.k, m.n
	if m.sparse == nil {
		p.B = m.packed[0]
	}
	return p, shape, nil
}

// float computes a float32 result. Input res is added to it, if there is one.
func (m *qmatmul) float(e *op.Eval, p *kernel.ProductI8, shape tensor.Shape, res int) error {
	y := e.New(tensor.Float32, shape)
	p.Out, p.CF = kernel.OutF32, tensor.Data[float32](y)
	var added []float32
	if len(e.In) > res {
		r := e.Tensor(res)
		if r == nil || r.DType() != tensor.Float32 || !r.Shape().Equal(shape) {
			return e.Errorf(res, "want float%v", shape)
		}
		added = tensor.Data[float32](r)
	}
	productI8(e, m.gemm, p, m.completer(added))
	e.SetOut(0, y)
	return nil
}

// completer returns what adds res, unless that is nil, and applies the
// activation to what a kernel stored; nil if there is nothing to do.
func (m *qmatmul) completer(res []float32) finisher {
	if res == nil && m.act.apply == nil {
		return nil
	}
	return func(k *kernel.Table, p *kernel.ProductI8, from, end int) {
		row := p.CF[from:end]
		if res != nil {
			k.Add(row, row, res[from:end])
		}
		if res != nil || m.act.apply != nil {
			m.act.run(k, row, row)
		}
	}
}

// fuseQuantProducts makes one operator of products of quantized values with
// constant matrices and what is behind them:
//
//	d = DequantizeLinear(x, …)  m = MatMul(d, DequantizeLinear(w, …))
//	a = Add(m, b)  r = Relu(a)  y = QuantizeLinear(r, …)
func (o *optimizer) fuseQuantProducts() {
	for n := range o.graph.Nodes() {
		if !o.isProduct(n) {
			continue
		}
		x, ok := o.dequantized(n.In(0))
		if !ok {
			continue
		}
		m, c := o.quantProduct(n, x)
		if m == nil {
			o.note(n, "not computed in integers: want symmetric 8-bit weights, constant, with a scale for each column")
			continue
		}
		ins := []*graph.Value{x.value}
		if c.residual != nil {
			ins = append(ins, c.residual)
		}
		o.replace(o.insert(c.nodes[len(c.nodes)-1], m, n, ins...), c.nodes...)
	}
}

// quantProduct returns the operator for n, a product of x, and the nodes that
// it stands for; nil if the product has no integer form.
func (o *optimizer) quantProduct(n *graph.Node, x quantized) (*qmatmul, *productChain) {
	columns := 1
	if n.Op == "Gemm" && n.Int("transB", 0) != 0 {
		columns = 0
	}
	w, ok := o.weights(n.In(1), columns)
	if !ok {
		return nil, nil
	}
	c := o.productWith(n, tensor.Of(w.shape, w.data))
	if c == nil || c.scale != 1 {
		return nil, nil
	}
	c.extend()
	if !c.trans {
		w.transpose()
	}
	out, table := quantized{}, (*table)(nil)
	if c.residual == nil && c.act.apply == nil && (c.bias == nil || w.fitsBias(c.bias, x)) {
		out, table = o.resultOf(c)
	}
	clamp := c.act
	if c.residual != nil {
		clamp = activation{}
	}
	r := requantize(x, w.scales, c.bias, w.sums(), clamp, out)
	r.table = table
	if out.typ != tensor.Undefined && w.rest == nil && c.rows() >= sparseProductRows {
		if s := newSparseIntegers(o.kernels, x.typ, w.data, w.shape[0], r.bias); s != nil {
			return &qmatmul{k: w.shape[1], n: w.shape[0], sparse: s, act: c.act, requantization: r}, c
		}
	}
	m := o.packedProduct(x.typ, w)
	m.act, m.requantization = c.act, r
	return &m, c
}

// packedProduct returns a product of numbers of the given type and the packed
// rows of w.
func (o *optimizer) packedProduct(typ tensor.DType, w quantWeights) qmatmul {
	return qmatmul{k: w.shape[1], n: w.shape[0], integerWeights: o.memory.integers(o.kernels, typ, &w, 1, 1)}
}

// resultOf takes the quantization behind a chain into it, and the look-up
// behind that.
func (o *optimizer) resultOf(c *productChain) (out quantized, t *table) {
	n, i := next(c.nodes[len(c.nodes)-1])
	if n == nil || i != 0 {
		return out, nil
	}
	out, ok := o.quantizes(n)
	if !ok {
		return quantized{}, nil
	}
	c.nodes = append(c.nodes, n)
	if t = o.tableBehind(n); t != nil {
		look, _ := next(n)
		c.nodes = append(c.nodes, look)
	}
	return out, t
}

// tableBehind returns the look-up that alone reads n's result, nil if there is
// none.
func (o *optimizer) tableBehind(n *graph.Node) *table {
	if nx, _ := next(n); nx != nil {
		if t, ok := o.src.info[nx].machine.(*table); ok {
			return t
		}
	}
	return nil
}

// transpose swaps the two axes of the integers.
func (w *quantWeights) transpose() {
	rows, cols := w.shape[0], w.shape[1]
	w.order(func(from []int8) []int8 {
		to := make([]int8, len(from))
		const few = 64 // columns whose rows of the result stay in the cache
		for lo := 0; lo < cols; lo += few {
			kernel.TransposeBytes(kernel.Bytes(to[lo*rows:]), rows, kernel.Bytes(from[lo:]), cols, rows, min(few, cols-lo))
		}
		return to
	})
	w.shape = tensor.Shape{cols, rows}
}

// qrows is a qbinary over tensors whose last axis stands for the channels of
// pixels.
type qrows struct{ qbinary }

func (m *qrows) eval(e *op.Eval) error {
	ins := slices.Clone(e.In)
	defer copy(e.In, ins)
	shape := tensor.Shape{}
	for i := range e.In {
		x := e.Tensor(i)
		if x == nil {
			return e.Errorf(i, "want a tensor")
		}
		s := x.Shape()
		if len(s) == 0 || len(shape) > 0 && i > 0 && x.Len() != shape.Len() && x.Len() != shape[len(shape)-1] {
			return e.Errorf(i, "want the shape of the other operand, or that of its last axis")
		}
		if shape.Len() < x.Len() || len(shape) < len(s) {
			shape = s
		}
		c := s[len(s)-1]
		e.In[i] = x.Reshape(tensor.Shape{1, 1, x.Len() / max(1, c), c})
	}
	if err := m.qbinary.eval(e); err != nil {
		return err
	}
	e.SetOut(0, e.Out[0].(*tensor.Tensor).Reshape(shape))
	return nil
}

// fuseQuantRows makes one operator of arithmetic between two quantized tensors
// of one shape, or a tensor and a constant for each index of its last axis, and
// the quantization behind it.
func (o *optimizer) fuseQuantRows() {
	for n := range o.graph.Nodes() {
		b := binaryOf(n)
		if b == nil {
			continue
		}
		m := &qrows{qbinary{op: b}}
		ins, ok := o.rowOperands(n, m)
		if !ok {
			continue
		}
		act, result, nodes := o.epilogue(n)
		if result.typ == tensor.Undefined {
			continue
		}
		m.act, m.result = act, result
		o.replace(o.insert(nodes[len(nodes)-1], m, n, ins...), nodes...)
	}
}

// rowOperands sets the operands of m, of which one at least is quantized.
func (o *optimizer) rowOperands(n *graph.Node, m *qrows) ([]*graph.Value, bool) {
	ins := n.Ins()
	var whole *graph.Value
	for i, to := range []*qoperand{&m.a, &m.b} {
		if q, ok := o.dequantized(ins[i]); ok && o.constant(ins[i]) == nil {
			to.quantized, whole, ins[i] = q, ins[i], q.value
		}
	}
	if whole == nil || whole.Type == nil || len(whole.Type.Shape) == 0 {
		return nil, false
	}
	for i := range ins {
		v := n.In(i)
		if v == whole || ins[i] != v && sameDims(v, whole) {
			continue
		}
		t := o.constant(v)
		last := whole.Type.Shape[len(whole.Type.Shape)-1]
		if t == nil || t.DType() != tensor.Float32 || t.Rank() == 0 || t.Rank() > len(whole.Type.Shape) ||
			last.IsUnknown() || last.Sym != "" || t.Shape()[t.Rank()-1] != last.Size || t.Len() != last.Size {
			return nil, false
		}
	}
	return ins, true
}
