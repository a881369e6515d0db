package op

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// msFusedDefs holds fused and other operators of com.microsoft.
var msFusedDefs = []*Def{
	{
		Domain: microsoft, Name: "FusedConv", Since: 1,
		Axes:  convAxes(1, 2),
		Infer: func(c *Infer) error { return inferConv(c, convSlots{}, c.Elem(0)) },
		Eval:  evalFusedConv,
		Cost:  func(c *Infer) Cost { return convCost(c, 1, 0) },
	},
	{
		Domain: microsoft, Name: "NhwcConv", Since: 1,
		Axes:  nhwcConvAxes,
		Infer: inferNhwcConv,
		Eval:  evalNhwcConv,
		Cost:  nhwcConvCost,
	},
	{Domain: microsoft, Name: "FusedGemm", Since: 1, Axes: axesGemm, Infer: inferGemm, Eval: evalFusedGemm, Cost: costGemm},
	{Domain: microsoft, Name: "FusedMatMul", Since: 1, Axes: fusedMatMulAxes, Infer: inferFusedMatMul, Eval: evalFusedMatMul, Cost: fusedMatMulCost},
	{Domain: microsoft, Name: "TransposeMatMul", Since: 1, Axes: fusedMatMulAxes, Infer: inferFusedMatMul, Eval: evalFusedMatMul, Cost: fusedMatMulCost},
	{Domain: microsoft, Name: "Gelu", Since: 1, Axes: axesElementwise, Infer: inferSame, Eval: geluErf.eval, Cost: perElement(20)},
	{Domain: microsoft, Name: "BiasGelu", Since: 1, Axes: biasAxes, Infer: inferSame, Eval: withBias(geluErf), Cost: perElement(21)},
	{Domain: microsoft, Name: "FastGelu", Since: 1, Axes: biasAxes, Infer: inferSame, Eval: withBias(geluFast), Cost: perElement(20)},
	{Domain: microsoft, Name: "QuickGelu", Since: 1, Axes: axesElementwise, Infer: inferSame, Eval: evalQuickGelu, Cost: perElement(10)},
	{Domain: microsoft, Name: "SkipLayerNormalization", Since: 1, Axes: rowNormAxes(lastAxis, []int{2, 3, 4}, 1), Infer: inferSkipNorm, Eval: evalSkipNorm(false), Cost: perElement(10)},
	{Domain: microsoft, Name: "SkipSimplifiedLayerNormalization", Since: 1, Axes: rowNormAxes(lastAxis, []int{2, 3}, 1), Infer: inferSkipNorm, Eval: evalSkipNorm(true), Cost: perElement(7)},
	{Domain: microsoft, Name: "SimplifiedLayerNormalization", Since: 1, Axes: rowNormAxes(oneAxis("axis", -1), []int{1}), Infer: inferLayerNorm, Eval: evalSimplifiedNorm, Cost: perElement(5)},
	{Name: "SimplifiedLayerNormalization", Since: 1, Axes: rowNormAxes(oneAxis("axis", -1), []int{1}), Infer: inferLayerNorm, Eval: evalSimplifiedNorm, Cost: perElement(5)}, // where ONNX Runtime has it
	{Domain: microsoft, Name: "EmbedLayerNormalization", Since: 1, Axes: embedNormAxes, Infer: inferEmbedNorm, Eval: evalEmbedNorm, Cost: perElement(10)},
}

var (
	geluErf  = unary{row: func(k *kernel.Table) rowFunc { return k.Gelu }, f64: func(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) }}
	geluFast = unary{row: func(k *kernel.Table) rowFunc { return k.GeluTanh }, f64: func(x float64) float64 {
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}}
	plus = binary{
		row: func(k *kernel.Table) func(dst, a, b []float32) { return k.Add },
		f64: func(a, b float64) float64 { return a + b },
	}
)

// withBias makes the rule of u over the sum of input 0 and a bias, which may be
// omitted.
func withBias(u unary) func(*Eval) error {
	return func(e *Eval) error {
		x := e.Tensor(0)
		if b := e.Tensor(1); b != nil {
			sum, err := plus.apply(e, x, b)
			if err != nil {
				return err
			}
			x = sum
		}
		y, err := nested(e, u.eval, e.Version, x)
		if err != nil {
			return err
		}
		e.SetOut(0, y)
		return nil
	}
}

func evalQuickGelu(e *Eval) error {
	alpha := float64(e.Node.Float("alpha", 1.702))
	return unary{f64: func(x float64) float64 { return x * logistic(alpha*x) }}.eval(e)
}

// fusedActivation applies attribute activation, with its parameters, in place.
func fusedActivation(e *Eval, x []float32, params []float32) error {
	name := strings.ToLower(e.Node.Str("activation", ""))
	param := func(i int, def float32) float32 {
		if i < len(params) {
			return params[i]
		}
		return def
	}
	k := e.kernels()
	switch name {
	case "":
	case "relu":
		k.Clamp(x, x, 0, float32(math.Inf(1)))
	case "clip":
		k.Clamp(x, x, param(0, -math.MaxFloat32), param(1, math.MaxFloat32))
	case "hardswish":
		k.HardSwish(x, x)
	default:
		info, ok := activationParams[name]
		if !ok {
			return fmt.Errorf("attribute activation is %q, which is not known", name)
		}
		newActivation[float32](k, name, float64(param(0, info.alpha)), float64(param(1, info.beta)))(x)
	}
	return nil
}

// evalFusedConv computes FusedConv: activation(Conv(X, W, B) + Z).
func evalFusedConv(e *Eval) error {
	y, err := nested(e, evalConv[float32], 22, e.Tensor(0), e.Tensor(1), e.Tensor(2))
	if err != nil {
		return err
	}
	if z := e.Tensor(3); z != nil {
		if y, err = plus.apply(e, y, z); err != nil {
			return e.Errorf(3, "%w", err)
		}
	}
	return setActivated(e, y, e.Node.Floats("activation_params"))
}

// setActivated hands over y after the fused activation.
func setActivated(e *Eval, y *tensor.Tensor, params []float32) error {
	x := slices.Clone(tensor.Float32s(y))
	if err := fusedActivation(e, x, params); err != nil {
		return err
	}
	e.SetOut(0, tensor.FromFloat32s(y.DType(), y.Shape(), x))
	return nil
}

// inferNhwcConv types a convolution of an image [N, H, W, C] with a weight
// [M, H, W, C/group].
func inferNhwcConv(c *Infer) error {
	inner := *c
	inner.In = slices.Clone(c.In)
	for i := range 2 {
		if c.Shape(i) != nil {
			inner.In[i] = graph.TensorOf(c.Elem(i), toChannelsFirst(c.Shape(i)))
		}
	}
	if err := inferConv(&inner, convSlots{}, c.Elem(0)); err != nil {
		return err
	}
	for _, t := range c.Out {
		if t != nil && t.Shape != nil {
			c.SetOut(0, t.Elem, toChannelsLast(t.Shape))
		}
	}
	return nil
}

func nhwcConvCost(c *Infer) Cost {
	w, okW := c.Shape(1).Static()
	y, okY := outShape(c, 0)
	if !okW || !okY || len(w) < 2 {
		return Cost{}
	}
	return matrixCost(c, int64(volume(w[1:]))*int64(y.Len()))
}

func evalNhwcConv(e *Eval) error {
	d := e.Tensor(0).DType()
	x := moveChannels(e, cast(e.Tensor(0), tensor.Float32), false)
	w := moveChannels(e, cast(e.Tensor(1), tensor.Float32), false)
	y, err := nested(e, evalConv[float32], 22, x, w, e.Tensor(2))
	if err != nil {
		return err
	}
	e.SetOut(0, cast(moveChannels(e, y, true), d))
	return nil
}

func evalFusedGemm(e *Eval) error {
	y, err := nested(e, evalGemm, 13, e.Tensor(0), e.Tensor(1), e.Tensor(2))
	if err != nil {
		return err
	}
	params := []float32{}
	for _, name := range []string{"activation_alpha", "activation_beta", "activation_gamma"} {
		if e.Node.Attr(name) != nil {
			params = append(params, e.Node.Float(name, 0))
		}
	}
	return setActivated(e, y, params)
}

// fusedPerm returns the order of axes in which FusedMatMul sees an operand:
// transBatch moves the first axis behind the other batch axes, trans swaps the
// last two. It is nil if nothing moves.
func fusedPerm(c *Call, operand string, rank int) []int {
	trans := c.Node.Int("trans"+operand, 0) != 0
	batch := c.Node.Int("transBatch"+operand, 0) != 0
	if rank < 2 || !trans && !batch {
		return nil
	}
	perm := make([]int, rank)
	for i := range perm {
		perm[i] = i
	}
	if batch && rank > 2 {
		for i := range rank - 2 {
			perm[i] = i + 1
		}
		perm[rank-2] = 0
	}
	if trans {
		perm[rank-1], perm[rank-2] = perm[rank-2], perm[rank-1]
	}
	return perm
}

func inferFusedMatMul(c *Infer) error {
	a, b := c.Shape(0), c.Shape(1)
	if a == nil || b == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	out, err := matMulDims(permuted(a, fusedPerm(&c.Call, "A", len(a))), permuted(b, fusedPerm(&c.Call, "B", len(b))))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// permuted returns the elements of s in the order of perm, which may be nil.
func permuted[S ~[]T, T any](s S, perm []int) S {
	if perm == nil {
		return s
	}
	out := make(S, len(s))
	for i, p := range perm {
		out[i] = s[p]
	}
	return out
}

func fusedMatMulCost(c *Infer) Cost {
	a := c.Shape(0)
	a = permuted(a, fusedPerm(&c.Call, "A", len(a)))
	y, ok := outShape(c, 0)
	if !ok || len(a) == 0 || !a[len(a)-1].IsKnown() {
		return Cost{}
	}
	return matrixCost(c, int64(y.Len())*int64(a[len(a)-1].Size))
}

func evalFusedMatMul(e *Eval) error {
	d := e.Tensor(0).DType()
	var operands [2]*tensor.Tensor
	for i, name := range []string{"A", "B"} {
		t := widened(e.Tensor(i))
		if perm := fusedPerm(&e.Call, name, t.Rank()); perm != nil {
			t = e.transpose(t, perm)
		}
		operands[i] = t
	}
	y, err := matMul(e, operands[0], operands[1])
	if err != nil {
		return err
	}
	e.SetOut(0, cast(scaled(e, y, e.Node.Float("alpha", 1)), d))
	return nil
}

// inferSkipNorm types the result, the statistics of its rows, and the sum that
// was normalized.
func inferSkipNorm(c *Infer) error {
	x := c.Shape(0)
	c.SetOut(0, c.Elem(0), x)
	var stats graph.Dims
	if len(x) > 0 {
		stats = append(append(stats, x[:len(x)-1]...), graph.Known(1))
	}
	c.SetOut(1, tensor.Float32, stats)
	c.SetOut(2, tensor.Float32, stats)
	c.SetOut(3, c.Elem(0), x)
	return nil
}

// evalSkipNorm makes the rule of the normalizations of input + skip (+ bias):
// inputs input, skip, gamma, beta (not in the simplified form), bias.
func evalSkipNorm(simplified bool) func(*Eval) error {
	return func(e *Eval) error {
		slots, bias := normSlots{gamma: 2, beta: 3, mean: 1, inv: 2, sum: 3}, 4
		if simplified {
			slots.beta, bias = -1, 3
		}
		sum, err := skipSum(e, bias)
		if err != nil {
			return err
		}
		x := e.Tensor(0)
		return setNormalized(e, x.DType(), x.Shape(), sum, slots, simplified)
	}
}

// skipSum adds the first two inputs, of which the second may be a part of a
// batch that repeats, and a bias.
func skipSum(e *Eval, bias int) ([]float32, error) {
	x := e.Tensor(0)
	s := x.Shape()
	if len(s) == 0 {
		return nil, e.Errorf(0, "want 1 axis or more")
	}
	sum := slices.Clone(tensor.Float32s(x))
	n := s[len(s)-1]
	for _, i := range []int{1, bias} {
		t := e.Tensor(i)
		if t == nil {
			continue
		}
		if t.Len() == 0 || t.Len()%max(1, n) != 0 || len(sum)%t.Len() != 0 {
			return nil, e.Errorf(i, "does not broadcast to %v", s)
		}
		for j, v := range repeat(tensor.Float32s(t), len(sum)) {
			sum[j] += v
		}
	}
	return sum, nil
}

// repeat returns x over and over until there are n elements.
func repeat[T any](x []T, n int) []T {
	if len(x) == n || len(x) == 0 {
		return x
	}
	return slices.Repeat(x, n/len(x))
}

// normSlots says which inputs scale and shift normalized rows, and which
// results are the mean and inverse deviation of a row and the rows as they
// were; -1 stands for none.
type normSlots struct{ gamma, beta, mean, inv, sum int }

// setNormalized hands over rows, of the shape s and the type d, normalized.
func setNormalized(e *Eval, d tensor.DType, s tensor.Shape, sum []float32, slots normSlots, simplified bool) error {
	n := s[len(s)-1]
	gamma := realsOf[float32](e, slots.gamma)
	var beta []float32
	if slots.beta >= 0 {
		beta = realsOf[float32](e, slots.beta)
	}
	if gamma != nil && len(gamma) != n || beta != nil && len(beta) != n {
		return e.Errorf(slots.gamma, "scale and shift have %d and %d elements, want %d", len(gamma), len(beta), n)
	}
	eps := float64(e.Node.Float("epsilon", 1e-12))
	stats := s.Clone()
	stats[len(s)-1] = 1
	y := newResult[float32](e, d, s)
	mean, inv := tensor.New(tensor.Float32, stats), tensor.New(tensor.Float32, stats)
	means, invs := tensor.Data[float32](mean), tensor.Data[float32](inv)
	e.Parallel(len(means), max(1, grain/max(1, n)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst, src := y.Data[i*n:][:n], sum[i*n:][:n]
			var m, v float64
			if simplified {
				v = rootMeanSquare(dst, src, eps)
			} else {
				m, v = standardize(dst, src, eps)
			}
			means[i], invs[i] = float32(m), float32(v)
			scaleShiftRow(dst, gamma, beta)
		}
	})
	if slots.mean >= 0 {
		e.SetOut(slots.mean, mean)
		e.SetOut(slots.inv, inv)
	}
	if e.Wants(slots.sum) {
		e.SetOut(slots.sum, tensor.FromFloat32s(d, s, sum))
	}
	return setReal(e, 0, y)
}

// evalSimplifiedNorm computes SimplifiedLayerNormalization, an RMSNormalization
// whose result 1 is the inverse root mean square of each row.
func evalSimplifiedNorm(e *Eval) error {
	y, err := nested(e, evalReal(0, evalRMSNorm[float32], evalRMSNorm[float64]), 23, e.Tensor(0), e.Tensor(1))
	if err != nil {
		return err
	}
	e.SetOut(0, y)
	if !e.Wants(1) {
		return nil
	}
	r, err := newRows(e)
	if err != nil {
		return err
	}
	shape := r.shape.Clone()
	fillWith(shape[r.axis:], 1)
	inv := newResult[float32](e, tensor.Float32, shape)
	x, scratch := realsOf[float32](e, 0), make([]float32, r.Len)
	for i := range r.N {
		inv.Data[i] = float32(rootMeanSquare(scratch, x[i*r.Len:][:r.Len], float64(e.Node.Float("epsilon", 1e-5))))
	}
	return setReal(e, 1, inv)
}

// inferEmbedNorm types the embedding [B,S,H], the mask's lengths [B] and the
// sum that was normalized.
func inferEmbedNorm(c *Infer) error {
	ids, words := c.Shape(0), c.Shape(2)
	elem := c.Elem(2)
	if len(ids) != 2 || len(words) != 2 {
		c.SetOut(0, elem, nil)
		c.SetOut(1, tensor.Int32, nil)
		c.SetOut(2, elem, nil)
		return nil
	}
	out := graph.Dims{ids[0], ids[1], words[1]}
	c.SetOut(0, elem, out)
	c.SetOut(1, tensor.Int32, graph.Dims{ids[0]})
	c.SetOut(2, elem, out)
	return nil
}

// evalEmbedNorm computes EmbedLayerNormalization: the sum of the embeddings of
// words, positions and segments, normalized. Inputs: ids, segment ids, word,
// position and segment embeddings, gamma, beta, mask, position ids.
func evalEmbedNorm(e *Eval) error {
	s := e.Tensor(0).Shape()
	words := e.Tensor(2)
	if len(s) != 2 || words.Rank() != 2 {
		return e.Errorf(0, "want ids [batch,steps]")
	}
	n := words.Shape()[1]
	sum := make([]float32, s.Len()*n)
	if err := addEmbedding(e, sum, 0, 2); err != nil {
		return err
	}
	if e.Tensor(1) != nil && e.Tensor(4) != nil {
		if err := addEmbedding(e, sum, 1, 4); err != nil {
			return err
		}
	}
	if err := addPositions(e, sum, s[1], n); err != nil {
		return err
	}
	if e.Wants(1) {
		e.SetOut(1, maskLengths(e, s))
	}
	slots := normSlots{gamma: 5, beta: 6, mean: -1, inv: -1, sum: 2}
	return setNormalized(e, words.DType(), tensor.Shape{s[0], s[1], n}, sum, slots, false)
}

// addEmbedding adds the rows of a table (input) that ids (input) name.
func addEmbedding(e *Eval, sum []float32, ids, table int) error {
	t := e.Tensor(table)
	if t.Rank() != 2 {
		return e.Errorf(table, "has %d axes, want 2", t.Rank())
	}
	rows, n := t.Shape()[0], t.Shape()[1]
	list, err := indices(e.Tensor(ids), rows)
	if err != nil {
		return e.Errorf(ids, "%w", err)
	}
	if len(list)*n != len(sum) {
		return e.Errorf(table, "embedding does not fit, want rows of %d elements", len(sum)/max(1, len(list)))
	}
	data := tensor.Float32s(t)
	for i, row := range list {
		addBias(sum[i*n:][:n], data[row*n:][:n])
	}
	return nil
}

// addPositions adds the embeddings of positions: of those given, or of the
// steps in order.
func addPositions(e *Eval, sum []float32, steps, n int) error {
	t := e.Tensor(3)
	if t.Rank() != 2 || t.Shape()[1] != n || t.Shape()[0] < steps {
		return e.Errorf(3, "position embedding does not fit, want [%d or more,%d]", steps, n)
	}
	at := make([]int, steps)
	for i := range at {
		at[i] = i
	}
	if ids := e.Tensor(8); ids != nil {
		var err error
		if at, err = indices(ids, t.Shape()[0]); err != nil {
			return e.Errorf(8, "%w", err)
		}
	}
	data := tensor.Float32s(t)
	for i := range len(sum) / max(1, n) {
		addBias(sum[i*n:][:n], data[at[i%len(at)]*n:][:n])
	}
	return nil
}

// maskLengths counts the ones of each row of the mask, input 7; zeros without
// a mask.
func maskLengths(e *Eval, ids tensor.Shape) *tensor.Tensor {
	lengths := make([]int32, ids[0])
	if t := e.Tensor(7); t != nil {
		for i, v := range int32s(t) {
			if v == 1 {
				lengths[i/ids[1]]++
			}
		}
	}
	return tensor.Of(tensor.Shape{ids[0]}, lengths)
}
