package op

import "github.com/onnxpack/onnxpack/graph"

var gradMatrixRules = map[opName]func(*Grad) error{
	std("MatMul"): gradMatMul,
	std("Gemm"):   gradGemm,
	std("Einsum"): gradEinsum,
}

// gradMatMul: y = a b gives da = dy b' and db = a' dy, summed over the axes
// that broadcasting made. Vectors are seen as matrices of one row or column.
func gradMatMul(g *Grad) error {
	ra, rb := len(g.Shape(g.In[0])), len(g.Shape(g.In[1]))
	if g.Shape(g.In[0]) == nil || g.Shape(g.In[1]) == nil {
		return gradMatrices(g)
	}
	a, b, dy := g.In[0], g.In[1], g.DOut[0]
	if ra == 1 && rb == 1 {
		g.Set(0, g.Op("Mul", dy, b))
		g.Set(1, g.Op("Mul", dy, a))
		return nil
	}
	if ra == 1 {
		a, dy, ra = g.Unsqueeze(a, 0), g.Unsqueeze(dy, int64(min(-2, -1-min(rb-1, 1)))), 2
	}
	if rb == 1 {
		b, dy, rb = g.Unsqueeze(b, 1), g.Unsqueeze(dy, -1), 2
	}
	if g.Wanted(0) {
		da := g.Op("MatMul", dy, g.SwapLast(b, rb))
		g.Set(0, g.reduceMatrix(da, a, g.In[0]))
	}
	if g.Wanted(1) {
		db := g.matMulRight(a, dy, ra, rb)
		g.Set(1, g.reduceMatrix(db, b, g.In[1]))
	}
	return nil
}

// gradMatrices is the gradient of a product of matrices whose number of batch
// axes is not known.
func gradMatrices(g *Grad) error {
	product := func(a, b *graph.Value, transposed string, like *graph.Value) *graph.Value {
		n := g.B.Add(graph.NewNode(microsoft, "FusedMatMul", []*graph.Value{a, b}, 1, graph.IntAttr(transposed, 1)))
		return g.Private("ReduceTo", nil, n.Out(0), g.Op("Shape", like))
	}
	if g.Wanted(0) {
		g.Set(0, product(g.DOut[0], g.In[1], "transB", g.In[0]))
	}
	if g.Wanted(1) {
		g.Set(1, product(g.In[0], g.DOut[0], "transA", g.In[1]))
	}
	return nil
}

// matMulRight returns a' dy. Where b is a plain matrix and a has batch axes,
// these join the rows, so that one product sums over all of them.
func (g *Grad) matMulRight(a, dy *graph.Value, ra, rb int) *graph.Value {
	if rb == 2 && ra > 2 {
		k, n := g.lastDim(a), g.lastDim(dy)
		if k > 0 && n > 0 {
			a = g.Op("Reshape", a, g.Int64s(-1, k))
			dy = g.Op("Reshape", dy, g.Int64s(-1, n))
			ra = 2
		}
	}
	return g.Op("MatMul", g.SwapLast(a, ra), dy)
}

// lastDim returns the size of the last axis of an operand or result of the
// call (or of a gradient of its shape), 0 if it is not known.
func (g *Grad) lastDim(v *graph.Value) int64 {
	if v == g.DOut[0] {
		v = g.Out[0]
	}
	if s := g.Shape(v); len(s) > 0 && s[len(s)-1].IsKnown() {
		return int64(s[len(s)-1].Size)
	}
	return 0
}

// reduceMatrix sums d over broadcast batch axes to the shape of m, the matrix
// form of the operand in, and gives it the operand's own shape.
func (g *Grad) reduceMatrix(d, m, in *graph.Value) *graph.Value {
	s, ok := g.Shape(in).Static()
	switch {
	case m != in: // a vector
		return g.ReshapeTo(g.Private("ReduceTo", nil, d, g.Op("Shape", m)), in)
	case ok && len(s) == 2 && len(g.Shape(g.Out[0])) == 2:
		return d
	}
	return g.Private("ReduceTo", nil, d, g.ShapeOf(in))
}

// gradGemm: y = alpha A B + beta C with A = a or a', B = b or b'.
func gradGemm(g *Grad) error {
	n := g.Node
	alpha, beta := n.Float("alpha", 1), n.Float("beta", 1)
	ta, tb := n.Int("transA", 0) == 1, n.Int("transB", 0) == 1
	product := func(x *graph.Value, tx bool, y *graph.Value, ty bool) *graph.Value {
		attrs := []*graph.Attr{graph.FloatAttr("alpha", alpha), graph.IntAttr("transA", flag(tx)), graph.IntAttr("transB", flag(ty))}
		return g.B.OpAttrs("Gemm", attrs, x, y)
	}
	a, b, dy := g.In[0], g.In[1], g.DOut[0]
	if g.Wanted(0) {
		if ta {
			g.Set(0, product(b, tb, dy, true)) // (dy B')' = B dy'
		} else {
			g.Set(0, product(dy, false, b, !tb))
		}
	}
	if g.Wanted(1) {
		if tb {
			g.Set(1, product(dy, true, a, ta)) // (A' dy)' = dy' A
		} else {
			g.Set(1, product(a, !ta, dy, false))
		}
	}
	if g.Wanted(2) {
		if beta != 1 {
			dy = g.Op("Mul", dy, g.Number(float64(beta)))
		}
		g.Set(2, g.Like(dy, g.In[2], g.Out[0]))
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
