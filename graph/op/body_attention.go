package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// attentionBody is the body of Attention in the making. Inside of it
// operands are [batch, heads, steps, size].
type attentionBody struct {
	bodyWriter
	call            *Call
	rank            int
	qHeads, kvHeads int
	scale           float64
}

// bodyAttention writes Attention as products and a softmax between them.
func bodyAttention(c *Call) (string, error) {
	b, err := newAttentionBody(c)
	if err != nil {
		return "", err
	}
	q, k, v := b.heads("Q", b.qHeads), b.heads("K", b.kvHeads), b.heads("V", b.kvHeads)
	past := b.int(0)
	if c.Has(4) {
		past = b.op("Squeeze", "", b.op("Gather", "", b.op("Shape", "", "PK"), b.ints(2)))
		k, v = b.op("Concat", "axis = 2", "PK", k), b.op("Concat", "axis = 2", "PV", v)
	}
	b.name("present_key", k)
	b.name("present_value", v)
	scores := b.op("MatMul", "", b.op("Mul", "", q, b.number(b.scale)), b.op("Transpose", "perm = [0, 1, 3, 2]", b.repeated(k)))
	stages := []string{scores, "", "", ""}
	if bound := float64(c.Node.Float("softcap", 0)); bound > 0 {
		limit := b.number(bound)
		scores = b.op("Mul", "", limit, b.op("Tanh", "", b.op("Div", "", scores, limit)))
	}
	stages[afterCap] = scores
	scores, keep := b.masked(scores, past)
	stages[afterBias] = scores
	weights := b.op("Softmax", "axis = -1", scores)
	if keep != "" {
		weights = b.op("Where", "", keep, weights, b.number(0))
	}
	stages[afterSoftmax] = weights
	y := b.op("MatMul", "", weights, b.repeated(v))
	if b.rank == 3 {
		y = b.op("Reshape", "", b.op("Transpose", "perm = [0, 2, 1, 3]", y), b.ints(0, 0, -1))
	}
	b.name("Y", y)
	mode := c.Node.Int("qk_matmul_output_mode", 0)
	if mode < 0 || mode > 3 {
		return "", fmt.Errorf("attribute qk_matmul_output_mode is %d, want 0 to 3", mode)
	}
	b.name("QK", stages[mode])
	in := []string{"Q", "K", "V", "M", "PK", "PV", "N"}[:c.Node.NumIn()]
	out := []string{"Y", "present_key", "present_value", "QK"}[:c.Node.NumOut()]
	return b.function(c.Node.Domain, c.Node.Op, in, out), nil
}

func newAttentionBody(c *Call) (*attentionBody, error) {
	dims := func(i int) graph.Dims {
		if v := c.Node.In(i); v != nil && v.Type != nil {
			return v.Type.Shape
		}
		return nil
	}
	q, k := dims(0), dims(1)
	b := &attentionBody{call: c, rank: len(q)}
	b.like = "Q"
	if len(q) != len(k) || len(q) < 3 || len(q) > 4 || !q[len(q)-1].IsKnown() {
		return nil, fmt.Errorf("the body needs the shapes of queries and keys, which are not known")
	}
	size := q[len(q)-1].Size
	if b.rank == 3 {
		b.qHeads, b.kvHeads = int(c.Node.Int("q_num_heads", 0)), int(c.Node.Int("kv_num_heads", 0))
		size /= max(1, b.qHeads)
	} else if q[1].IsKnown() && k[1].IsKnown() {
		b.qHeads, b.kvHeads = q[1].Size, k[1].Size
	}
	if b.kvHeads < 1 || b.qHeads%b.kvHeads != 0 {
		return nil, fmt.Errorf("%d query heads for %d key heads, want a multiple", b.qHeads, b.kvHeads)
	}
	b.scale = float64(c.Node.Float("scale", float32(1/math.Sqrt(float64(size)))))
	return b, nil
}

// heads divides the last axis of an operand of 3 axes into heads.
func (b *attentionBody) heads(x string, heads int) string {
	if b.rank == 4 {
		return x
	}
	return b.op("Transpose", "perm = [0, 2, 1, 3]", b.op("Reshape", "", x, b.ints(0, 0, heads, -1)))
}

// repeated gives every query head the key or value head that it shares.
func (b *attentionBody) repeated(x string) string { return b.repeatHeads(x, b.qHeads, b.kvHeads) }

// repeatHeads repeats each of the key heads of x [B,kvHeads,…] for the query
// heads that share it.
func (w *bodyWriter) repeatHeads(x string, qHeads, kvHeads int) string {
	if qHeads == kvHeads {
		return x
	}
	of := make([]int, qHeads)
	for h := range of {
		of[h] = h / (qHeads / kvHeads)
	}
	return w.op("Gather", "axis = 1", x, w.ints(of...))
}

// hidden stands for minus infinity where that would make gradients no numbers.
const hidden = -3e38

// masked adds the mask to the scores, and hides what is not to be seen; keep
// is what is left, "" if all is.
func (b *attentionBody) masked(scores, past string) (masked, keep string) {
	if b.call.Has(3) {
		mask := b.wholeMask(scores)
		if t := b.call.Node.In(3).Type; t != nil && t.Elem == tensor.Bool {
			keep = mask
		} else {
			scores = b.op("Add", "", scores, mask)
			keep = b.op("Greater", "", mask, b.number(hidden))
		}
	}
	keep = b.both(keep, b.seen(scores, past))
	if keep == "" {
		return scores, ""
	}
	return b.op("Where", "", keep, scores, b.number(hidden)), keep
}

// wholeMask returns the mask, with what is beyond its last axis hidden.
func (b *attentionBody) wholeMask(scores string) string {
	t := b.call.Node.In(3).Type
	if t == nil || len(t.Shape) == 0 {
		return "M"
	}
	last := len(t.Shape) - 1
	keys := b.op("Gather", "", b.op("Shape", "", scores), b.ints(3))
	have := b.op("Gather", "", b.op("Shape", "", "M"), b.ints(last))
	more := b.op("Concat", "axis = 0", b.ints(make([]int, 2*last+1)...), b.op("Sub", "", keys, have))
	if t.Elem == tensor.Bool {
		return b.op("Cast", attr("to", int(tensor.Bool)), b.op("Pad", "", b.op("Cast", attr("to", int(tensor.Int32)), "M"), more))
	}
	return b.op("Pad", "", "M", more, b.number(hidden))
}

// both is the conjunction of two conditions, of which "" always holds.
func (w *bodyWriter) both(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return w.op("And", "", a, b)
}

// seen is what keys a query sees for its place: as is_causal, the window and
// the lengths of sequences that are padded say. "" means all.
func (b *attentionBody) seen(scores, past string) (keep string) {
	n := b.call.Node
	left, right := int(n.Int("left_window_size", -1)), int(n.Int("right_window_size", -1))
	if n.Int("is_causal", 0) != 0 {
		right = 0
	}
	valid := ""
	if b.call.Has(6) {
		valid = b.op("Reshape", "", b.op("Cast", "to = 7", "N"), b.ints(-1, 1, 1, 1))
		if !b.call.Has(4) {
			past = b.op("Sub", "", valid, b.op("Gather", "", b.op("Shape", "", scores), b.ints(2)))
		}
	}
	rows := b.op("Add", "", b.op("Unsqueeze", "", b.places(scores, 2), b.ints(1)), past)
	columns := b.places(scores, 3)
	if right >= 0 {
		keep = b.op("LessOrEqual", "", columns, b.op("Add", "", rows, b.int(right)))
	}
	if left >= 0 {
		keep = b.both(keep, b.op("GreaterOrEqual", "", columns, b.op("Sub", "", rows, b.int(left))))
	}
	if valid != "" {
		keep = b.both(keep, b.op("Less", "", columns, valid))
	}
	return keep
}

// places returns 0, 1, … up to the size of an axis of x.
func (w *bodyWriter) places(x string, axis int) string {
	n := w.op("Squeeze", "", w.op("Gather", "", w.op("Shape", "", x), w.ints(axis)))
	return w.op("Range", "", w.int(0), n, w.int(1))
}
