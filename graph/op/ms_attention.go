package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// msAttentionDefs holds attention and its companions in com.microsoft.
var msAttentionDefs = []*Def{
	{Domain: microsoft, Name: "Attention", Since: 1, Axes: msAttentionAxes, Infer: inferMSAttention, Eval: evalMSAttention, Cost: msAttentionCost},
	{Domain: microsoft, Name: "MultiHeadAttention", Since: 1, Axes: multiHeadAxes, Infer: inferMultiHead, Eval: evalMultiHead, Cost: attentionCost},
	{Domain: microsoft, Name: "GroupQueryAttention", Since: 1, Axes: groupQueryAxes, Infer: inferGroupQuery, Eval: evalGroupQuery, Cost: attentionCost},
	{Domain: microsoft, Name: "RotaryEmbedding", Since: 1, Infer: inferSame, Eval: evalMSRotary, Cost: perElement(3)},
}

// numHeads reads an attribute that counts heads.
func numHeads(c *Call, name string) (int, error) {
	n := int(c.Node.Int(name, 0))
	if n < 1 {
		return 0, fmt.Errorf("attribute %s is %d, want at least 1", name, n)
	}
	return n, nil
}

// hiddenSizes returns the widths of queries, keys and values that the weight
// of an Attention gives side by side.
func hiddenSizes(c *Call, width int) ([3]int, error) {
	if list := c.Node.Ints("qkv_hidden_sizes"); len(list) > 0 {
		if len(list) != 3 || int(list[0]+list[1]+list[2]) != width || list[0] != list[1] || list[2] < 0 || list[0] < 0 {
			return [3]int{}, fmt.Errorf("attribute qkv_hidden_sizes is %v, want three sizes with a sum of %d, the first two equal", list, width)
		}
		return [3]int{int(list[0]), int(list[1]), int(list[2])}, nil
	}
	if width%3 != 0 {
		return [3]int{}, fmt.Errorf("weight has %d columns, want a multiple of 3", width)
	}
	return [3]int{width / 3, width / 3, width / 3}, nil
}

// inferMSAttention types the result [B,S,Dv] and the present state
// [2,B,H,P+S,h].
func inferMSAttention(c *Infer) error {
	heads, err := numHeads(&c.Call, "num_heads")
	if err != nil {
		return err
	}
	x, w := c.Shape(0), c.Shape(1)
	if len(x) != 3 || len(w) != 2 || !w[1].IsKnown() {
		c.SetOut(0, c.Elem(0), nil)
		c.SetOut(1, c.Elem(0), nil)
		return nil
	}
	sizes, err := hiddenSizes(&c.Call, w[1].Size)
	if err != nil {
		return c.Errorf(1, "%w", err)
	}
	c.SetOut(0, c.Elem(0), graph.Dims{x[0], x[1], graph.Known(sizes[2])})
	total := x[1]
	if past := c.Shape(4); len(past) == 5 {
		total = total.Plus(past[3])
	} else if c.Has(4) {
		total = graph.Unknown()
	}
	c.SetOut(1, c.Elem(0), graph.Dims{graph.Known(2), x[0], graph.Known(heads), total, graph.Known(sizes[0] / heads)})
	return nil
}

func msAttentionCost(c *Infer) Cost {
	x, okX := c.Shape(0).Static()
	w, okW := c.Shape(1).Static()
	if !okX || !okW || len(x) != 3 || len(w) != 2 {
		return Cost{}
	}
	steps, width := int64(x[1]), int64(w[1])
	return matrixCost(c, int64(x.Len())*width+int64(x[0])*steps*steps*width*2/3)
}

// evalMSAttention computes Attention of com.microsoft: inputs input, weights,
// bias, mask_index, past [2,B,H,P,h], attention_bias.
func evalMSAttention(e *Eval) error {
	heads, err := numHeads(&e.Call, "num_heads")
	if err != nil {
		return err
	}
	s, ws := e.Tensor(0).Shape(), e.Tensor(1).Shape()
	if len(s) != 3 || len(ws) != 2 || ws[0] != s[2] {
		return e.Errorf(1, "weight does not fit, want [%d,D]", s[len(s)-1])
	}
	sizes, err := hiddenSizes(&e.Call, ws[1])
	if err != nil {
		return e.Errorf(1, "%w", err)
	}
	if sizes[0]%heads != 0 || sizes[2]%heads != 0 {
		return e.Errorf(1, "%d heads do not divide widths %v", heads, sizes)
	}
	qkv := make([]float32, s[0]*s[1]*ws[1])
	multiplyMatrices(e, rowMajor(qkv, ws[1]), rowMajor(realsOf[float32](e, 0), s[2]), rowMajor(realsOf[float32](e, 1), ws[1]),
		s[0]*s[1], ws[1], s[2])
	if bias := realsOf[float32](e, 2); bias != nil {
		if len(bias) != ws[1] {
			return e.Errorf(2, "bias has %d elements, want %d", len(bias), ws[1])
		}
		for r := range s[0] * s[1] {
			addBias(qkv[r*ws[1]:][:ws[1]], bias)
		}
	}
	a := &attention[float32]{
		Batch: s[0], QHeads: heads, KVHeads: heads, QLen: s[1], KVLen: s[1],
		Size: sizes[0] / heads, VSize: sizes[2] / heads,
	}
	view := func(from, size int) headView[float32] {
		return headView[float32]{qkv[min(from, len(qkv)):], s[1] * ws[1], size, ws[1]}
	}
	a.Q, a.K, a.V = view(0, a.Size), view(sizes[0], a.Size), view(2*sizes[0], a.VSize)
	past, err := a.appendPacked(e)
	if err != nil {
		return err
	}
	return setMSAttention(e, a, past, 3, 5)
}

// appendPacked puts the past state [2,B,H,P,h] (input 4) before keys and
// values, hands the whole over as result 1 and returns P.
func (a *attention[T]) appendPacked(e *Eval) (int, error) {
	t := e.Tensor(4)
	if t == nil && !e.Wants(1) {
		return 0, nil
	}
	if a.Size != a.VSize {
		return 0, e.Errorf(4, "a state needs keys and values of one size, they have %d and %d", a.Size, a.VSize)
	}
	past, oldK, oldV := 0, []T(nil), []T(nil)
	if t != nil {
		s := t.Shape()
		if len(s) != 5 || s[0] != 2 || s[1] != a.Batch || s[2] != a.KVHeads || s[4] != a.Size {
			return 0, e.Errorf(4, "want [2,%d,%d,P,%d]", a.Batch, a.KVHeads, a.Size)
		}
		past = s[3]
		both := reals[T](t)
		oldK, oldV = both[:len(both)/2], both[len(both)/2:]
	}
	total := past + a.KVLen
	y := newResult[T](e, e.Tensor(0).DType(), tensor.Shape{2, a.Batch, a.KVHeads, total, a.Size})
	half := len(y.Data) / 2
	a.K = joinSteps(y.Data[:half], oldK, a.K, a.Batch, a.KVHeads, past, a.KVLen, a.Size)
	a.V = joinSteps(y.Data[half:], oldV, a.V, a.Batch, a.KVHeads, past, a.KVLen, a.Size)
	a.KVLen = total
	return past, setReal(e, 1, y)
}

// setMSAttention runs an attention whose mask and bias are the given inputs and
// hands over the result [B,S,H*h].
func setMSAttention(e *Eval, a *attention[float32], past, mask, bias int) error {
	a.Scale = float64(e.Node.Float("scale", 0))
	if a.Scale == 0 {
		a.Scale = 1 / math.Sqrt(float64(a.Size))
	}
	hide, err := newTokenMask(e, a, mask, past)
	if err != nil {
		return err
	}
	full := tensor.Shape{a.Batch, a.QHeads, a.QLen, a.KVLen}
	terms, err := maskRows[float32](e, bias, full)
	if err != nil {
		return err
	}
	a.Bias = func(b, h, i int, scores []float32) bool {
		if terms != nil {
			row, width := terms(b, h, i)
			for j := range width {
				scores[j] += row[j]
			}
		}
		hide.add(b, i, scores)
		return false
	}
	y := newResult[float32](e, e.Tensor(0).DType(), tensor.Shape{a.Batch, a.QLen, a.QHeads * a.VSize})
	a.Out = viewBTHD(y.Data, a.QHeads, a.QLen, a.VSize)
	a.run(e)
	return setReal(e, 0, y)
}

// tokenMask hides keys from queries by adding a large negative value, as the
// operators of ONNX Runtime do.
type tokenMask struct {
	value  float32
	causal bool
	past   int
	shown  func(b, i, j int) bool // nil: all
}

// newTokenMask reads a mask: lengths [B], ends and starts [2*B], or zeros and
// ones [B,T], [B,S,T] or [B,1,M,M].
func newTokenMask(e *Eval, a *attention[float32], slot, past int) (*tokenMask, error) {
	m := &tokenMask{
		value:  e.Node.Float("mask_filter_value", -10000),
		causal: e.Node.Int("unidirectional", 0) != 0,
		past:   past,
	}
	t := e.Tensor(slot)
	if t == nil {
		return m, nil
	}
	s, list := t.Shape(), int32s(t)
	switch {
	case s.Equal(tensor.Shape{a.Batch}):
		m.shown = func(b, _, j int) bool { return j < int(list[b]) }
	case s.Equal(tensor.Shape{2 * a.Batch}):
		m.shown = func(b, _, j int) bool { return j < int(list[b]) && j >= int(list[a.Batch+b]) }
	case s.Equal(tensor.Shape{a.Batch, a.KVLen}):
		m.shown = func(b, _, j int) bool { return list[b*a.KVLen+j] > 0 }
	case s.Equal(tensor.Shape{a.Batch, a.QLen, a.KVLen}):
		m.shown = func(b, i, j int) bool { return list[(b*a.QLen+i)*a.KVLen+j] > 0 }
	case len(s) == 4 && s[0] == a.Batch && s[1] == 1 && s[2] == s[3] && s[2] >= a.KVLen:
		size := s[2]
		m.shown = func(b, i, j int) bool { return list[(b*size+past+i)*size+j] > 0 }
	default:
		return nil, e.Errorf(slot, "mask does not fit %d queries and %d keys of %d sequences", a.QLen, a.KVLen, a.Batch)
	}
	return m, nil
}

func (m *tokenMask) add(b, i int, scores []float32) {
	for j := range scores {
		if m.shown != nil && !m.shown(b, i, j) {
			scores[j] += m.value
		}
		if m.causal && j > m.past+i {
			scores[j] = -math.MaxFloat32
		}
	}
}

// inferMultiHead types the result [B,S,Dv] and the present keys and values.
func inferMultiHead(c *Infer) error {
	heads, err := numHeads(&c.Call, "num_heads")
	if err != nil {
		return err
	}
	q, k, v := c.Shape(0), c.Shape(1), c.Shape(2)
	if q == nil {
		for i := range 3 {
			c.SetOut(i, c.Elem(0), nil)
		}
		return nil
	}
	h := graph.Known(heads)
	out, keys := graph.Dims{q[0], q[1], graph.Unknown()}, graph.Unknown()
	size, vSize := graph.Unknown(), graph.Unknown()
	switch {
	case len(q) == 5: // [B,S,H,3,h]
		size, vSize, keys = q[4], q[4], q[1]
	case len(k) == 5: // [B,L,H,2,h]
		size, vSize, keys = k[4], k[4], k[1]
	case len(k) == 4 && len(v) == 4: // [B,H,L,h]
		size, vSize, keys = k[3], v[3], k[2]
	case len(k) == 3 && len(v) == 3:
		size, vSize, keys = divDim(k[2], heads), divDim(v[2], heads), k[1]
	}
	out[2] = mulDim(vSize, heads)
	if past := c.Shape(6); len(past) == 4 {
		keys = keys.Plus(past[2])
	}
	c.SetOut(0, c.Elem(0), out)
	c.SetOut(1, c.Elem(0), graph.Dims{q[0], h, keys, size})
	c.SetOut(2, c.Elem(0), graph.Dims{q[0], h, keys, vSize})
	return nil
}

// evalMultiHead computes MultiHeadAttention: inputs query, key, value, bias,
// key_padding_mask, attention_bias, past_key, past_value. Operands may be
// packed: query as [B,S,H,3,h] or key as [B,L,H,2,h].
func evalMultiHead(e *Eval) error {
	a, err := newMultiHead(e)
	if err != nil {
		return err
	}
	past := 0
	if pk, pv := e.Tensor(6), e.Tensor(7); pk != nil || pv != nil || e.Wants(1) {
		if past, err = a.appendKeyValue(e, pk, pv); err != nil {
			return err
		}
	}
	return setMSAttention(e, a, past, 4, 5)
}

func newMultiHead(e *Eval) (*attention[float32], error) {
	heads, err := numHeads(&e.Call, "num_heads")
	if err != nil {
		return nil, err
	}
	q := e.Tensor(0).Shape()
	a := &attention[float32]{QHeads: heads, KVHeads: heads}
	data := realsOf[float32](e, 0)
	switch {
	case len(q) == 5 && q[2] == heads && q[3] == 3:
		a.Batch, a.QLen, a.KVLen, a.Size, a.VSize = q[0], q[1], q[1], q[4], q[4]
		a.Q, a.K, a.V = packedView(data, q, 0), packedView(data, q, 1), packedView(data, q, 2)
		return a, a.addHeadBias(e)
	case len(q) != 3 || q[2]%heads != 0:
		return nil, e.Errorf(0, "want [B,S,%d*h] or [B,S,%d,3,h]", heads, heads)
	}
	a.Batch, a.QLen, a.Size = q[0], q[1], q[2]/heads
	a.Q = viewBTHD(data, heads, a.QLen, a.Size)
	if e.Tensor(1) == nil {
		return nil, e.Errorf(1, "keys are missing")
	}
	if err := a.readKeyValue(e); err != nil {
		return nil, err
	}
	return a, a.addHeadBias(e)
}

// packedView sees one of the vectors packed at each position and head of a
// tensor [B,S,H,n,h].
func packedView(data []float32, s tensor.Shape, which int) headView[float32] {
	row := s[3] * s[4]
	return headView[float32]{data[min(which*s[4], len(data)):], s[1] * s[2] * row, row, s[2] * row}
}

// readKeyValue sets keys and values from inputs 1 and 2.
func (a *attention[T]) readKeyValue(e *Eval) error {
	k := e.Tensor(1).Shape()
	data, heads := realsOf[T](e, 1), a.KVHeads
	if len(k) == 5 && k[0] == a.Batch && k[2] == heads && k[3] == 2 && k[4] == a.Size {
		row := 2 * a.Size
		a.KVLen, a.VSize = k[1], a.Size
		a.K = headView[T]{data, k[1] * heads * row, row, heads * row}
		a.V = headView[T]{data[min(a.Size, len(data)):], k[1] * heads * row, row, heads * row}
		return nil
	}
	t := e.Tensor(2)
	if t == nil {
		return e.Errorf(2, "values are missing")
	}
	v := t.Shape()
	switch {
	case len(k) == 3 && len(v) == 3 && k[0] == a.Batch && v[0] == a.Batch && k[1] == v[1] && k[2] == heads*a.Size && v[2]%heads == 0:
		a.KVLen, a.VSize = k[1], v[2]/heads
		a.K, a.V = viewBTHD(data, heads, a.KVLen, a.Size), viewBTHD(reals[T](t), heads, a.KVLen, a.VSize)
	case len(k) == 4 && len(v) == 4 && k.Equal(tensor.Shape{a.Batch, heads, v[2], a.Size}) && v[0] == a.Batch && v[1] == heads:
		a.KVLen, a.VSize = k[2], v[3]
		a.K, a.V = viewBHTD(data, heads, a.KVLen, a.Size), viewBHTD(reals[T](t), heads, a.KVLen, a.VSize)
	default:
		return e.Errorf(1, "keys do not fit values %v and queries of %d heads of %d elements", v, heads, a.Size)
	}
	return nil
}

// addHeadBias adds the parts of input 3 to queries, keys and values.
func (a *attention[T]) addHeadBias(e *Eval) error {
	bias := realsOf[T](e, 3)
	if bias == nil {
		return nil
	}
	qWidth, vWidth := a.QHeads*a.Size, a.KVHeads*a.VSize
	if len(bias) != 2*qWidth+vWidth {
		return e.Errorf(3, "bias has %d elements, want %d", len(bias), 2*qWidth+vWidth)
	}
	a.Q = a.Q.plus(bias[:qWidth], a.Batch, a.QHeads, a.QLen, a.Size)
	a.K = a.K.plus(bias[qWidth:2*qWidth], a.Batch, a.KVHeads, a.KVLen, a.Size)
	a.V = a.V.plus(bias[2*qWidth:], a.Batch, a.KVHeads, a.KVLen, a.VSize)
	return nil
}

// plus returns a copy of the vectors of a view with a bias added to those of
// each head.
func (v headView[T]) plus(bias []T, batch, heads, steps, size int) headView[T] {
	out := viewBTHD(make([]T, batch*steps*heads*size), heads, steps, size)
	for b := range batch {
		for h := range heads {
			for t := range steps {
				dst := out.of(b, h)[t*out.Step:][:size]
				copy(dst, v.of(b, h)[t*v.Step:])
				addBias(dst, bias[h*size:][:size])
			}
		}
	}
	return out
}

// appendKeyValue puts past keys and values [B,H,P,h] before the new ones, hands
// the whole over as results 1 and 2 and returns P.
func (a *attention[T]) appendKeyValue(e *Eval, pk, pv *tensor.Tensor) (int, error) {
	past, oldK, oldV := 0, []T(nil), []T(nil)
	if (pk == nil) != (pv == nil) {
		return 0, fmt.Errorf("past keys and past values come together")
	}
	if pk != nil {
		s := pk.Shape()
		if len(s) != 4 || s[0] != a.Batch || s[1] != a.KVHeads || s[3] != a.Size {
			return 0, fmt.Errorf("past keys %v, want [%d,%d,P,%d]", s, a.Batch, a.KVHeads, a.Size)
		}
		if want := (tensor.Shape{a.Batch, a.KVHeads, s[2], a.VSize}); !pv.Shape().Equal(want) {
			return 0, fmt.Errorf("past values %v, want %v", pv.Shape(), want)
		}
		past, oldK, oldV = s[2], reals[T](pk), reals[T](pv)
	}
	total, d := past+a.KVLen, e.Tensor(0).DType()
	keys := newResult[T](e, d, tensor.Shape{a.Batch, a.KVHeads, total, a.Size})
	values := newResult[T](e, d, tensor.Shape{a.Batch, a.KVHeads, total, a.VSize})
	a.K = joinSteps(keys.Data, oldK, a.K, a.Batch, a.KVHeads, past, a.KVLen, a.Size)
	a.V = joinSteps(values.Data, oldV, a.V, a.Batch, a.KVHeads, past, a.KVLen, a.VSize)
	a.KVLen = total
	if err := setReal(e, 1, keys); err != nil {
		return 0, err
	}
	return past, setReal(e, 2, values)
}
