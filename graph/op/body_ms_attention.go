package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
)

// msBody is the body of an attention of com.microsoft in the making. Inside of
// it queries, keys and values are [B,H,S,h].
type msBody struct {
	bodyWriter
	call           *Call
	heads, kvHeads int
	size, vSize    int // of a query or key, of a value
	q, k, v        string
	past           string // how many keys stand before those of the queries, "" for none
}

func newMSBody(c *Call) (*msBody, error) {
	heads, err := numHeads(c, "num_heads")
	b := &msBody{call: c, heads: heads, kvHeads: heads}
	b.like = "X"
	return b, err
}

// dims returns the shape of input i as far as it is known.
func (b *msBody) dims(i int) graph.Dims {
	if v := b.call.Node.In(i); v != nil && v.Type != nil {
		return v.Type.Shape
	}
	return nil
}

// inHeads divides [B,S,heads*h] into heads.
func (b *msBody) inHeads(x string, heads int) string {
	return b.op("Transpose", "perm = [0, 2, 1, 3]", b.op("Reshape", "", x, b.ints(0, 0, heads, -1)))
}

// join is the inverse of inHeads.
func (b *msBody) join(x string) string {
	return b.op("Reshape", "", b.op("Transpose", "perm = [0, 2, 1, 3]", x), b.ints(0, 0, -1))
}

// scores writes the scaled products of queries and keys.
func (b *msBody) scores() string {
	scale := float64(b.call.Node.Float("scale", 0))
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(b.size))
	}
	keys := b.op("Transpose", "perm = [0, 1, 3, 2]", b.repeatHeads(b.k, b.heads, b.kvHeads))
	return b.op("MatMul", "", b.op("Mul", "", b.q, b.number(scale)), keys)
}

// mix writes the result [B,S,H*h] for weights.
func (b *msBody) mix(weights string) string {
	return b.join(b.op("MatMul", "", weights, b.repeatHeads(b.v, b.heads, b.kvHeads)))
}

// prepend puts past keys or values, "" for none, before the new ones.
func (b *msBody) prepend(past, x string) string {
	if past == "" {
		return x
	}
	return b.op("Concat", "axis = 2", past, x)
}

// attend writes the attention of Attention and MultiHeadAttention, with the
// mask of tokens and the terms of the scores in the given slots.
func (b *msBody) attend(mask, terms int) (string, error) {
	n := b.call.Node
	scores := b.scores()
	if b.call.Has(terms) {
		scores = b.op("Add", "", scores, "T")
	}
	shown, err := b.shown(scores, mask)
	if err != nil {
		return "", err
	}
	if shown != "" {
		hide := b.number(float64(n.Float("mask_filter_value", -10000)))
		scores = b.op("Add", "", scores, b.op("Where", "", shown, b.number(0), hide))
	}
	if n.Int("unidirectional", 0) != 0 {
		scores = b.op("Where", "", b.causal(scores), scores, b.number(-math.MaxFloat32))
	}
	return b.mix(b.op("Softmax", "axis = -1", scores)), nil
}

// causal is what keys a query sees: those up to its own.
func (b *msBody) causal(scores string) string {
	return b.op("LessOrEqual", "", b.places(scores, 3), b.rows(scores))
}

// rows is the place of each query among the keys, as a column.
func (b *msBody) rows(scores string) string {
	rows := b.op("Unsqueeze", "", b.places(scores, 2), b.ints(1))
	if b.past != "" {
		rows = b.op("Add", "", rows, b.past)
	}
	return rows
}

// shown is which tokens the mask, in a slot, shows: see newTokenMask. "" if
// there is no mask.
func (b *msBody) shown(scores string, slot int) (string, error) {
	if !b.call.Has(slot) {
		return "", nil
	}
	s, batch := b.dims(slot), b.dims(0)
	if s == nil {
		return "", fmt.Errorf("input %d: the body needs the axes of the mask, which are not known", slot)
	}
	mask := b.op("Cast", "to = 7", "M")
	columns := b.places(scores, 3)
	lengths := func(x string) string { return b.op("Reshape", "", x, b.ints(-1, 1, 1, 1)) }
	switch len(s) {
	case 1:
		if !s[0].IsKnown() || len(batch) == 0 || !batch[0].IsKnown() || s[0].Size == batch[0].Size {
			return b.op("Less", "", columns, lengths(mask)), nil
		}
		ends := b.ops(2, "Split", "axis = 0", mask, b.ints(batch[0].Size, batch[0].Size))
		return b.op("And", "", b.op("Less", "", columns, lengths(ends[0])), b.op("GreaterOrEqual", "", columns, lengths(ends[1]))), nil
	case 2:
		mask = b.op("Unsqueeze", "", mask, b.ints(1, 2))
	case 3:
		mask = b.op("Unsqueeze", "", mask, b.ints(1))
	case 4:
		size := b.op("Shape", "", scores)
		steps, keys := b.op("Gather", "", size, b.ints(2)), b.op("Gather", "", size, b.ints(3))
		from := b.ints(0)
		if b.past != "" {
			from = b.op("Reshape", "", b.past, b.ints(1))
		}
		starts := b.op("Concat", "axis = 0", from, b.ints(0))
		ends := b.op("Concat", "axis = 0", b.op("Add", "", from, steps), keys)
		mask = b.op("Slice", "", mask, starts, ends, b.ints(2, 3))
	default:
		return "", fmt.Errorf("input %d: mask has %d axes, want 1 to 4", slot, len(s))
	}
	return b.op("Greater", "", mask, b.int(0)), nil
}

// length is the number of steps of past keys [B,H,P,h].
func (b *msBody) length(past string) string {
	return b.op("Squeeze", "", b.op("Gather", "", b.op("Shape", "", past), b.ints(2)))
}

// bodyMSAttention writes Attention: one product makes queries, keys and
// values.
func bodyMSAttention(c *Call) (string, error) {
	b, err := newMSBody(c)
	if err != nil {
		return "", err
	}
	w := b.dims(1)
	if len(w) != 2 || !w[1].IsKnown() {
		return "", fmt.Errorf("the body needs the shape of the weight, which is not known")
	}
	sizes, err := hiddenSizes(c, w[1].Size)
	if err != nil {
		return "", err
	}
	x := b.op("MatMul", "", "X", "W")
	if c.Has(2) {
		x = b.op("Add", "", x, "B")
	}
	parts := b.ops(3, "Split", "axis = -1", x, b.ints(sizes[:]...))
	b.size, b.vSize = sizes[0]/b.heads, sizes[2]/b.heads
	b.q, b.k, b.v = b.inHeads(parts[0], b.heads), b.inHeads(parts[1], b.heads), b.inHeads(parts[2], b.heads)
	if c.Has(4) {
		pasts := b.ops(2, "Split", "axis = 0", "P", b.ints(1, 1))
		pk, pv := b.op("Squeeze", "", pasts[0], b.ints(0)), b.op("Squeeze", "", pasts[1], b.ints(0))
		b.past = b.length(pk)
		b.k, b.v = b.prepend(pk, b.k), b.prepend(pv, b.v)
	}
	y, err := b.attend(3, 5)
	if err != nil {
		return "", err
	}
	b.name("Y", y)
	if c.Node.NumOut() > 1 {
		b.name("Z", b.op("Concat", "axis = 0", b.op("Unsqueeze", "", b.k, b.ints(0)), b.op("Unsqueeze", "", b.v, b.ints(0))))
	}
	in := []string{"X", "W", "B", "M", "P", "T", "N"}[:c.Node.NumIn()]
	return b.function(c.Node.Domain, c.Node.Op, in, []string{"Y", "Z"}[:c.Node.NumOut()]), nil
}

// bodyMultiHead writes MultiHeadAttention; operands may be packed, see
// evalMultiHead.
func bodyMultiHead(c *Call) (string, error) {
	b, err := newMSBody(c)
	if err != nil {
		return "", err
	}
	if err := b.operands(); err != nil {
		return "", err
	}
	if c.Has(6) {
		b.past = b.length("P")
		b.k, b.v = b.prepend("P", b.k), b.prepend("V2", b.v)
	}
	y, err := b.attend(4, 5)
	if err != nil {
		return "", err
	}
	b.name("Y", y)
	b.name("Z", b.k)
	b.name("Z2", b.v)
	in := []string{"X", "K", "V", "B", "M", "T", "P", "V2", "N", "C"}[:c.Node.NumIn()]
	return b.function(c.Node.Domain, c.Node.Op, in, []string{"Y", "Z", "Z2"}[:c.Node.NumOut()]), nil
}

// operands reads queries, keys and values of a MultiHeadAttention and adds
// their bias.
func (b *msBody) operands() error {
	q, k := b.dims(0), b.dims(1)
	known := func(d graph.Dims, axis int) bool { return len(d) > axis && d[axis].IsKnown() }
	unknown := fmt.Errorf("the body needs the shapes of its operands, which are not known")
	heads := "perm = [0, 2, 1, 3]"
	packed := func(x string, i int) string {
		return b.op("Transpose", heads, b.op("Gather", "axis = 3", x, b.int(i)))
	}
	if len(q) == 5 && known(q, 4) {
		b.size, b.vSize = q[4].Size, q[4].Size
		b.q, b.k, b.v = packed("X", 0), packed("X", 1), packed("X", 2)
		b.addBias()
		return nil
	}
	if len(q) != 3 || !known(q, 2) {
		return unknown
	}
	b.size = q[2].Size / b.heads
	b.q = b.inHeads("X", b.heads)
	v := b.dims(2)
	switch {
	case len(k) == 5:
		b.vSize = b.size
		b.k, b.v = packed("K", 0), packed("K", 1)
	case len(k) == 4 && known(v, 3):
		b.vSize = v[3].Size
		b.k, b.v = "K", "V"
	case len(k) == 3 && known(v, 2):
		b.vSize = v[2].Size / b.heads
		b.k, b.v = b.inHeads("K", b.heads), b.inHeads("V", b.heads)
	default:
		return unknown
	}
	b.addBias()
	return nil
}

// addBias adds the parts of the bias to queries, keys and values.
func (b *msBody) addBias() {
	if !b.call.Has(3) {
		return
	}
	width := b.heads * b.size
	parts := b.ops(3, "Split", "axis = 0", "B", b.ints(width, width, b.heads*b.vSize))
	for i, x := range []*string{&b.q, &b.k, &b.v} {
		*x = b.op("Add", "", *x, b.op("Reshape", "", parts[i], b.ints(b.heads, 1, -1)))
	}
}

// bodyGroupQuery writes GroupQueryAttention of whole sequences; with a cache
// of past keys it generates, and is not trained.
func bodyGroupQuery(c *Call) (string, error) {
	b, err := newMSBody(c)
	if err != nil {
		return "", err
	}
	if b.kvHeads, err = numHeads(c, "kv_num_heads"); err != nil {
		return "", err
	}
	if c.Has(3) || c.Has(4) {
		return "", fmt.Errorf("%w: a cache of past keys, which is written in place, belongs to generation", ErrNoGradient)
	}
	if err := b.groups(); err != nil {
		return "", err
	}
	n := c.Node
	scores := b.scores()
	if limit := float64(n.Float("softcap", 0)); limit > 0 {
		scores = b.op("Mul", "", b.number(limit), b.op("Tanh", "", b.op("Div", "", scores, b.number(limit))))
	}
	if c.Has(10) {
		scores = b.op("Add", "", scores, "T")
	}
	keep := b.causal(scores)
	if window := int(n.Int("local_window_size", -1)); window > 0 {
		near := b.op("Greater", "", b.places(scores, 3), b.op("Sub", "", b.rows(scores), b.int(window)))
		keep = b.op("And", "", keep, near)
	}
	scores = b.op("Where", "", keep, scores, b.number(hidden))
	b.name("Y", b.mix(b.withSink(scores)))
	b.name("Z", b.k)
	b.name("Z2", b.v)
	in := []string{"X", "K", "V", "P", "V2", "L", "N", "C", "S", "I", "T", "H"}[:n.NumIn()]
	return b.function(n.Domain, n.Op, in, []string{"Y", "Z", "Z2"}[:n.NumOut()]), nil
}

// groups reads queries, keys and values, which may be packed, and rotates
// them.
func (b *msBody) groups() error {
	q := b.dims(0)
	if len(q) != 3 || !q[2].IsKnown() {
		return fmt.Errorf("the body needs the shape of its queries, which is not known")
	}
	parts := []string{"X", "K", "V"}
	b.size = q[2].Size / b.heads
	if !b.call.Has(1) {
		b.size = q[2].Size / (b.heads + 2*b.kvHeads)
		parts = b.ops(3, "Split", "axis = -1", "X", b.ints(b.heads*b.size, b.kvHeads*b.size, b.kvHeads*b.size))
	}
	if b.call.Node.Int("do_rotary", 0) != 0 {
		parts[0], parts[1] = b.rotated(parts[0], b.heads), b.rotated(parts[1], b.kvHeads)
	}
	b.q, b.k, b.v = b.inHeads(parts[0], b.heads), b.inHeads(parts[1], b.kvHeads), b.inHeads(parts[2], b.kvHeads)
	return nil
}

// rotated applies the rotary embedding to vectors of some heads.
func (b *msBody) rotated(x string, heads int) string {
	ids := "I"
	if !b.call.Has(9) {
		ids = b.ints(0)
	}
	attrs := attr("num_heads", heads) + ", " + attr("interleaved", b.call.Node.Int("rotary_interleaved", 0))
	return b.op("com.microsoft.RotaryEmbedding", attrs, x, ids, "C", "S")
}

// withSink writes the weights of scores, of which a score of no key, one for
// each head or zero, takes its share.
func (b *msBody) withSink(scores string) string {
	smooth := b.call.Node.Int("smooth_softmax", 0) > 0
	if !smooth && !b.call.Has(11) {
		return b.op("Softmax", "axis = -1", scores)
	}
	sink := b.number(0)
	if b.call.Has(11) {
		sink = b.op("Reshape", "", "H", b.ints(1, b.heads, 1, 1))
	}
	size := b.op("Shape", "", scores)
	column := b.op("Expand", "", sink, b.op("Concat", "axis = 0", b.op("Slice", "", size, b.ints(0), b.ints(3)), b.ints(1)))
	all := b.op("Softmax", "axis = -1", b.op("Concat", "axis = -1", scores, column))
	return b.op("Slice", "", all, b.ints(0), b.op("Gather", "", size, b.ints(3)), b.ints(3))
}
