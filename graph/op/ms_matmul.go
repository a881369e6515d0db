package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// inferMatMulOf types a product of inputs 0 and b with the elements of input
// elem.
func inferMatMulOf(elem, b int) func(*Infer) error {
	return func(c *Infer) error { return inferIntegerProduct(c, b, c.Elem(elem)) }
}

func inferQGemm(c *Infer) error {
	a, b := c.Shape(0), c.Shape(3)
	elem := tensor.Float32
	if c.Has(8) {
		elem = c.Elem(8)
	}
	if len(a) != 2 || len(b) != 2 {
		c.SetOut(0, elem, nil)
		return nil
	}
	m, n := a[0], b[1]
	if c.Node.Int("transA", 0) != 0 {
		m = a[1]
	}
	if c.Node.Int("transB", 0) != 0 {
		n = b[0]
	}
	c.SetOut(0, elem, graph.Dims{m, n})
	return nil
}

// evalQGemm computes QGemm: alpha * A*B + C over quantized A and B and an
// int32 C of scale alpha*a_scale*b_scale; quantized if y_scale is given.
func evalQGemm(e *Eval) error {
	as, bs := e.Tensor(0).Shape(), e.Tensor(3).Shape()
	if len(as) != 2 || len(bs) != 2 {
		return e.Errorf(0, "operands have %d and %d axes, want 2 each", len(as), len(bs))
	}
	columns := 1
	if e.Node.Int("transB", 0) != 0 {
		columns = 0
	}
	qa, err := centered(e, 0, 2, 0)
	if err != nil {
		return err
	}
	qb, err := centered(e, 3, 5, columns)
	if err != nil {
		return err
	}
	a, b := rowMajor(qa, as[1]), rowMajor(qb, bs[1])
	m, k, n, kb := as[0], as[1], bs[1], bs[0]
	if e.Node.Int("transA", 0) != 0 {
		a, m, k = a.transposed(), k, m
	}
	if columns == 0 {
		b, n, kb = b.transposed(), kb, n
	}
	if k != kb {
		return depthError(as, bs, k, kb)
	}
	sums := make([]int32, m*n)
	multiplyMatrices(e, rowMajor(sums, n), a, b, m, n, k)
	if err := addInt32(e, sums, 6, tensor.Shape{m, n}); err != nil {
		return err
	}
	return setScaledSums(e, sums, tensor.Shape{m, n}, e.Node.Float("alpha", 1))
}

// addInt32 adds input i, which broadcasts to the sums' shape, if it is given.
func addInt32(e *Eval, sums []int32, i int, shape tensor.Shape) error {
	t := e.Tensor(i)
	if t == nil {
		return nil
	}
	if full, err := tensor.Broadcast(t.Shape(), shape); err != nil || !full.Equal(shape) {
		return e.Errorf(i, "does not broadcast to %v", shape)
	}
	for j, v := range broadcastTo(int32s(t), t.Shape(), shape) {
		sums[j] += v
	}
	return nil
}

// setScaledSums hands over the sums of a QGemm [m, n].
func setScaledSums(e *Eval, sums []int32, shape tensor.Shape, alpha float32) error {
	sa, sb := tensor.Float32s(e.Tensor(1)), tensor.Float32s(e.Tensor(4))
	if len(sa) != 1 || len(sb) != 1 && len(sb) != shape[1] {
		return e.Errorf(4, "want one scale or %d, one for each column", shape[1])
	}
	y := tensor.New(tensor.Float32, shape)
	out := tensor.Data[float32](y)
	for i, v := range sums {
		out[i] = float32(v) * (alpha * sa[0] * sb[i%shape[1]%len(sb)])
	}
	if e.Tensor(7) == nil {
		e.SetOut(0, y)
		return nil
	}
	d := e.Tensor(0).DType()
	if z := e.Tensor(8); z != nil {
		d = z.DType()
	}
	return setQuantized(e, y, d, 7, 8)
}

// evalDynamicQuantizeMatMul quantizes A to uint8 and multiplies it with B:
// inputs A, B, b_scale, b_zero_point, bias.
func evalDynamicQuantizeMatMul(e *Eval) error {
	x := tensor.Float32s(e.Tensor(0))
	k := e.kernels()
	scale, zero := dynamicScale(k, x)
	q := make([]uint8, len(x))
	k.QuantizeU8(q, x, scale, zero)
	a := make([]int32, len(q))
	for i, v := range q {
		a[i] = int32(v) - int32(zero)
	}
	b, err := centered(e, 1, 3, -1)
	if err != nil {
		return err
	}
	return setFloatProduct(e, a, b, []float32{scale}, tensor.Float32s(e.Tensor(2)), 4)
}

// evalMatMulIntegerToFloat multiplies quantized A and B: inputs A, B, a_scale,
// b_scale, a_zero_point, b_zero_point, bias.
func evalMatMulIntegerToFloat(e *Eval) error {
	a, err := centered(e, 0, 4, -2)
	if err != nil {
		return err
	}
	b, err := centered(e, 1, 5, -1)
	if err != nil {
		return err
	}
	return setFloatProduct(e, a, b, tensor.Float32s(e.Tensor(2)), tensor.Float32s(e.Tensor(3)), 6)
}

// setFloatProduct multiplies centered integers of the shapes of inputs 0 and 1
// and hands over the product, scaled and with a bias.
func setFloatProduct(e *Eval, a, b []int32, sa, sb []float32, bias int) error {
	sums, s, err := integerProduct(e, a, e.Tensor(0).Shape(), b, e.Tensor(1).Shape())
	if err != nil {
		return err
	}
	m, n := s.a[len(s.a)-2], s.b[len(s.b)-1]
	if len(sa) != 1 && len(sa) != m || len(sb) != 1 && len(sb) != n {
		return e.Errorf(1, "%d and %d scales, want one, or one for each of %d rows and %d columns", len(sa), len(sb), m, n)
	}
	add := realsOf[float32](e, bias)
	if add != nil && len(add) != n {
		return e.Errorf(bias, "bias has %d elements, want %d", len(add), n)
	}
	d := tensor.Float32
	if t := e.Tensor(2); t.DType().IsFloat() {
		d = t.DType()
	}
	y := newResult[float32](e, d, s.out)
	for i, v := range sums {
		y.Data[i] = float32(v)*sa[i/n%m%len(sa)]*sb[i%n%len(sb)] + valueOr(add, i%n)
	}
	return setReal(e, 0, y)
}

func inferMatMulNBits(c *Infer) error {
	a := c.Shape(0)
	if a == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	out := append(graph.Dims{}, a...)
	if len(out) == 0 {
		return c.Errorf(0, "want 1 axis or more")
	}
	out[len(out)-1] = graph.Known(int(c.Node.Int("N", 0)))
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// evalMatMulNBits multiplies A [..., K] with the transpose of a weight [N, K]
// kept in blocks along K of numbers of few bits: B [N, blocks, bytes], scales
// [N, blocks], zero points (packed like B, or of A's type; the middle of the
// range if omitted), g_idx, bias.
func evalMatMulNBits(e *Eval) error {
	k, n := int(e.Node.Int("K", 0)), int(e.Node.Int("N", 0))
	x := e.Tensor(0)
	s := x.Shape()
	if len(s) == 0 || s[len(s)-1] != k || k < 1 || n < 1 {
		return e.Errorf(0, "want rows of %d elements", k)
	}
	w, err := unpackWeight(e, n, k)
	if err != nil {
		return err
	}
	out := s.Clone()
	out[len(out)-1] = n
	y := newResult[float32](e, x.DType(), out)
	rows := x.Len() / k
	multiplyMatrices(e, rowMajor(y.Data, n), rowMajor(reals[float32](x), k), rowMajor(w, k).transposed(), rows, n, k)
	if bias := realsOf[float32](e, 5); bias != nil {
		if len(bias) != n {
			return e.Errorf(5, "bias has %d elements, want %d", len(bias), n)
		}
		for r := range rows {
			addBias(y.Data[r*n:][:n], bias)
		}
	}
	return setReal(e, 0, y)
}

// unpackWeight returns the weight [n, k] of a MatMulNBits.
func unpackWeight(e *Eval, n, k int) ([]float32, error) {
	bits, block := int(e.Node.Int("bits", 4)), int(e.Node.Int("block_size", 0))
	if bits != 2 && bits != 4 && bits != 8 || block < 1 || block*bits%8 != 0 {
		return nil, fmt.Errorf("blocks of %d numbers of %d bits, want 2, 4 or 8 bits that fill bytes", block, bits)
	}
	blocks := ceilDiv(k, block)
	if got, want := e.Tensor(1).Len(), n*blocks*block*bits/8; got != want {
		return nil, e.Errorf(1, "weight has %d bytes, want %d", got, want)
	}
	scale := tensor.Float32s(e.Tensor(2))
	if len(scale) != n*blocks {
		return nil, e.Errorf(2, "want %d scales, one for each block", n*blocks)
	}
	zero, err := blockZeros(e, n, blocks, bits)
	if err != nil {
		return nil, err
	}
	group := func(j int) int { return j / block }
	if t := e.Tensor(4); t != nil {
		list, err := indices(t, blocks)
		if err != nil || len(list) < k {
			return nil, e.Errorf(4, "want a block for each of %d rows", k)
		}
		group = func(j int) int { return list[j] }
	}
	q := unpackBits(e.Tensor(1).Bytes(), bits)
	w := make([]float32, n*k)
	e.Parallel(n, max(1, grain/k), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			for j := range k {
				b := i*blocks + group(j)
				w[i*k+j] = (float32(q[i*blocks*block+j]) - zero[b]) * scale[b]
			}
		}
	})
	return w, nil
}

// blockZeros returns the zero point of every block of a MatMulNBits.
func blockZeros(e *Eval, n, blocks, bits int) ([]float32, error) {
	zero := make([]float32, n*blocks)
	t := e.Tensor(3)
	switch {
	case t == nil:
		fillWith(zero, float32(int(1)<<(bits-1)))
		return zero, nil
	case t.DType() != tensor.Uint8:
		if t.Len() != len(zero) {
			return nil, e.Errorf(3, "want %d zero points, one for each block", len(zero))
		}
		return tensor.Float32s(t), nil
	}
	perRow := ceilDiv(blocks*bits, 8)
	if t.Len() != n*perRow {
		return nil, e.Errorf(3, "zero points have %d bytes, want %d", t.Len(), n*perRow)
	}
	for i := range n {
		for b, v := range unpackBits(t.Bytes()[i*perRow:][:perRow], bits)[:blocks] {
			zero[i*blocks+b] = float32(v)
		}
	}
	return zero, nil
}
