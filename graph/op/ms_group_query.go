package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// inferGroupQuery types the result [B,S,H*h] and the present keys and values.
func inferGroupQuery(c *Infer) error {
	heads, err := numHeads(&c.Call, "num_heads")
	if err != nil {
		return err
	}
	kvHeads, err := numHeads(&c.Call, "kv_num_heads")
	if err != nil {
		return err
	}
	q := c.Shape(0)
	if len(q) != 3 {
		for i := range 3 {
			c.SetOut(i, c.Elem(0), nil)
		}
		return nil
	}
	size := divDim(q[2], heads)
	if !c.Has(1) {
		size = divDim(q[2], heads+2*kvHeads)
	}
	total := graph.Unknown()
	if t := c.Const(6); t != nil && t.Len() == 1 {
		total = graph.Known(int(int32s(t)[0]))
		if past := c.Shape(3); len(past) == 4 {
			total = total.Max(past[2])
		}
	}
	present := graph.Dims{q[0], graph.Known(kvHeads), total, size}
	c.SetOut(0, c.Elem(0), graph.Dims{q[0], q[1], mulDim(size, heads)})
	c.SetOut(1, c.Elem(0), present)
	c.SetOut(2, c.Elem(0), present)
	return nil
}

// groupQuery is a call of GroupQueryAttention: inputs query, key, value,
// past_key, past_value, seqlens_k, total_sequence_length, cos_cache,
// sin_cache, position_ids, attention_bias, head_sink. Keys and values may be
// packed behind the queries.
type groupQuery struct {
	*attention[float32]
	total  int   // positions of the cache that are used
	lens   []int // valid positions of each sequence, new ones included
	window int   // how many positions back a query sees, -1 for all
	sink   []float32
	smooth bool
}

func newGroupQuery(e *Eval) (*groupQuery, error) {
	heads, err := numHeads(&e.Call, "num_heads")
	if err != nil {
		return nil, err
	}
	kvHeads, err := numHeads(&e.Call, "kv_num_heads")
	if err != nil {
		return nil, err
	}
	s := e.Tensor(0).Shape()
	columns := heads
	if e.Tensor(1) == nil {
		columns += 2 * kvHeads
	}
	if heads%kvHeads != 0 || len(s) != 3 || s[2]%columns != 0 {
		return nil, e.Errorf(0, "queries of %d heads do not fit %d key heads", heads, kvHeads)
	}
	a := &attention[float32]{
		Batch: s[0], QHeads: heads, KVHeads: kvHeads, QLen: s[1], KVLen: s[1], Size: s[2] / columns,
		Softcap: float64(e.Node.Float("softcap", 0)), Scale: float64(e.Node.Float("scale", 0)),
	}
	a.VSize = a.Size
	if a.Scale == 0 {
		a.Scale = 1 / math.Sqrt(float64(a.Size))
	}
	g := &groupQuery{attention: a, window: int(e.Node.Int("local_window_size", -1)),
		smooth: e.Node.Int("smooth_softmax", 0) > 0, sink: realsOf[float32](e, 11)}
	if g.sink != nil && len(g.sink) != heads {
		return nil, e.Errorf(11, "want a number for each of %d heads", heads)
	}
	if err := g.readOperands(e, s[2]); err != nil {
		return nil, err
	}
	return g, g.readLengths(e)
}

func (g *groupQuery) readOperands(e *Eval, width int) error {
	data := realsOf[float32](e, 0)
	if e.Tensor(1) == nil {
		view := func(head int) headView[float32] {
			return headView[float32]{data[min(head*g.Size, len(data)):], g.QLen * width, g.Size, width}
		}
		g.Q, g.K, g.V = view(0), view(g.QHeads), view(g.QHeads+g.KVHeads)
		return nil
	}
	g.Q = viewBTHD(data, g.QHeads, g.QLen, g.Size)
	want := tensor.Shape{g.Batch, g.QLen, g.KVHeads * g.Size}
	for i := 1; i <= 2; i++ {
		if t := e.Tensor(i); t == nil || !t.Shape().Equal(want) {
			return e.Errorf(i, "want %v", want)
		}
	}
	g.K = viewBTHD(realsOf[float32](e, 1), g.KVHeads, g.QLen, g.Size)
	g.V = viewBTHD(realsOf[float32](e, 2), g.KVHeads, g.QLen, g.Size)
	return nil
}

func (g *groupQuery) readLengths(e *Eval) error {
	last, err := ints(e.Tensor(5))
	if err != nil || len(last) != g.Batch {
		return e.Errorf(5, "want a length for each of %d sequences", g.Batch)
	}
	if g.total, err = e.int(6, 0); err != nil {
		return err
	}
	for _, n := range last {
		if n < 0 || n >= g.total {
			return e.Errorf(5, "length %d, want at least 0 and less than the total of %d", n, g.total)
		}
		g.lens = append(g.lens, n+1)
	}
	return nil
}

// before returns how many positions of sequence b the cache holds already. A
// prompt begins with none, and may be padded at its end.
func (g *groupQuery) before(b int) int {
	if g.QLen == g.total {
		return 0
	}
	return max(0, g.lens[b]-g.QLen)
}

// evalGroupQuery computes GroupQueryAttention.
func evalGroupQuery(e *Eval) error {
	g, err := newGroupQuery(e)
	if err != nil {
		return err
	}
	if e.Node.Int("do_rotary", 0) != 0 {
		if err := g.rotate(e); err != nil {
			return err
		}
	}
	if err := g.fillCache(e); err != nil {
		return err
	}
	terms, err := maskRows[float32](e, 10, tensor.Shape{g.Batch, g.QHeads, g.QLen, g.total})
	if err != nil {
		return err
	}
	g.Bias = func(b, h, i int, scores []float32) bool {
		if terms != nil {
			row, width := terms(b, h, i)
			for j := range width {
				scores[j] += row[j]
			}
		}
		return g.hide(b, i, scores)
	}
	y := newResult[float32](e, e.Tensor(0).DType(), tensor.Shape{g.Batch, g.QLen, g.QHeads * g.Size})
	g.Out = viewBTHD(y.Data, g.QHeads, g.QLen, g.Size)
	if g.smooth || g.sink != nil {
		g.Sink = func(h int) float32 {
			if g.sink == nil {
				return 0
			}
			return g.sink[h]
		}
	}
	g.run(e)
	return setReal(e, 0, y)
}

// hide keeps query i from later positions and those beyond its window.
func (g *groupQuery) hide(b, i int, scores []float32) (none bool) {
	at := g.before(b) + i
	hi := min(at+1, len(scores))
	lo := 0
	if g.window > 0 {
		lo = max(0, at+1-g.window)
	}
	out := float32(math.Inf(-1))
	fillWith(scores[:min(lo, hi)], out)
	fillWith(scores[hi:], out)
	return lo >= hi
}

// rotate applies the rotary embedding to queries and keys.
func (g *groupQuery) rotate(e *Eval) error {
	r := &rotary{
		batch: g.Batch, heads: g.QHeads, steps: g.QLen, size: g.Size,
		interleaved: e.Node.Int("rotary_interleaved", 0) != 0,
		cos:         realsOf[float32](e, 7), sin: realsOf[float32](e, 8),
	}
	cos := e.Tensor(7)
	if cos == nil || e.Tensor(8) == nil || cos.Rank() != 2 || !cos.Shape().Equal(e.Tensor(8).Shape()) || 2*cos.Shape()[1] > g.Size {
		return e.Errorf(7, "rotary embeddings need caches [n,h/2]")
	}
	r.rotated = 2 * cos.Shape()[1]
	rows := cos.Shape()[0]
	r.at = func(b, t int) int { return min(g.before(b)+t, rows-1) }
	if ids := e.Tensor(9); ids != nil {
		list, err := indices(ids, rows)
		if err != nil || len(list) != g.Batch*g.QLen {
			return e.Errorf(9, "want a position for each of %d tokens", g.Batch*g.QLen)
		}
		r.at = func(b, t int) int { return list[b*g.QLen+t] }
	}
	q := viewBTHD(make([]float32, g.Batch*g.QLen*g.QHeads*g.Size), g.QHeads, g.QLen, g.Size)
	r.apply(e, q, g.Q)
	k := viewBTHD(make([]float32, g.Batch*g.QLen*g.KVHeads*g.Size), g.KVHeads, g.QLen, g.Size)
	r.heads = g.KVHeads
	r.apply(e, k, g.K)
	g.Q, g.K = q, k
	return nil
}

// fillCache writes the new keys and values behind those of the past and hands
// the caches over as results 1 and 2.
func (g *groupQuery) fillCache(e *Eval) error {
	steps := g.total
	var past [2][]float32
	for i := range past {
		t := e.Tensor(3 + i)
		if t == nil {
			continue
		}
		s := t.Shape()
		if len(s) != 4 || s[0] != g.Batch || s[1] != g.KVHeads || s[3] != g.Size {
			return e.Errorf(3+i, "want [%d,%d,P,%d]", g.Batch, g.KVHeads, g.Size)
		}
		past[i] = reals[float32](t)
		steps = max(steps, s[2])
	}
	shape := tensor.Shape{g.Batch, g.KVHeads, steps, g.Size}
	for i, v := range []*headView[float32]{&g.K, &g.V} {
		y := newResult[float32](e, e.Tensor(0).DType(), shape)
		clear(y.Data)
		cache := viewBHTD(y.Data, g.KVHeads, steps, g.Size)
		rows := len(past[i]) / max(1, g.Batch*g.KVHeads*g.Size)
		for b := range g.Batch {
			for h := range g.KVHeads {
				g.fillHead(cache.of(b, h), past[i], rows, *v, b, h)
			}
		}
		*v = cache
		if err := setReal(e, 1+i, y); err != nil {
			return err
		}
	}
	g.KVLen = g.total
	return nil
}

// fillHead writes the cache of one head of one sequence.
func (g *groupQuery) fillHead(to, past []float32, rows int, fresh headView[float32], b, h int) {
	before := min(g.before(b), rows)
	copy(to[:before*g.Size], past[min((b*g.KVHeads+h)*rows*g.Size, len(past)):])
	from := fresh.of(b, h)
	for t := range g.QLen {
		if at := (g.before(b) + t) * g.Size; at < len(to) {
			copy(to[at:][:g.Size], from[t*fresh.Step:])
		}
	}
}

// evalMSRotary computes RotaryEmbedding of com.microsoft: inputs input
// [B,S,H*h] or [B,H,S,h], position_ids ([1], where the first token stands, or
// [B,S]), cos_cache and sin_cache [n,h/2].
func evalMSRotary(e *Eval) error {
	x, cos, ids := e.Tensor(0), e.Tensor(2), e.Tensor(1)
	s := x.Shape()
	if cos.Rank() != 2 || !cos.Shape().Equal(e.Tensor(3).Shape()) {
		return e.Errorf(2, "want caches [n,h/2]")
	}
	r := &rotary{interleaved: e.Node.Int("interleaved", 0) != 0, rotated: 2 * cos.Shape()[1]}
	view := viewBHTD[float32]
	switch len(s) {
	case 4:
		r.batch, r.heads, r.steps, r.size = s[0], s[1], s[2], s[3]
	case 3:
		if r.heads = int(e.Node.Int("num_heads", 0)); r.heads < 1 {
			r.heads = s[2] / max(1, r.rotated)
		}
		if r.heads < 1 || s[2]%r.heads != 0 {
			return e.Errorf(0, "%d heads do not divide %d", r.heads, s[2])
		}
		r.batch, r.steps, r.size = s[0], s[1], s[2]/r.heads
		view = viewBTHD[float32]
	default:
		return e.Errorf(0, "input has %d axes, want 3 or 4", len(s))
	}
	if err := r.readPositions(e, ids, cos.Shape()[0]); err != nil {
		return err
	}
	if r.rotated > r.size {
		return e.Errorf(2, "caches rotate %d elements of %d", r.rotated, r.size)
	}
	r.cos, r.sin = realsOf[float32](e, 2), realsOf[float32](e, 3)
	y := newResult[float32](e, x.DType(), s)
	r.apply(e, view(y.Data, r.heads, r.steps, r.size), view(reals[float32](x), r.heads, r.steps, r.size))
	return setReal(e, 0, y)
}

// readPositions reads the position of each token, or of the first.
func (r *rotary) readPositions(e *Eval, ids *tensor.Tensor, rows int) error {
	list, err := indices(ids, rows)
	switch {
	case err != nil:
		return e.Errorf(1, "%w", err)
	case len(list) == 1 && r.batch*r.steps != 1:
		if list[0]+r.steps > rows {
			return e.Errorf(1, "position %d is outside of the %d rows of the caches", list[0]+r.steps-1, rows)
		}
		r.at = func(_, t int) int { return list[0] + t }
	case len(list) == r.batch*r.steps:
		r.at = func(b, t int) int { return list[b*r.steps+t] }
	default:
		return e.Errorf(1, "want one position, or one for each of %d tokens", r.batch*r.steps)
	}
	return nil
}
