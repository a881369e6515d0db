package op

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// gradMicrosoftRules are the gradients of operators of com.microsoft that are
// not composite.
var gradMicrosoftRules = map[opName]func(*Grad) error{
	{microsoft, "Gelu"}:                         slope(slopeGelu),
	{microsoft, "SimplifiedLayerNormalization"}: gradRMSNorm,
	{microsoft, "QuantizeLinear"}:               gradQuantize,
	{microsoft, "DequantizeLinear"}:             gradDequantize,
	{microsoft, "RotaryEmbedding"}:              gradMSRotary,
	{microsoft, "ExpandDims"}:                   gradReshaped,
	{microsoft, "GatherND"}:                     moved(0),
	{microsoft, "Pad"}:                          gradPad,
	{microsoft, "Range"}:                        gradRange,
	{microsoft, "Trilu"}:                        moved(0),
	{microsoft, "UnfoldTensor"}:                 moved(0),
	{microsoft, "Unique"}:                       func(g *Grad) error { return g.shares(1) },
	{microsoft, "NGramRepeatBlock"}: func(g *Grad) error {
		g.Set(1, g.Op("Where", g.Op("Equal", g.In[1], g.Out[0]), g.DOut[0], g.like(g.In[1], 0)))
		return nil
	},
	{microsoft, "SparseToDenseMatMul"}: gradSparseMatMul,
	{microsoft, "MatMulNBits"}:         gradMatMulNBits,
}

// gradMSRotary turns the gradient back by the angles that the input was turned
// by.
func gradMSRotary(g *Grad) error {
	for _, i := range []int{2, 3} {
		if err := g.Refuse(i, "the angles of positions are not learned"); err != nil {
			return err
		}
	}
	in := []*graph.Value{g.DOut[0], g.In[1], g.In[2], g.Op("Neg", g.In[3])}
	g.Set(0, g.B.Add(graph.NewNode(microsoft, "RotaryEmbedding", in, 1, g.attrs()...)).Out(0))
	return nil
}

// gradSparseMatMul: y = alpha A B with a sparse A gives dB = alpha A' dy, where
// A and B are seen transposed as the attributes say.
func gradSparseMatMul(g *Grad) error {
	if err := g.Refuse(0, "a sparse matrix is no tensor"); err != nil {
		return err
	}
	attrs := append(g.attrs("transA", "transB"), graph.IntAttr("transA", 1-g.Node.Int("transA", 0)))
	d := g.B.Add(graph.NewNode(microsoft, "SparseToDenseMatMul", []*graph.Value{g.In[0], g.DOut[0]}, 1, attrs...)).Out(0)
	if g.Node.Int("transB", 0) != 0 {
		d = g.Transpose(d, []int64{1, 0})
	}
	g.Set(1, d)
	return nil
}

// gradMatMulNBits: y = A W' + bias gives dA = dy W. The weight is stored in
// few bits and stays as it is.
func gradMatMulNBits(g *Grad) error {
	for _, i := range []int{2, 3} {
		if err := g.Refuse(i, "the weight is stored in few bits"); err != nil {
			return err
		}
	}
	in := []*graph.Value{g.DOut[0], g.In[1], g.In[2]}
	for i := 3; i < min(5, len(g.In)); i++ {
		in = append(in, g.In[i])
	}
	g.Set(0, g.Private("MatMulNBitsGrad", g.attrs(), in...))
	if g.Wanted(5) {
		g.Set(5, g.Private("ReduceTo", nil, g.DOut[0], g.ShapeOf(g.In[5])))
	}
	return nil
}

// privateMicrosoftDefs are gradients of operators of com.microsoft.
//
//	MatMulNBitsGrad (dy, B, scales, zero points, g_idx)
//
// is the gradient by A of MatMulNBits, with its attributes.
var privateMicrosoftDefs = []*Def{
	{Domain: PrivateDomain, Name: "MatMulNBitsGrad", Since: 1, Infer: inferMatMulNBitsGrad, Eval: evalMatMulNBitsGrad,
		Cost: func(c *Infer) Cost { return productCost(c, 0) }},
}

func inferMatMulNBitsGrad(c *Infer) error {
	dy := c.Shape(0)
	if len(dy) == 0 {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	out := append(graph.Dims{}, dy...)
	out[len(out)-1] = graph.Known(int(c.Node.Int("K", 0)))
	c.SetOut(0, c.Elem(0), out)
	return nil
}

func evalMatMulNBitsGrad(e *Eval) error {
	k, n := int(e.Node.Int("K", 0)), int(e.Node.Int("N", 0))
	dy := e.Tensor(0)
	s := dy.Shape().Clone()
	if len(s) == 0 || s[len(s)-1] != n || k < 1 || n < 1 {
		return e.Errorf(0, "want rows of %d elements", n)
	}
	w, err := unpackWeight(e, n, k)
	if err != nil {
		return err
	}
	s[len(s)-1] = k
	dx := newResult[float32](e, dy.DType(), s)
	multiplyMatrices(e, rowMajor(dx.Data, k), rowMajor(tensor.Float32s(dy), n), rowMajor(w, k), dy.Len()/n, k, n)
	return setReal(e, 0, dx)
}
