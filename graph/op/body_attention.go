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
	in := []string{"Q", "K", "V", "M", "PK", "PV"}[:min(6, c.Node.NumIn())]
	out := []string{"Y", "present_key", "present_value", "QK"}[:c.Node.NumOut()]
	return b.function(c.Node.Domain, c.Node.Op, in, out), nil
}

func newAttentionBody(c *Call) (*attentionBody, error) {
	if c.Has(6) || c.Node.Int("left_window_size", -1) >= 0 || c.Node.Int("right_window_size", -1) >= 0 {
		return nil, fmt.Errorf("the body of an attention with padding or a window is not known")
	}
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
func (b *attentionBody) repeated(x string) string {
	if b.qHeads == b.kvHeads {
		return x
	}
	of := make([]int, b.qHeads)
	for h := range of {
		of[h] = h / (b.qHeads / b.kvHeads)
	}
	return b.op("Gather", "axis = 1", x, b.ints(of...))
}

// masked adds the mask to the scores, and hides what a causal attention does
// not see; keep is what is left, "" if all is.
func (b *attentionBody) masked(scores, past string) (masked, keep string) {
	const hidden = -3e38
	if b.call.Has(3) {
		if t := b.call.Node.In(3).Type; t != nil && t.Elem == tensor.Bool {
			keep = "M"
		} else {
			scores = b.op("Add", "", scores, "M")
		}
	}
	if b.call.Node.Int("is_causal", 0) != 0 {
		rows := b.op("Unsqueeze", "", b.op("Add", "", b.count(scores, 2), past), b.ints(1))
		seen := b.op("LessOrEqual", "", b.count(scores, 3), rows)
		if keep == "" {
			keep = seen
		} else {
			keep = b.op("And", "", keep, seen)
		}
	}
	if keep == "" {
		return scores, ""
	}
	return b.op("Where", "", keep, scores, b.number(hidden)), keep
}

// count returns 0, 1, … up to the size of an axis of x.
func (b *attentionBody) count(x string, axis int) string {
	n := b.op("Squeeze", "", b.op("Gather", "", b.op("Shape", "", x), b.ints(axis)))
	return b.op("Range", "", b.int(0), n, b.int(1))
}
