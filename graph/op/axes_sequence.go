package op

import "slices"

// Ties between the axes of recurrent layers and attention: hidden units and
// heads.

const (
	overTime  = "it is walked in order"
	attended  = "all its places are attended together"
	scaleSize = "the scale of the scores depends on it"
)

// recurrentAxes returns the rule of a layer with the given number of gates: a
// hidden unit has a row for each gate in both weights and biases.
func recurrentAxes(gates int) func(*Axes) {
	return func(a *Axes) {
		r := a.Dims(2)
		if len(a.Dims(0)) != 3 || len(r) != 3 || !r[2].IsKnown() {
			a.FixAll("the shape of the weights is not known")
			return
		}
		hidden := a.Space("hidden_size", r[2].Size)
		a.Equal(hidden, In(2, 2))
		a.Within(hidden, In(1, 1), gates, 1, 0)
		a.Within(hidden, In(2, 1), gates, 1, 0)
		if a.Has(3) {
			a.Within(hidden, In(3, 1), 2*gates, 1, 0)
		}
		if a.Has(7) {
			a.Within(hidden, In(7, 1), 3, 1, 0)
		}
		a.Equal(In(0, 2), In(1, 2))
		a.recurrentStates(hidden)
		for _, slot := range []int{1, 2, 3, 7} {
			if a.Has(slot) {
				a.Fix(In(slot, 0), "it is the direction")
			}
		}
	}
}

// recurrentStates ties hidden units and batches of states and results.
func (a *Axes) recurrentStates(hidden Side) {
	time, batch, batchOut, batchState := 0, 1, 2, 1
	if a.Node.Int("layout", 0) != 0 {
		time, batch, batchOut, batchState = 1, 0, 0, 0
	}
	a.Fix(In(0, time), overTime)
	for _, slot := range []int{5, 6} {
		if len(a.Dims(slot)) == 3 {
			a.Equal(hidden, In(slot, 2))
			a.Equal(In(0, batch), In(slot, batchState))
		}
	}
	if len(a.Dims(4)) == 1 {
		a.Equal(In(0, batch), In(4, 0))
	}
	for i := range a.Out {
		if !a.Wants(i) {
			continue
		}
		rank, at := 3, batchState
		if i == 0 {
			rank, at = 4, batchOut
		}
		a.Equal(hidden, Out(i, rank-1))
		a.Equal(In(0, batch), Out(i, at))
	}
}

// heads ties an axis of heads*size elements, from offset on, to the spaces of
// heads and of the places in one.
func (a *Axes) heads(s, heads, places Side, n, size, offset int) {
	if n > 1 {
		a.Within(heads, s, 1, size, offset)
	}
	if size > 1 {
		a.Within(places, s, n, 1, offset)
	}
}

// headSpaces are the spaces of an attention.
type headSpaces struct {
	q, kv           Side
	nq, nkv         int
	score, value    Side // places in a query or key, and in a value
	nscore, nvalues int
}

// spacesOfHeads adds the spaces of an attention whose heads are counted by
// attributes, and ties heads of queries to those of keys that they share.
func (a *Axes) spacesOfHeads(q, kv string, nq, nkv, score, value int) headSpaces {
	h := headSpaces{nq: nq, nkv: nkv, nscore: score, nvalues: value}
	h.q = a.Space(q, nq)
	if h.kv = h.q; nq != nkv || q != kv {
		h.kv = a.Space(kv, nkv)
		a.Within(h.kv, h.q, 1, nq/nkv, 0)
	}
	h.score, h.value = a.Space("", score), a.Space("", value)
	if a.Node.Attr("scale") == nil {
		a.Fix(h.score, scaleSize)
	}
	return h
}

// headStates are the slots of the keys and values of earlier calls, which a
// call takes and gives out longer, with the axes of heads and of places in one.
type headStates struct {
	ins, outs    []int // keys and values; one of both
	heads, place int
}

func (s headStates) has(out bool, slot int) bool {
	if out {
		return slices.Contains(s.outs, slot)
	}
	return slices.Contains(s.ins, slot)
}

// tieStates ties the states to the heads of keys and to the places in a key and
// in a value, which keep their number: states have it too.
func (a *Axes) tieStates(s headStates, heads Side, places ...Side) {
	tie := func(i, rank int, side func(axis int) Side) {
		if rank <= s.place {
			return
		}
		a.Equal(heads, side(s.heads))
		a.Equal(In(0, 0), side(s.heads-1))
		if i < len(places) {
			a.Equal(places[i], side(s.place))
		}
		for axis := range rank {
			if axis != s.heads {
				a.Fix(side(axis), "states of earlier calls have it")
			}
		}
	}
	for i, slot := range s.ins {
		tie(i, a.rankIn(slot), func(axis int) Side { return In(slot, axis) })
	}
	for i, slot := range s.outs {
		if a.Wants(slot) {
			tie(i, a.rankOut(slot), func(axis int) Side { return Out(slot, axis) })
		}
	}
}

// attentionAxes is the rule of ai.onnx's Attention over [B,H,T,d] or [B,T,H*d].
func attentionAxes(a *Axes) {
	q, k, v := a.Dims(0), a.Dims(1), a.Dims(2)
	states := headStates{ins: []int{4, 5}, outs: []int{1, 2}, heads: 1, place: 3}
	a.fixRest(3, states)
	switch {
	case len(q) == 4 && len(k) == 4 && len(v) == 4:
		a.attention4(q[1].Size, k[1].Size, states)
	case len(q) == 3 && len(k) == 3 && len(v) == 3 && q[2].IsKnown() && k[2].IsKnown() && v[2].IsKnown():
		nq, nkv := int(a.Node.Int("q_num_heads", 0)), int(a.Node.Int("kv_num_heads", 0))
		a.attention3("q_num_heads", "kv_num_heads", nq, nkv, states)
	default:
		a.FixAll("the shape of an operand is not known")
	}
}

// fixRest fixes the inputs from slot on, and the results but the first, as far
// as they are no states; and batches, which they may have.
func (a *Axes) fixRest(slot int, states headStates) {
	for ; slot < len(a.In); slot++ {
		if states.has(false, slot) {
			continue
		}
		for axis := range a.Dims(slot) {
			a.Fix(In(slot, axis), attended)
			a.Fix(Out(0, 0), "other operands may have an element for each")
		}
	}
	for i := 1; i < len(a.Out); i++ {
		if states.has(true, i) {
			continue
		}
		for axis := range a.OutDims(i) {
			a.Fix(Out(i, axis), attended)
		}
	}
}

// plainHeads reports whether a call has but queries, keys, values and states:
// its heads may go where no mask or matrix of scores holds an element for each.
func (a *Axes) plainHeads(from int, states headStates) bool {
	for slot := from; slot < len(a.In); slot++ {
		if states.has(false, slot) {
			continue
		}
		if d := a.Dims(slot); len(d) > 3 && (!d[1].IsKnown() || d[1].Size != 1) {
			return false
		}
	}
	for i := 1; i < len(a.Out); i++ {
		if a.Wants(i) && !states.has(true, i) {
			return false
		}
	}
	return true
}

func (a *Axes) attention4(nq, nkv int, states headStates) {
	if nq < 1 || nkv < 1 || nq%nkv != 0 || !a.plainHeads(3, states) {
		a.FixAll("other operands hold an element for each head")
		return
	}
	for slot := range 3 {
		a.Equal(In(0, 0), In(slot, 0))
		a.Fix(In(slot, 2), attended)
	}
	a.Within(In(1, 1), In(0, 1), 1, nq/nkv, 0)
	a.Equal(In(1, 1), In(2, 1))
	a.Equal(In(0, 3), In(1, 3))
	if a.Node.Attr("scale") == nil {
		a.Fix(In(0, 3), scaleSize)
	}
	a.Equal(In(0, 0), Out(0, 0))
	a.Equal(In(0, 1), Out(0, 1))
	a.Equal(In(2, 3), Out(0, 3))
	a.Fix(Out(0, 2), attended)
	a.tieStates(states, In(1, 1), In(1, 3), In(2, 3))
}

// attention3 ties queries [B,T,nq*d], keys and values [B,S,nkv*d].
func (a *Axes) attention3(qAttr, kvAttr string, nq, nkv int, states headStates) {
	q, k, v := a.Dims(0)[2].Size, a.Dims(1)[2].Size, a.Dims(2)[2].Size
	if nq < 1 || nkv < 1 || nq%nkv != 0 || q%nq != 0 || k%nkv != 0 || v%nkv != 0 || q/nq != k/nkv || !a.plainHeads(3, states) {
		a.FixAll("other operands hold an element for each head")
		return
	}
	h := a.spacesOfHeads(qAttr, kvAttr, nq, nkv, q/nq, v/nkv)
	a.heads(In(0, 2), h.q, h.score, nq, q/nq, 0)
	a.heads(In(1, 2), h.kv, h.score, nkv, k/nkv, 0)
	a.heads(In(2, 2), h.kv, h.value, nkv, v/nkv, 0)
	a.heads(Out(0, 2), h.q, h.value, nq, v/nkv, 0)
	for slot := range 3 {
		a.Equal(In(slot, 0), Out(0, 0))
		a.Fix(In(slot, 1), attended)
	}
	a.Fix(Out(0, 1), attended)
	a.tieStates(states, h.kv, h.score, h.value)
}

// multiHeadAxes is the rule of MultiHeadAttention, whose bias holds those of
// queries, keys and values side by side.
func multiHeadAxes(a *Axes) {
	q, k, v := a.Dims(0), a.Dims(1), a.Dims(2)
	n := int(a.Node.Int("num_heads", 0))
	if len(q) != 3 || len(k) != 3 || len(v) != 3 || !q[2].IsKnown() || !k[2].IsKnown() || !v[2].IsKnown() || n < 1 {
		a.FixAll("its operands are packed, or their shape is not known")
		return
	}
	states := headStates{ins: []int{6, 7}, outs: []int{1, 2}, heads: 1, place: 3}
	a.fixRest(4, states)
	a.attention3("num_heads", "num_heads", n, n, states)
	if !a.Has(3) || len(a.Spaces) == 0 {
		return
	}
	size := q[2].Size / n
	score, value := Side{Slot: -1, Axis: 1}, Side{Slot: -1, Axis: 2}
	heads := Side{Slot: -1}
	a.heads(In(3, 0), heads, score, n, size, 0)
	a.heads(In(3, 0), heads, score, n, size, q[2].Size)
	a.heads(In(3, 0), heads, value, n, v[2].Size/n, 2*q[2].Size)
}

// groupQueryAxes is the rule of GroupQueryAttention over unpacked operands:
// whole heads of keys, with the queries that share them.
func groupQueryAxes(a *Axes) {
	for i := range 3 {
		if d := a.Dims(i); len(d) != 3 || !d[2].IsKnown() {
			a.FixAll("its operands are packed, or their shape is not known")
			return
		}
	}
	states := headStates{ins: []int{3, 4}, outs: []int{1, 2}, heads: 1, place: 3}
	a.fixRest(3, states)
	a.attention3("num_heads", "kv_num_heads", int(a.Node.Int("num_heads", 0)), int(a.Node.Int("kv_num_heads", 0)), states)
	for i, s := range a.Spaces {
		if s.Attr == "" {
			a.Fix(Side{Slot: -1, Axis: i}, "keys and values have one size, which rotates and is scaled")
		}
	}
}

// msAttentionAxes is the rule of com.microsoft's Attention, whose weight holds
// those of queries, keys and values side by side: whole heads go.
func msAttentionAxes(a *Axes) {
	w, n := a.Dims(1), int(a.Node.Int("num_heads", 0))
	if len(a.Dims(0)) != 3 || len(w) != 2 || !w[1].IsKnown() || n < 1 {
		a.FixAll("the shape of an operand is not known")
		return
	}
	states := headStates{ins: []int{4}, outs: []int{1}, heads: 2, place: 4}
	sizes, err := hiddenSizes(&a.Call, w[1].Size)
	if err != nil || sizes[0]%n != 0 || sizes[2]%n != 0 || len(a.Node.Ints("qkv_hidden_sizes")) > 0 || !a.plainHeads(3, states) {
		a.FixAll("other operands, or an attribute, hold an element for each head")
		return
	}
	a.fixRest(3, states)
	heads := a.Space("num_heads", n)
	a.tieStates(states, heads)
	size, at := sizes[0]/n, 0
	for range 3 {
		a.Within(heads, In(1, 1), 1, size, at)
		if a.Has(2) {
			a.Within(heads, In(2, 0), 1, size, at)
		}
		at += sizes[0]
	}
	a.Within(heads, Out(0, 2), 1, size, 0)
	a.Equal(In(0, 2), In(1, 0))
	a.Equal(In(0, 0), Out(0, 0))
	a.Fix(In(0, 1), attended)
	a.Fix(Out(0, 1), attended)
}
