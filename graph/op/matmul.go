package op

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// matmulDefs holds matrix products and what is built on them.
var matmulDefs = []*Def{
	{Name: "MatMul", Since: 1, Infer: inferMatMul, Eval: evalMatMul, Cost: costMatMul, Axes: axesMatMul,
		Quant: &Quant{Class: QuantInteger, Weight: 1, Bias: -1, Channel: matMulChannel}},
	{Name: "Gemm", Since: 1, Infer: inferGemm, Eval: evalGemm, Cost: costGemm, Axes: axesGemm,
		Quant: &Quant{Class: QuantInteger, Weight: 1, Bias: 2, Channel: gemmChannel}},
	{Name: "Einsum", Since: 12, Axes: einsumAxes, Infer: inferEinsum, Eval: evalEinsum, Cost: costEinsum},
	{Name: "Det", Since: 11, Infer: inferDet, Eval: evalDet, Cost: costDet},
}

// matMulChannel is the axis of the columns of a matrix; a stack of matrices
// has one scale.
func matMulChannel(c *Call) int {
	if w := c.Node.In(1); w != nil && w.Type != nil && len(w.Type.Shape) == 2 {
		return 1
	}
	return -1
}

func gemmChannel(c *Call) int {
	if c.Node.Int("transB", 0) != 0 {
		return 0
	}
	return 1
}

// product is one or more matrix products c = a * b, row-major. Matrix i of a
// batch has its operands at offsets aOff[i] and bOff[i]; c's follow each
// other. transB says that b holds the columns of the second matrix as rows.
type product[T any] struct {
	a, b, c    []T
	m, n, k    int
	aOff, bOff []int
	transB     bool
}

// multiply computes p with the kernels for T.
func multiply[T float32 | float64 | int32 | int64 | uint64](e *Eval, p *product[T]) {
	if q, ok := any(p).(*product[float32]); ok {
		multiplyF32(e, q)
		return
	}
	rows := len(p.aOff) * p.m
	e.Parallel(rows, max(1, grain/max(1, p.n*p.k)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			i := r / p.m
			a := p.a[p.aOff[i]+r%p.m*p.k:][:p.k]
			rowOf(p.c[r*p.n:(r+1)*p.n], a, p.b[p.bOff[i]:], p.n, p.transB)
		}
	})
}

// rowOf computes one row of a product.
func rowOf[T float32 | float64 | int32 | int64 | uint64](c, a, b []T, n int, trans bool) {
	clear(c)
	k := len(a)
	if trans {
		for j := range c {
			for i, x := range b[j*k : (j+1)*k] {
				c[j] += a[i] * x
			}
		}
		return
	}
	for i, x := range a {
		for j, y := range b[i*n : (i+1)*n] {
			c[j] += x * y
		}
	}
}

// multiplyF32 computes p through the kernel table. A matrix of b that many
// products share is packed once.
func multiplyF32(e *Eval, p *product[float32]) {
	if p.k == 0 {
		clear(p.c)
		return
	}
	if p.m == 1 {
		multiplyVectors(e, p)
		return
	}
	var packed []float32
	last := -1
	for i := range p.aOff {
		if last != p.bOff[i] {
			last = p.bOff[i]
			packed = packB(e, p, p.b[last:], packed)
		}
		g := kernel.ProductF32{
			Geometry: kernel.Geometry{M: p.m, N: p.n, K: p.k, LDA: p.k, LDC: p.n},
			A:        p.a[p.aOff[i]:], B: packed, C: p.c[i*p.m*p.n:],
		}
		runProduct(e, &g)
	}
}

// packB packs one matrix for the kernels, into buf if that is large enough.
func packB(e *Eval, p *product[float32], b, buf []float32) []float32 {
	gemm := e.Kernels.GemmF32
	if need := gemm.PackedLen(p.k, p.n); len(buf) < need {
		buf = make([]float32, need)
	}
	panels := (p.n + gemm.NR - 1) / gemm.NR
	e.Parallel(panels, max(1, 2*grain/(p.k*gemm.NR)), func(lo, hi int) {
		j := lo * gemm.NR
		width := min(hi*gemm.NR, p.n) - j
		if p.transB {
			e.Kernels.PackF32(buf[j*p.k:], b[j*p.k:], p.k, width, p.k, true)
			return
		}
		e.Kernels.PackF32(buf[j*p.k:], b[j:], p.k, width, p.n, false)
	})
	return buf
}

// runProduct divides a product into blocks of rows and columns.
func runProduct(e *Eval, g *kernel.ProductF32) {
	gemm := e.Kernels.GemmF32
	rowStep, colStep := 8*gemm.MR, 16*gemm.NR
	rows, cols := (g.M+rowStep-1)/rowStep, (g.N+colStep-1)/colStep
	work := rowStep * colStep * g.Depth()
	e.Parallel(rows*cols, max(1, 16*grain/max(1, work)), func(lo, hi int) {
		var tile kernel.TileF32
		for t := lo; t < hi; t++ {
			r, c := t/cols*rowStep, t%cols*colStep
			gemm.Block(&tile, g,
				kernel.Range{Lo: r, Hi: min(r+rowStep, g.M)}, kernel.Range{Lo: c, Hi: min(c+colStep, g.N)})
		}
	})
}

// multiplyVectors computes products of one row each, which read b once and
// gain nothing from packing it.
func multiplyVectors(e *Eval, p *product[float32]) {
	for i := range p.aOff {
		a, b, c := p.a[p.aOff[i]:][:p.k], p.b[p.bOff[i]:], p.c[i*p.n:(i+1)*p.n]
		e.Parallel(p.n, max(16, grain/p.k), func(lo, hi int) {
			if p.transB {
				e.Kernels.Gemv(c[lo:hi], b[lo*p.k:], a, p.k)
				return
			}
			clear(c[lo:hi])
			for k, x := range a {
				e.Kernels.Axpy(c[lo:hi], b[k*p.n+lo:k*p.n+hi], x)
			}
		})
	}
}

var errScalarProduct = errors.New("a scalar has no matrix product, want at least 1 axis")

func depthError(a, b any, k, l int) error {
	return fmt.Errorf("product of %v and %v: %d columns against %d rows", a, b, k, l)
}

// matShape is a product seen as stacks of matrices: the operands' shapes with
// at least two axes, the broadcast shape of the stacks, and the result's.
type matShape struct {
	a, b, batch, out tensor.Shape
}

// matMulShape finds the shapes of NumPy's matmul: a vector is a row on the
// left, a column on the right, and that axis is not in the result.
func matMulShape(a, b tensor.Shape) (matShape, error) {
	var s matShape
	if len(a) == 0 || len(b) == 0 {
		return s, errScalarProduct
	}
	s.a, s.b = a, b
	if len(a) == 1 {
		s.a = tensor.Shape{1, a[0]}
	}
	if len(b) == 1 {
		s.b = tensor.Shape{b[0], 1}
	}
	ra, rb := len(s.a), len(s.b)
	if k := s.b[rb-2]; s.a[ra-1] != k {
		return s, depthError(a, b, s.a[ra-1], k)
	}
	var err error
	if s.batch, err = tensor.Broadcast(s.a[:ra-2], s.b[:rb-2]); err != nil {
		return s, err
	}
	s.out = s.batch.Clone()
	if len(a) > 1 {
		s.out = append(s.out, s.a[ra-2])
	}
	if len(b) > 1 {
		s.out = append(s.out, s.b[rb-1])
	}
	return s, nil
}

// matMul returns NumPy's matmul of two tensors of one wide type.
func matMul(e *Eval, a, b *tensor.Tensor) (*tensor.Tensor, error) {
	s, err := matMulShape(a.Shape(), b.Shape())
	if err != nil {
		return nil, err
	}
	y := e.New(a.DType(), s.out)
	switch a.DType() {
	case tensor.Float32:
		stackedProduct[float32](e, s, y, a, b)
	case tensor.Float64:
		stackedProduct[float64](e, s, y, a, b)
	case tensor.Int64:
		stackedProduct[int64](e, s, y, a, b)
	case tensor.Uint64:
		stackedProduct[uint64](e, s, y, a, b)
	default:
		return nil, e.Errorf(0, "elements of type %v are not served", a.DType())
	}
	return y, nil
}

func stackedProduct[T float32 | float64 | int32 | int64 | uint64](e *Eval, s matShape, y, a, b *tensor.Tensor) {
	ra, rb := len(s.a), len(s.b)
	p := &product[T]{
		a: tensor.Data[T](a), b: tensor.Data[T](b), c: tensor.Data[T](y),
		m: s.a[ra-2], n: s.b[rb-1], k: s.a[ra-1],
	}
	w := newBroadcast(s.batch, s.a[:ra-2], s.b[:rb-2])
	w.runs(0, w.size, func(_, n int, off []int) {
		for i := range n {
			p.aOff = append(p.aOff, (off[0]+i*w.step(0))*p.m*p.k)
			p.bOff = append(p.bOff, (off[1]+i*w.step(1))*p.n*p.k)
		}
	})
	// One matrix on the right for all: the rows on the left are one matrix.
	if shared(p.bOff) && !shared(p.aOff) {
		p.m *= len(p.aOff)
		p.aOff, p.bOff = p.aOff[:1], p.bOff[:1]
	}
	if len(p.c) > 0 {
		multiply(e, p)
	}
}

// shared reports whether all offsets are the same.
func shared(off []int) bool {
	for _, o := range off {
		if o != off[0] {
			return false
		}
	}
	return true
}

func evalMatMul(e *Eval) error {
	a, b := e.Tensor(0), e.Tensor(1)
	y, err := matMul(e, widened(a), widened(b))
	if err != nil {
		return err
	}
	e.SetOut(0, cast(y, a.DType()))
	return nil
}

// evalGemm computes alpha*A'*B' + beta*C, C broadcast to the product.
func evalGemm(e *Eval) error {
	in := e.Tensor(0)
	a, b := widened(in), widened(e.Tensor(1))
	if a.Rank() != 2 {
		return e.Errorf(0, "has %d axes, want 2", a.Rank())
	}
	if b.Rank() != 2 {
		return e.Errorf(1, "has %d axes, want 2", b.Rank())
	}
	if e.Node.Int("transA", 0) != 0 {
		a = transposed(e, a)
	}
	transB := e.Node.Int("transB", 0) != 0
	bk, n := b.Shape()[0], b.Shape()[1]
	if transB {
		bk, n = n, bk
	}
	if a.Shape()[1] != bk {
		return depthError(in.Shape(), b.Shape(), a.Shape()[1], bk)
	}
	y := e.New(a.DType(), tensor.Shape{a.Shape()[0], n})
	switch a.DType() {
	case tensor.Float32:
		gemmProduct[float32](e, y, a, b, transB)
	case tensor.Float64:
		gemmProduct[float64](e, y, a, b, transB)
	case tensor.Int64:
		gemmProduct[int64](e, y, a, b, transB)
	case tensor.Uint64:
		gemmProduct[uint64](e, y, a, b, transB)
	default:
		return e.Errorf(0, "elements of type %v are not served", in.DType())
	}
	y, err := gemmAdd(e, scaled(e, y, e.Node.Float("alpha", 1)))
	if err != nil {
		return err
	}
	e.SetOut(0, cast(y, in.DType()))
	return nil
}

func gemmProduct[T float32 | float64 | int64 | uint64](e *Eval, y, a, b *tensor.Tensor, transB bool) {
	p := &product[T]{
		a: tensor.Data[T](a), b: tensor.Data[T](b), c: tensor.Data[T](y),
		m: y.Shape()[0], n: y.Shape()[1], k: a.Shape()[1],
		aOff: []int{0}, bOff: []int{0}, transB: transB,
	}
	if len(p.c) > 0 {
		multiply(e, p)
	}
}

// gemmAdd returns y + beta*C.
func gemmAdd(e *Eval, y *tensor.Tensor) (*tensor.Tensor, error) {
	c := e.Tensor(2)
	beta := e.Node.Float("beta", 1)
	if c == nil || beta == 0 {
		return y, nil
	}
	z, err := addition.apply(e, y, scaled(e, widened(c), beta))
	if err != nil {
		return nil, e.Errorf(2, "%v", err)
	}
	if !z.Shape().Equal(y.Shape()) {
		return nil, e.Errorf(2, "does not broadcast to the product's shape %v", y.Shape())
	}
	return z, nil
}

// scaled returns t, of a wide type, times factor.
func scaled(e *Eval, t *tensor.Tensor, factor float32) *tensor.Tensor {
	if factor == 1 {
		return t
	}
	f := float64(factor)
	switch t.DType() {
	case tensor.Float32:
		return mapRows(e, t, func(dst, src []float32) { e.Kernels.MulScalar(dst, src, factor) })
	case tensor.Float64:
		return mapped(e, t, func(x float64) float64 { return x * f })
	case tensor.Int64:
		return mapped(e, t, func(x int64) int64 { return int64(float64(x) * f) })
	}
	return mapped(e, t, func(x uint64) uint64 { return uint64(float64(x) * f) })
}

// transposed returns a matrix with its axes exchanged.
func transposed(e *Eval, t *tensor.Tensor) *tensor.Tensor {
	m, n := t.Shape()[0], t.Shape()[1]
	y := e.New(t.DType(), tensor.Shape{n, m})
	e.move(y, t, box{shape: []int{n, m}, dStr: []int{m, 1}, sStr: []int{1, n}})
	return y
}

func inferMatMul(c *Infer) error {
	a, b := c.Shape(0), c.Shape(1)
	if a == nil || b == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	out, err := matMulDims(a, b)
	if err != nil {
		return err
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// matMulDims is matMulShape over partly known shapes.
func matMulDims(a, b graph.Dims) (graph.Dims, error) {
	if len(a) == 0 || len(b) == 0 {
		return nil, errScalarProduct
	}
	x, y := a, b
	if len(a) == 1 {
		x = graph.Dims{graph.Known(1), a[0]}
	}
	if len(b) == 1 {
		y = graph.Dims{b[0], graph.Known(1)}
	}
	rx, ry := len(x), len(y)
	if k, l := x[rx-1], y[ry-2]; k.IsKnown() && l.IsKnown() && k.Size != l.Size {
		return nil, depthError(a, b, k.Size, l.Size)
	}
	out, err := broadcastDims(x[:rx-2], y[:ry-2])
	if err != nil {
		return nil, err
	}
	if len(a) > 1 {
		out = append(out, x[rx-2])
	}
	if len(b) > 1 {
		out = append(out, y[ry-1])
	}
	return out, nil
}

func inferGemm(c *Infer) error {
	out := graph.Dims{graph.Unknown(), graph.Unknown()}
	var depth [2]graph.Dim
	for i, attr := range []string{"transA", "transB"} {
		s := c.Shape(i)
		depth[i] = graph.Unknown()
		if s == nil {
			continue
		}
		if len(s) != 2 {
			return c.Errorf(i, "has %d axes, want 2", len(s))
		}
		kept := i
		if c.Node.Int(attr, 0) != 0 {
			kept = 1 - i
		}
		out[i], depth[i] = s[kept], s[1-kept]
	}
	if k, l := depth[0], depth[1]; k.IsKnown() && l.IsKnown() && k.Size != l.Size {
		return depthError(c.Shape(0), c.Shape(1), k.Size, l.Size)
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

func costMatMul(c *Infer) Cost {
	cost := c.traffic()
	a, ok := c.Shape(0).Static()
	n, known := c.outLen(0)
	if !ok || !known || len(a) == 0 {
		cost.Known = false
		return cost
	}
	cost.MACs = n * int64(a[len(a)-1])
	cost.Flops = 2 * cost.MACs
	return cost
}

func costGemm(c *Infer) Cost {
	cost := c.traffic()
	a, ok := c.Shape(0).Static()
	n, known := c.outLen(0)
	if !ok || !known || len(a) != 2 {
		cost.Known = false
		return cost
	}
	k := a[1]
	if c.Node.Int("transA", 0) != 0 {
		k = a[0]
	}
	cost.MACs = n * int64(k)
	cost.Flops = 2 * cost.MACs
	if c.Has(2) {
		cost.Flops += n
	}
	return cost
}

func inferDet(c *Infer) error {
	s := c.Shape(0)
	if s == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	if len(s) < 2 {
		return c.Errorf(0, "has %d axes, want at least 2", len(s))
	}
	c.SetOut(0, c.Elem(0), append(graph.Dims{}, s[:len(s)-2]...))
	return nil
}

// evalDet multiplies the pivots of Gaussian elimination with row exchanges.
func evalDet(e *Eval) error {
	t := e.Tensor(0)
	s := t.Shape()
	r := len(s)
	if r < 2 || s[r-1] != s[r-2] {
		return e.Errorf(0, "want square matrices")
	}
	n := s[r-1]
	x := tensor.Float64s(t)
	dets := make([]float64, s[:r-2].Len())
	for i := range dets {
		m := append([]float64{}, x[i*n*n:(i+1)*n*n]...)
		dets[i] = determinant(m, n)
	}
	e.SetOut(0, tensor.FromFloat64s(t.DType(), s[:r-2], dets))
	return nil
}

// determinant destroys m, an n by n matrix.
func determinant(m []float64, n int) float64 {
	det := 1.0
	for c := range n {
		pivot := c
		for r := c + 1; r < n; r++ {
			if math.Abs(m[r*n+c]) > math.Abs(m[pivot*n+c]) {
				pivot = r
			}
		}
		p := m[pivot*n+c]
		if p == 0 {
			return 0
		}
		if pivot != c {
			det = -det
			for j := range n {
				m[c*n+j], m[pivot*n+j] = m[pivot*n+j], m[c*n+j]
			}
		}
		det *= p
		for r := c + 1; r < n; r++ {
			f := m[r*n+c] / p
			for j := c; j < n; j++ {
				m[r*n+j] -= f * m[c*n+j]
			}
		}
	}
	return det
}

func costDet(c *Infer) Cost {
	cost := c.traffic()
	if s, ok := c.Shape(0).Static(); ok && len(s) >= 2 {
		cost.Flops = int64(s.Len()) * int64(s[len(s)-1]) * 2 / 3
	}
	return cost
}
