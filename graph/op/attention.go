package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// attentionDefs holds attention and positional embeddings.
var attentionDefs = []*Def{
	{
		Name: "Attention", Since: 23,
		Axes:  attentionAxes,
		Infer: inferAttention,
		Eval:  evalReal(0, evalAttention[float32], evalAttention[float64]),
		Cost:  attentionCost,
	},
	{
		Domain: "ai.onnx.preview", Name: "FlexAttention", Since: 1,
		Infer: inferFlexAttention,
		Eval:  evalReal(0, evalFlexAttention[float32], evalFlexAttention[float64]),
		Cost:  attentionCost,
	},
	{
		Name: "RotaryEmbedding", Since: 23,
		Infer: inferSame,
		Eval:  evalRotary,
		Cost:  perElement(3),
	},
}

// headView sees a tensor as vectors of one head, one position and one
// sequence each: the vector starts at b*Batch + h*Head + t*Step.
type headView[T real] struct {
	Data              []T
	Batch, Head, Step int
}

// viewBHTD sees a tensor [batch, heads, steps, size].
func viewBHTD[T real](data []T, heads, steps, size int) headView[T] {
	return headView[T]{data, heads * steps * size, steps * size, size}
}

// viewBTHD sees a tensor [batch, steps, heads*size].
func viewBTHD[T real](data []T, heads, steps, size int) headView[T] {
	return headView[T]{data, steps * heads * size, size, heads * size}
}

// of returns the elements from the first vector of one head on.
func (v headView[T]) of(b, h int) []T { return v.Data[min(b*v.Batch+h*v.Head, len(v.Data)):] }

// attention is scaled dot product attention,
//
//	softmax(cap(q*k' * Scale) + bias) * v
//
// for each head of each sequence. Heads of queries share those of keys in
// groups of QHeads/KVHeads.
type attention[T real] struct {
	Batch, QHeads, KVHeads, QLen, KVLen int
	Size, VSize                         int // of a query or key, of a value
	Q, K, V, Out                        headView[T]
	Scale, Softcap                      float64

	// Bias adds to the scores of query i what keeps it from keys, and reports
	// whether no key is left.
	Bias func(b, h, i int, scores []T) (none bool)

	// Sink, where not nil, is a score of no key that takes its share of the
	// weights of a head.
	Sink func(h int) T

	// Stages, where not nil, gets the scores [Batch, QHeads, QLen, KVLen] as
	// they are at Stage.
	Stages []T
	Stage  stage
}

// stage is a point in the course of an attention.
type stage int

const (
	afterProduct stage = iota
	afterCap
	afterBias
	afterSoftmax
)

// run computes the attention, heads in parallel.
func (a *attention[T]) run(e *Eval) {
	if a.QLen == 0 || a.VSize == 0 {
		return
	}
	e.Parallel(a.Batch*a.QHeads, 1, func(lo, hi int) {
		scores := make([]T, a.QLen*a.KVLen)
		for u := lo; u < hi; u++ {
			b, h := u/a.QHeads, u%a.QHeads
			a.scores(e, b, h, scores)
			a.keep(afterProduct, u, scores)
			a.weigh(b, h, scores)
			a.mix(e, b, h, scores)
		}
	})
}

// keep copies scores of head u if they are wanted at this stage.
func (a *attention[T]) keep(s stage, u int, scores []T) {
	if a.Stages != nil && a.Stage == s {
		copy(a.Stages[u*len(scores):], scores)
	}
}

func (a *attention[T]) kvHead(h int) int { return h / (a.QHeads / a.KVHeads) }

// scores sets dst [QLen, KVLen] to the scaled products of queries and keys.
func (a *attention[T]) scores(e *Eval, b, h int, dst []T) {
	q := matrix[T]{a.Q.of(b, h), a.Q.Step, 1}
	k := matrix[T]{a.K.of(b, a.kvHead(h)), a.K.Step, 1}
	multiplyHere(e, rowMajor(dst, a.KVLen), q, k.transposed(), a.QLen, a.KVLen, a.Size)
	for i := range dst {
		dst[i] *= T(a.Scale)
	}
}

// weigh turns scores into weights that sum to one.
func (a *attention[T]) weigh(b, h int, scores []T) {
	u := b*a.QHeads + h
	if a.Softcap > 0 {
		for i, v := range scores {
			scores[i] = T(a.Softcap * math.Tanh(float64(v)/a.Softcap))
		}
	}
	a.keep(afterCap, u, scores)
	none := make([]bool, a.QLen)
	for i := range a.QLen {
		if a.Bias != nil {
			none[i] = a.Bias(b, h, i, scores[i*a.KVLen:][:a.KVLen])
		}
	}
	a.keep(afterBias, u, scores)
	for i := range a.QLen {
		row := scores[i*a.KVLen:][:a.KVLen]
		if a.Sink != nil {
			softmaxWith(row, a.Sink(h))
		} else {
			softmaxOr0(row, none[i])
		}
	}
	a.keep(afterSoftmax, u, scores)
}

// mix sets the result of one head to the weighted values.
func (a *attention[T]) mix(e *Eval, b, h int, weights []T) {
	v := matrix[T]{a.V.of(b, a.kvHead(h)), a.V.Step, 1}
	out := matrix[T]{a.Out.of(b, h), a.Out.Step, 1}
	multiplyHere(e, out, rowMajor(weights, a.KVLen), v, a.QLen, a.VSize, a.KVLen)
}

// softmaxOr0 normalizes a row in place. A row without keys, or of nothing but
// -Inf, becomes zero.
func softmaxOr0[T real](row []T, none bool) {
	most := T(math.Inf(-1))
	for _, v := range row {
		most = max(most, v)
	}
	if none || math.IsInf(float64(most), -1) {
		clear(row)
		return
	}
	divideAll(row, expAll(row, most))
}

// softmaxWith normalizes a row and one more score beside it.
func softmaxWith[T real](row []T, sink T) {
	most := sink
	for _, v := range row {
		most = max(most, v)
	}
	sum := expAll(row, most)
	divideAll(row, sum+math.Exp(float64(sink-most)))
}

// expAll sets each element to e^(x-most) and returns their sum.
func expAll[T real](row []T, most T) float64 {
	sum := 0.0
	for i, v := range row {
		x := math.Exp(float64(v - most))
		row[i] = T(x)
		sum += x
	}
	return sum
}

func divideAll[T real](row []T, by float64) {
	for i, v := range row {
		row[i] = T(float64(v) / by)
	}
}

// inferAttention types Attention: the result, the present keys and values, and
// the scores.
func inferAttention(c *Infer) error {
	q, k, v := c.Shape(0), c.Shape(1), c.Shape(2)
	if q == nil || k == nil || v == nil {
		for i, from := range []int{0, 1, 2, 0} {
			c.SetOut(i, c.Elem(from), nil)
		}
		return nil
	}
	if len(q) != len(k) || len(q) != len(v) || len(q) < 3 || len(q) > 4 {
		return c.Errorf(0, "query, key and value have %d, %d and %d axes, want 3 or 4 each", len(q), len(k), len(v))
	}
	if len(q) == 3 {
		qHeads, kvHeads := int(c.Node.Int("q_num_heads", 0)), int(c.Node.Int("kv_num_heads", 0))
		if qHeads < 1 || kvHeads < 1 {
			return fmt.Errorf("%d query heads for %d key heads, want both for three axes", qHeads, kvHeads)
		}
		q, k, v = splitHeads(q, qHeads), splitHeads(k, kvHeads), splitHeads(v, kvHeads)
		c.SetOut(0, c.Elem(0), graph.Dims{q[0], q[2], mulDim(v[3], qHeads)})
	} else {
		c.SetOut(0, c.Elem(0), graph.Dims{q[0], q[1], q[2], v[3]})
	}
	total := k[2]
	if past := c.Shape(4); len(past) == 4 {
		total = total.Plus(past[2])
	} else if c.Has(4) {
		total = graph.Unknown()
	}
	c.SetOut(1, c.Elem(1), graph.Dims{k[0], k[1], total, k[3]})
	c.SetOut(2, c.Elem(2), graph.Dims{v[0], v[1], total, v[3]})
	c.SetOut(3, c.Elem(0), graph.Dims{q[0], q[1], q[2], total})
	return nil
}

// splitHeads turns [batch, steps, heads*size] into [batch, heads, steps, size].
func splitHeads(d graph.Dims, heads int) graph.Dims {
	return graph.Dims{d[0], graph.Known(heads), d[1], divDim(d[2], heads)}
}

func attentionCost(c *Infer) Cost {
	q, okQ := c.Shape(0).Static()
	k, okK := c.Shape(1).Static()
	y, okY := outShape(c, 0)
	if !okQ || !okK || !okY || len(q) < 3 {
		return Cost{}
	}
	steps := int64(k[len(k)-2])
	return matrixCost(c, steps*int64(q.Len()+y.Len()))
}

// evalAttention computes Attention.
func evalAttention[T real](e *Eval) error {
	a, shape, err := newAttention[T](e)
	if err != nil {
		return err
	}
	if err := a.appendPast(e); err != nil {
		return err
	}
	mask, err := newMask(e, a, 3)
	if err != nil {
		return err
	}
	a.Bias = mask.add
	y := newResult[T](e, e.Tensor(0).DType(), shape)
	if len(shape) == 3 {
		a.Out = viewBTHD(y.Data, a.QHeads, a.QLen, a.VSize)
	} else {
		a.Out = viewBHTD(y.Data, a.QHeads, a.QLen, a.VSize)
	}
	if e.Wants(3) {
		scores := newResult[T](e, e.Tensor(0).DType(), tensor.Shape{a.Batch, a.QHeads, a.QLen, a.KVLen})
		a.Stages, a.Stage = scores.Data, stage(e.Node.Int("qk_matmul_output_mode", 0))
		a.run(e)
		if err := setReal(e, 3, scores); err != nil {
			return err
		}
	} else {
		a.run(e)
	}
	return setReal(e, 0, y)
}

// newAttention reads queries, keys and values, [batch, heads, steps, size] or
// [batch, steps, heads*size], and returns the shape of the result too.
func newAttention[T real](e *Eval) (*attention[T], tensor.Shape, error) {
	q, k, v := e.Tensor(0).Shape(), e.Tensor(1).Shape(), e.Tensor(2).Shape()
	if len(q) != len(k) || len(q) != len(v) || len(q) < 3 || len(q) > 4 {
		return nil, nil, e.Errorf(0, "query, key and value have %d, %d and %d axes, want 3 or 4 each", len(q), len(k), len(v))
	}
	a := &attention[T]{Batch: q[0], Softcap: float64(e.Node.Float("softcap", 0))}
	view := viewBHTD[T]
	if len(q) == 3 {
		a.QHeads, a.KVHeads = int(e.Node.Int("q_num_heads", 0)), int(e.Node.Int("kv_num_heads", 0))
		if a.QHeads < 1 || a.KVHeads < 1 || q[2]%a.QHeads != 0 || k[2]%a.KVHeads != 0 || v[2]%a.KVHeads != 0 {
			return nil, nil, e.Errorf(0, "%d query heads and %d key heads do not divide the operands", a.QHeads, a.KVHeads)
		}
		a.QLen, a.KVLen, a.Size, a.VSize = q[1], k[1], q[2]/a.QHeads, v[2]/a.KVHeads
		view = viewBTHD[T]
		if k[2]/a.KVHeads != a.Size {
			return nil, nil, e.Errorf(1, "keys have %d elements, want %d as queries have", k[2]/a.KVHeads, a.Size)
		}
	} else {
		a.QHeads, a.KVHeads, a.QLen, a.KVLen, a.Size, a.VSize = q[1], k[1], q[2], k[2], q[3], v[3]
		if k[3] != a.Size || v[1] != a.KVHeads {
			return nil, nil, e.Errorf(1, "keys do not fit queries %v and values %v", q, v)
		}
	}
	if k[0] != a.Batch || v[0] != a.Batch || v[len(v)-2] != k[len(k)-2] && len(v) == 4 || len(v) == 3 && v[1] != k[1] {
		return nil, nil, e.Errorf(1, "keys do not fit queries %v and values %v", q, v)
	}
	if a.KVHeads == 0 || a.QHeads%a.KVHeads != 0 {
		return nil, nil, e.Errorf(1, "%d query heads for %d key heads, want a multiple", a.QHeads, a.KVHeads)
	}
	a.Q = view(realsOf[T](e, 0), a.QHeads, a.QLen, a.Size)
	a.K = view(realsOf[T](e, 1), a.KVHeads, a.KVLen, a.Size)
	a.V = view(realsOf[T](e, 2), a.KVHeads, a.KVLen, a.VSize)
	a.Scale = float64(e.Node.Float("scale", float32(1/math.Sqrt(float64(a.Size)))))
	if len(q) == 3 {
		return a, tensor.Shape{a.Batch, a.QLen, a.QHeads * a.VSize}, nil
	}
	return a, tensor.Shape{a.Batch, a.QHeads, a.QLen, a.VSize}, nil
}

// appendPast puts the past keys and values (inputs 4 and 5) before the new
// ones and hands the whole over as results 1 and 2.
func (a *attention[T]) appendPast(e *Eval) error {
	pastK, pastV := e.Tensor(4), e.Tensor(5)
	if (pastK == nil) != (pastV == nil) {
		return e.Errorf(4, "past keys and past values come together")
	}
	if pastK == nil && !e.Wants(1) && !e.Wants(2) {
		return nil
	}
	past := 0
	if pastK != nil {
		s := pastK.Shape()
		if len(s) != 4 || s[0] != a.Batch || s[1] != a.KVHeads || s[3] != a.Size {
			return e.Errorf(4, "want [%d,%d,P,%d]", a.Batch, a.KVHeads, a.Size)
		}
		past = s[2]
		if want := (tensor.Shape{a.Batch, a.KVHeads, past, a.VSize}); !pastV.Shape().Equal(want) {
			return e.Errorf(5, "want %v", want)
		}
	}
	total := past + a.KVLen
	keys := newResult[T](e, e.Tensor(1).DType(), tensor.Shape{a.Batch, a.KVHeads, total, a.Size})
	values := newResult[T](e, e.Tensor(2).DType(), tensor.Shape{a.Batch, a.KVHeads, total, a.VSize})
	a.K = joinSteps(keys.Data, realsOf[T](e, 4), a.K, a.Batch, a.KVHeads, past, a.KVLen, a.Size)
	a.V = joinSteps(values.Data, realsOf[T](e, 5), a.V, a.Batch, a.KVHeads, past, a.KVLen, a.VSize)
	a.KVLen = total
	if err := setReal(e, 1, keys); err != nil {
		return err
	}
	return setReal(e, 2, values)
}

// joinSteps sets dst [batch, heads, past+fresh, size] to the past steps,
// [batch, heads, past, size], followed by the fresh ones.
func joinSteps[T real](dst, old []T, v headView[T], batch, heads, past, fresh, size int) headView[T] {
	out := viewBHTD(dst, heads, past+fresh, size)
	for b := range batch {
		for h := range heads {
			to := out.of(b, h)
			if past > 0 {
				copy(to[:past*size], old[(b*heads+h)*past*size:])
			}
			from := v.of(b, h)
			for t := range fresh {
				copy(to[(past+t)*size:][:size], from[t*v.Step:])
			}
		}
	}
	return out
}

// attentionMask is what keeps queries from keys in Attention.
type attentionMask[T real] struct {
	kvLen       int
	offset      func(b int) int // keys before the first query
	causal      bool
	left, right int                          // how far a query sees, -1 without bound
	valid       []int                        // keys that are not padding, for each sequence
	row         func(b, h, i int) ([]T, int) // mask of a query, and how many keys it covers
}

// newMask reads the mask (input slot), padding (input 6) and the attributes.
func newMask[T real](e *Eval, a *attention[T], slot int) (*attentionMask[T], error) {
	m := &attentionMask[T]{
		kvLen:  a.KVLen,
		causal: e.Node.Int("is_causal", 0) != 0,
		left:   int(e.Node.Int("left_window_size", -1)),
		right:  int(e.Node.Int("right_window_size", -1)),
	}
	if m.left < -1 || m.right < -1 {
		return nil, fmt.Errorf("window sizes %d and %d, want -1 or more", m.left, m.right)
	}
	past := 0
	if t := e.Tensor(4); t != nil {
		past = t.Shape()[2]
	}
	m.offset = func(int) int { return past }
	if e.Tensor(6) != nil {
		valid, err := e.ints(6)
		if err != nil {
			return nil, err
		}
		if len(valid) != a.Batch {
			return nil, e.Errorf(6, "want a length for each of %d sequences", a.Batch)
		}
		m.valid = valid
		if e.Tensor(4) == nil {
			m.offset = func(b int) int { return valid[b] - a.QLen }
		}
	}
	var err error
	m.row, err = maskRows[T](e, slot, tensor.Shape{a.Batch, a.QHeads, a.QLen, a.KVLen})
	return m, err
}

// maskRows reads a mask that broadcasts to the scores' shape, of truth values
// or of terms to add. Its last axis may be shorter. The rows hold terms.
func maskRows[T real](e *Eval, slot int, full tensor.Shape) (func(b, h, i int) ([]T, int), error) {
	t := e.Tensor(slot)
	if t == nil {
		return nil, nil
	}
	s := t.Shape()
	if len(s) < 1 || len(s) > 4 {
		return nil, e.Errorf(slot, "mask has %d axes, want 1 to 4", len(s))
	}
	width := s[len(s)-1]
	want := full.Clone()
	want[3] = width
	if both, err := tensor.Broadcast(s, want); err != nil || !both.Equal(want) || width > full[3] {
		return nil, e.Errorf(slot, "mask does not broadcast to %v", full)
	}
	terms := maskTerms[T](t)
	strides := [3]int{}
	for i, step := range s.Strides()[:len(s)-1] {
		if s[i] > 1 {
			strides[3-(len(s)-1)+i] = step
		}
	}
	return func(b, h, i int) ([]T, int) {
		return terms[b*strides[0]+h*strides[1]+i*strides[2]:][:width], width
	}, nil
}

// maskTerms turns truth values into terms: nothing, or -Inf where false.
func maskTerms[T real](t *tensor.Tensor) []T {
	if t.DType() != tensor.Bool {
		return reals[T](t)
	}
	out := make([]T, t.Len())
	for i, ok := range tensor.Data[bool](t) {
		if !ok {
			out[i] = T(math.Inf(-1))
		}
	}
	return out
}

// visible returns the range of keys that query i of sequence b may see.
func (m *attentionMask[T]) visible(b, i int) (lo, hi int) {
	hi = m.kvLen
	at := i + m.offset(b)
	if m.causal {
		hi = min(hi, at+1)
	}
	if m.right >= 0 {
		hi = min(hi, at+m.right+1)
	}
	if m.left >= 0 {
		lo = max(lo, at-m.left)
	}
	if m.valid != nil {
		hi = min(hi, m.valid[b])
	}
	return min(lo, m.kvLen), max(hi, 0)
}

func (m *attentionMask[T]) add(b, h, i int, scores []T) (none bool) {
	lo, hi := m.visible(b, i)
	none = true
	if m.row != nil {
		terms, width := m.row(b, h, i)
		hi = min(hi, width)
		for j := lo; j < hi; j++ {
			scores[j] += terms[j]
			none = none && math.IsInf(float64(terms[j]), -1)
		}
	} else {
		none = lo >= hi
	}
	hide := T(math.Inf(-1))
	fillWith(scores[:min(lo, len(scores))], hide)
	fillWith(scores[max(lo, hi):], hide)
	return none
}
