package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// dynamicProduct is a product of an 8-bit tensor [..., k], whose zero point and
// scale are known when it runs, with a constant int8 matrix. Its inputs are the
// tensor and its zero point, and if scaled is set the scale of the sums, one
// number or one for each column, and a tensor to add, if any:
//
//	y = MatMulInteger(x, w, zero)
//	y = act(Cast(MatMulInteger(x, w, zero)) * scale + bias + res)
type dynamicProduct struct {
	qmatmul
	dynamic
}

// dynamic is what is known of a product when it runs.
type dynamic struct {
	sums   []int32 // of the columns of the weights
	scaled bool    // input 2 is a scale of the sums
}

// zeroBias returns what takes the zero point, input 1, out of the sums.
func (d *dynamic) zeroBias(e *op.Eval) ([]int32, error) {
	z := e.Tensor(1)
	if z == nil {
		return nil, nil
	}
	if z.Len() != 1 || z.DType().Bits() != 8 {
		return nil, e.Errorf(1, "want one 8-bit zero point")
	}
	zero := int32(tensor.Int64s(z)[0])
	bias := tensor.Data[int32](e.New(tensor.Int32, tensor.Shape{len(d.sums)}))
	for j, sum := range d.sums {
		bias[j] = -zero * sum
	}
	return bias, nil
}

// columnScales returns the scale, input 2, of each column.
func (d *dynamic) columnScales(e *op.Eval) ([]float32, error) {
	s := e.Tensor(2)
	if s == nil || s.DType() != tensor.Float32 || s.Len() != 1 && s.Len() != len(d.sums) {
		return nil, e.Errorf(2, "want a scale, or one for each of %d columns", len(d.sums))
	}
	if s.Len() == len(d.sums) {
		return tensor.Data[float32](s), nil
	}
	scales := tensor.Data[float32](e.New(tensor.Float32, tensor.Shape{len(d.sums)}))
	fill(scales, tensor.Data[float32](s)[0])
	return scales, nil
}

func (m *dynamicProduct) name() string { return "DynamicMatMul" }

func (m *dynamicProduct) eval(e *op.Eval) error {
	p, shape, err := m.product(e, e.Tensor(0))
	if err != nil {
		return err
	}
	if p.Bias, err = m.zeroBias(e); err != nil {
		return err
	}
	if !m.scaled {
		y := e.New(tensor.Int32, shape)
		p.Out, p.C32 = kernel.OutS32, tensor.Data[int32](y)
		productI8(e, m.gemm, &p, nil)
		e.SetOut(0, y)
		return nil
	}
	if p.Scale, err = m.columnScales(e); err != nil {
		return err
	}
	return m.float(e, &p, shape, 3)
}

// fuseDynamicProducts makes one operator of products of integers with constant
// matrices and of what makes floats of them:
//
//	q, xs, z = DynamicQuantizeLinear(x)  m = MatMulInteger(q, w, z)
//	s = Mul(xs, ws)  c = Cast(m)  y = Mul(c, s)  a = Add(y, b)
func (o *optimizer) fuseDynamicProducts() {
	for n := range o.graph.Nodes() {
		if !n.Is("MatMulInteger") {
			continue
		}
		w, ok := o.integerMatrix(n)
		if !ok {
			o.note(n, "not packed: want a constant matrix of 8-bit integers, and one zero point of the other operand")
			continue
		}
		c := &productChain{o: o, nodes: []*graph.Node{n}, x: n.In(0), w: tensor.Of(w.shape, w.data), scale: 1}
		ins := []*graph.Value{n.In(0), n.In(2)}
		scale := c.takeScale()
		if scale != nil {
			c.extend()
			ins = append(ins, scale)
		}
		if c.residual != nil {
			ins = append(ins, c.residual)
		}
		o.replace(o.insert(c.nodes[len(c.nodes)-1], o.dynamicProduct(n, w, c, scale != nil), n, ins...), c.nodes...)
	}
}

// integerMatrix returns the constant matrix of a MatMulInteger.
func (o *optimizer) integerMatrix(n *graph.Node) (quantWeights, bool) {
	w, zeros := quantWeights{}, []int64{0}
	q, x := o.constant(n.In(1)), n.In(0)
	if q == nil || q.Rank() != 2 || q.Len() == 0 || q.DType().Bits() != 8 || x.Type == nil || len(x.Type.Shape) < 2 {
		return w, false
	}
	if z := n.In(2); z != nil && (z.Type == nil || z.Type.Shape == nil || !isSingle(z.Type.Shape)) {
		return w, false
	}
	w.shape = q.Shape()
	if n.In(3) != nil {
		z := o.constant(n.In(3))
		if z == nil || z.Len() != 1 && (z.Rank() != 1 || z.Len() != w.shape[1]) {
			return w, false
		}
		zeros = tensor.Int64s(z)
	}
	return w, w.center(q, zeros, 1)
}

// isSingle reports whether a tensor of at most one axis has one element.
func isSingle(s graph.Dims) bool {
	return len(s) == 0 || len(s) == 1 && s[0].IsKnown() && s[0].Size == 1
}

// takeScale takes the nodes that make floats of a product's sums into the
// chain, and returns by what they multiply: one number, or one for each column.
// It returns nil if there are none.
func (c *productChain) takeScale() *graph.Value {
	cast, _ := next(c.nodes[0])
	if cast == nil || !cast.Is("Cast") || !c.o.isFloat32(cast.Out(0)) {
		return nil
	}
	mul, i := next(cast)
	if mul == nil || !mul.Is("Mul") || mul.Opset() < 7 || !c.o.isFloat32(mul.In(1-i)) {
		return nil
	}
	s := mul.In(1 - i).Type.Shape
	perColumn := len(s) == 1 && s[0].IsKnown() && s[0].Size == c.columns()
	if s == nil || !isSingle(s) && !perColumn {
		return nil
	}
	c.nodes = append(c.nodes, cast, mul)
	return mul.In(1 - i)
}

func (o *optimizer) dynamicProduct(n *graph.Node, w quantWeights, c *productChain, scaled bool) *dynamicProduct {
	w.transpose()
	m := &dynamicProduct{dynamic: dynamic{w.sums(), scaled}}
	m.qmatmul = o.packedProduct(n.In(0).Type.Elem, w)
	m.act = c.act
	clamp := c.act
	if c.residual != nil {
		clamp = activation{}
	}
	unit := make([]float32, m.n)
	fill(unit, 1)
	m.requantization = requantize(quantized{scale: 1}, unit, c.bias, m.sums, clamp, quantized{})
	return m
}

// dynamicSpelling holds the operands of a product with an integer matrix that
// gives floats: the first operand with its scale and zero point, unless the
// product quantizes it itself, and the scale and zero point of the matrix.
// What is not given is nil.
type dynamicSpelling struct{ quantized, by, from, scale, zero, bias *graph.Value }

// spellDynamic writes a DynamicQuantizeMatMul or MatMulIntegerToFloat whose
// matrix can be packed as what [optimizer.fuseDynamicProducts] takes:
//
//	y = DynamicQuantizeMatMul(x, w, ws, wz, b)
//
// becomes
//
//	q, xs, z = DynamicQuantizeLinear(x)  m = MatMulInteger(q, w, z, wz)
//	c = Cast<to = 1>(m)  s = Mul(xs, ws)  p = Mul(c, s)  y = Add(p, b)
func (o *optimizer) spellDynamic(n *graph.Node, s dynamicSpelling) {
	scale := o.constant(s.scale)
	if scale == nil || scale.DType() != tensor.Float32 || n.In(0).Type == nil || n.Out(0).Type == nil {
		return
	}
	if s.by != nil && (s.by.Type == nil || s.by.Type.Shape == nil || !isSingle(s.by.Type.Shape)) {
		return
	}
	var made []*graph.Node
	put := func(like *graph.Value, elem tensor.DType, op string, ins ...*graph.Value) *graph.Value {
		m := o.place(n, graph.NewNode("", op, ins, 1))
		m.Out(0).Type, m.Out(0).Inferred = retyped(like, elem), true
		made = append(made, m)
		return m.Out(0)
	}
	if s.quantized == nil {
		q := o.place(n, graph.NewNode("", "DynamicQuantizeLinear", []*graph.Value{n.In(0)}, 3))
		single := graph.DimsOf(tensor.Shape{})
		for i, t := range []*graph.Type{retyped(n.In(0), tensor.Uint8), graph.TensorOf(tensor.Float32, single), graph.TensorOf(tensor.Uint8, single)} {
			q.Out(i).Type, q.Out(i).Inferred = t, true
		}
		made = append(made, q)
		s.quantized, s.by, s.from = q.Out(0), q.Out(1), q.Out(2)
	}
	y := put(n.Out(0), tensor.Int32, "MatMulInteger", s.quantized, n.In(1), s.from, s.zero)
	product := y.Producer()
	y = put(n.Out(0), tensor.Float32, "Cast", y)
	y.Producer().SetAttr(graph.IntAttr("to", int64(tensor.Float32)))
	var unit *graph.Value
	if by, ok := o.scalar(s.by); ok {
		t := scale.Clone()
		for i := range t.Len() {
			tensor.Data[float32](t)[i] *= by
		}
		unit = o.graph.AddInit(s.scale.Name()+"_unit", t)
	} else {
		unit = put(s.scale, tensor.Float32, "Mul", s.by, s.scale)
	}
	y = put(n.Out(0), tensor.Float32, "Mul", y, unit)
	if s.bias != nil {
		y = put(n.Out(0), tensor.Float32, "Add", y, s.bias)
	}
	if _, ok := o.integerMatrix(product); ok && o.graph.Replace(n.Out(0), y) {
		o.graph.Remove(n)
		return
	}
	for _, m := range slices.Backward(made) {
		o.graph.Remove(m)
	}
}
