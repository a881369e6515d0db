package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

func inferFlexAttention(c *Infer) error {
	q, v := c.Shape(0), c.Shape(2)
	if len(q) != 4 || len(v) != 4 {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	c.SetOut(0, c.Elem(0), graph.Dims{q[0], q[1], q[2], v[3]})
	return nil
}

// evalFlexAttention computes FlexAttention: attention whose scores and
// weights pass through subgraphs of the node.
func evalFlexAttention[T real](e *Eval) error {
	if n := e.Tensor(0).Rank(); n != 4 {
		return e.Errorf(0, "query has %d axes, want 4", n)
	}
	a, shape, err := newAttention[T](e)
	if err != nil {
		return err
	}
	d := tensor.DType(e.Node.Int("softmax_precision", int64(tensor.Float32)))
	if e.Node.Attr("softmax_precision") == nil && e.Tensor(0).DType() == tensor.Float64 {
		d = tensor.Float64
	}
	if !d.IsFloat() {
		return fmt.Errorf("attribute softmax_precision is %v, want a floating-point type", d)
	}
	full := tensor.Shape{a.Batch, a.QHeads, a.QLen, a.KVLen}
	size := a.QLen * a.KVLen
	scores := make([]T, full.Len())
	e.Parallel(a.Batch*a.QHeads, 1, func(lo, hi int) {
		for u := lo; u < hi; u++ {
			a.scores(e, u/a.QHeads, u%a.QHeads, scores[u*size:][:size])
		}
	})
	if scores, err = modify(e, "score_mod", d, full, scores); err != nil {
		return err
	}
	for i := range a.Batch * a.QHeads * a.QLen {
		softmaxOr0(scores[i*a.KVLen:][:a.KVLen], false)
	}
	if scores, err = modify(e, "prob_mod", d, full, scores); err != nil {
		return err
	}
	y := newResult[T](e, e.Tensor(2).DType(), shape)
	a.Out = viewBHTD(y.Data, a.QHeads, a.QLen, a.VSize)
	e.Parallel(a.Batch*a.QHeads, 1, func(lo, hi int) {
		for u := lo; u < hi; u++ {
			a.mix(e, u/a.QHeads, u%a.QHeads, scores[u*size:][:size])
		}
	})
	return setReal(e, 0, y)
}

// modify passes x through the subgraph of an attribute, if there is one.
func modify[T real](e *Eval, attr string, d tensor.DType, s tensor.Shape, x []T) ([]T, error) {
	g := e.Node.Attr(attr)
	if g == nil || len(g.Graphs) != 1 {
		return x, nil
	}
	in := tensor.New(d, s)
	if err := tensor.ConvertTo(in, tensor.Of(s, x), true, tensor.RoundUp); err != nil {
		return nil, err
	}
	out, err := e.Sub(g.Graphs[0], []tensor.Value{in})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", attr, err)
	}
	if len(out) == 1 {
		if t, ok := out[0].(*tensor.Tensor); ok && t.Shape().Equal(s) && t.DType().IsFloat() {
			return append([]T{}, reals[T](t)...), nil
		}
	}
	return nil, fmt.Errorf("%s: want one result of shape %v", attr, s)
}

// rotary is a call of a rotary embedding: pairs of a vector's elements are
// rotated by angles that depend on the position.
// (Su et al. 2021, arXiv 2104.09864.)
type rotary struct {
	batch, heads, steps, size int
	rotated                   int // elements of a vector that are rotated
	interleaved               bool
	cos, sin                  []float32
	at                        func(b, t int) int // row of the caches
}

// apply rotates the vectors of x into y, which share a layout.
func (r *rotary) apply(e *Eval, y, x headView[float32]) {
	half := r.rotated / 2
	e.Parallel(r.batch*r.steps, max(1, grain/max(1, r.heads*r.size)), func(lo, hi int) {
		for u := lo; u < hi; u++ {
			b, t := u/r.steps, u%r.steps
			row := r.at(b, t) * half
			cos, sin := r.cos[row:row+half], r.sin[row:row+half]
			for h := range r.heads {
				from, to := x.of(b, h)[t*x.Step:][:r.size], y.of(b, h)[t*y.Step:][:r.size]
				copy(to[r.rotated:], from[r.rotated:])
				for i := range half {
					p, q := i, i+half
					if r.interleaved {
						p, q = 2*i, 2*i+1
					}
					re, im := from[p], from[q]
					to[p] = cos[i]*re - sin[i]*im
					to[q] = sin[i]*re + cos[i]*im
				}
			}
		}
	})
}

// evalRotary computes RotaryEmbedding: X [B,H,T,D] or [B,T,H*D], the caches of
// cosines and sines, and the positions that index them, if these are given.
func evalRotary(e *Eval) error {
	x := e.Tensor(0)
	s := x.Shape()
	r := &rotary{interleaved: e.Node.Int("interleaved", 0) != 0}
	view := viewBHTD[float32]
	switch len(s) {
	case 4:
		r.batch, r.heads, r.steps, r.size = s[0], s[1], s[2], s[3]
	case 3:
		if r.heads = int(e.Node.Int("num_heads", 0)); r.heads < 1 || s[2]%r.heads != 0 {
			return e.Errorf(0, "attribute num_heads is %d, want a divisor of %d", r.heads, s[2])
		}
		r.batch, r.steps, r.size = s[0], s[1], s[2]/r.heads
		view = viewBTHD[float32]
	default:
		return e.Errorf(0, "input has %d axes, want 3 or 4", len(s))
	}
	if r.rotated = int(e.Node.Int("rotary_embedding_dim", 0)); r.rotated == 0 {
		r.rotated = r.size
	}
	if err := r.readCaches(e, 1, 2, 3); err != nil {
		return err
	}
	y := newResult[float32](e, x.DType(), s)
	r.apply(e, view(y.Data, r.heads, r.steps, r.size), view(reals[float32](x), r.heads, r.steps, r.size))
	return setReal(e, 0, y)
}

// readCaches reads the caches from inputs cos and sin and the positions from
// input ids, if it is given.
func (r *rotary) readCaches(e *Eval, cos, sin, ids int) error {
	if r.rotated < 0 || r.rotated > r.size || r.rotated%2 != 0 {
		return fmt.Errorf("%d of %d elements to rotate, want an even number within", r.rotated, r.size)
	}
	r.cos, r.sin = realsOf[float32](e, cos), realsOf[float32](e, sin)
	shape := e.Tensor(cos).Shape()
	if !e.Tensor(sin).Shape().Equal(shape) || len(shape) < 2 || shape[len(shape)-1] != r.rotated/2 {
		return e.Errorf(cos, "caches do not fit, want both [...,%d]", r.rotated/2)
	}
	rows := volume(shape[:len(shape)-1])
	if e.Tensor(ids) == nil {
		if rows != r.batch*r.steps {
			return e.Errorf(cos, "want a row for each of %d tokens", r.batch*r.steps)
		}
		r.at = func(b, t int) int { return b*r.steps + t }
		return nil
	}
	list, err := ints(e.Tensor(ids))
	if err != nil || len(list) != r.batch*r.steps {
		return e.Errorf(ids, "want a position for each of %d tokens", r.batch*r.steps)
	}
	for _, p := range list {
		if p < 0 || p >= rows {
			return e.Errorf(ids, "position %d is outside of the %d rows of the caches", p, rows)
		}
	}
	r.at = func(b, t int) int { return list[b*r.steps+t] }
	return nil
}
