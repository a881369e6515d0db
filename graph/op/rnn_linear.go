package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// inferLinearAttention types the result [B,T,Hq*dv] and the state
// [B,Hkv,dk,dv].
func inferLinearAttention(c *Infer) error {
	qHeads, kvHeads := int(c.Node.Int("q_num_heads", 0)), int(c.Node.Int("kv_num_heads", 0))
	if qHeads < 1 || kvHeads < 1 || qHeads%kvHeads != 0 {
		return fmt.Errorf("%d query heads for %d key heads, want a positive multiple", qHeads, kvHeads)
	}
	out := graph.Dims{graph.Unknown(), graph.Unknown(), graph.Unknown()}
	state := graph.Dims{graph.Unknown(), graph.Known(kvHeads), graph.Unknown(), graph.Unknown()}
	if q := c.Shape(0); len(q) == 3 {
		out[0], out[1], state[0] = q[0], q[1], q[0]
		state[2] = divDim(q[2], qHeads)
	}
	if v := c.Shape(2); len(v) == 3 {
		state[3] = divDim(v[2], kvHeads)
		out[2] = mulDim(state[3], qHeads)
	}
	elem := c.Elem(0)
	c.SetOut(0, elem, out)
	if c.Has(3) {
		elem = c.Elem(3)
	}
	c.SetOut(1, elem, state)
	return nil
}

func linearAttentionCost(c *Infer) Cost {
	state, ok := outShape(c, 1)
	q, okQ := c.Shape(0).Static()
	if !ok || !okQ || len(q) != 3 {
		return Cost{}
	}
	return matrixCost(c, 3*int64(state.Len())*int64(q[1]))
}

// linearAttention is a call of LinearAttention.
type linearAttention struct {
	batch, steps            int
	qHeads, kvHeads, dk, dv int
	decayed, corrected      bool
	decayWidth, betaWidth   int
	scale                   float32
	q, k, v, decay, beta    []float32
}

func newLinearAttention(e *Eval) (*linearAttention, error) {
	a := &linearAttention{
		qHeads: int(e.Node.Int("q_num_heads", 0)), kvHeads: int(e.Node.Int("kv_num_heads", 0)),
		q: realsOf[float32](e, 0), k: realsOf[float32](e, 1), v: realsOf[float32](e, 2),
		decay: realsOf[float32](e, 4), beta: realsOf[float32](e, 5),
	}
	if a.qHeads < 1 || a.kvHeads < 1 || a.qHeads%a.kvHeads != 0 {
		return nil, fmt.Errorf("%d query heads for %d key heads, want a positive multiple", a.qHeads, a.kvHeads)
	}
	switch rule := e.Node.Str("update_rule", "gated_delta"); rule {
	case "linear":
	case "gated":
		a.decayed = true
	case "delta":
		a.corrected = true
	case "gated_delta":
		a.decayed, a.corrected = true, true
	default:
		return nil, fmt.Errorf("attribute update_rule is %q, want linear, gated, delta or gated_delta", rule)
	}
	if a.decayed != (a.decay != nil) {
		return nil, e.Errorf(4, "decay is for the gated update rules, and needed there")
	}
	if a.corrected != (a.beta != nil) {
		return nil, e.Errorf(5, "beta is for the delta update rules, and needed there")
	}
	return a, a.measure(e)
}

// measure reads the sizes of the operands.
func (a *linearAttention) measure(e *Eval) error {
	q, k, v := e.Tensor(0).Shape(), e.Tensor(1).Shape(), e.Tensor(2).Shape()
	if len(q) != 3 || q[2]%a.qHeads != 0 {
		return e.Errorf(0, "want [B,T,%d*d]", a.qHeads)
	}
	a.batch, a.steps, a.dk = q[0], q[1], q[2]/a.qHeads
	if !k.Equal(tensor.Shape{a.batch, a.steps, a.kvHeads * a.dk}) {
		return e.Errorf(1, "want [%d,%d,%d]", a.batch, a.steps, a.kvHeads*a.dk)
	}
	if len(v) != 3 || v[0] != a.batch || v[1] != a.steps || v[2]%a.kvHeads != 0 {
		return e.Errorf(2, "want [%d,%d,%d*d]", a.batch, a.steps, a.kvHeads)
	}
	a.dv = v[2] / a.kvHeads
	if a.scale = e.Node.Float("scale", 0); a.scale == 0 {
		a.scale = float32(1 / math.Sqrt(float64(a.dk)))
	}
	rows := max(1, a.batch*a.steps)
	a.decayWidth, a.betaWidth = len(a.decay)/rows, len(a.beta)/rows
	if a.decayed && a.decayWidth != a.kvHeads && a.decayWidth != a.kvHeads*a.dk {
		return e.Errorf(4, "want a decay per head or per key dimension")
	}
	if a.corrected && a.betaWidth != a.kvHeads && a.betaWidth != 1 {
		return e.Errorf(5, "want a rate per head, or one")
	}
	return nil
}

// evalLinearAttention computes LinearAttention token by token:
//
//	S = exp(g) * S
//	v = beta * (v - S'*k)    for the delta rules
//	S = S + k*v'
//	o = scale * q'*S         for every query head of the key head
func evalLinearAttention(e *Eval) error {
	a, err := newLinearAttention(e)
	if err != nil {
		return err
	}
	d := e.Tensor(0).DType()
	stateType := d
	shape := tensor.Shape{a.batch, a.kvHeads, a.dk, a.dv}
	past := e.Tensor(3)
	if past != nil {
		if stateType = past.DType(); !past.Shape().Equal(shape) {
			return e.Errorf(3, "state has another shape, want %v", shape)
		}
	}
	y := newResult[float32](e, d, tensor.Shape{a.batch, a.steps, a.qHeads * a.dv})
	state := newResult[float32](e, stateType, shape)
	clear(state.Data)
	if past != nil {
		copy(state.Data, tensor.Float32s(past))
	}
	clear(y.Data)
	size := a.dk * a.dv
	e.Parallel(a.batch*a.kvHeads, 1, func(lo, hi int) {
		value := make([]float32, a.dv)
		for u := lo; u < hi; u++ {
			for t := range a.steps {
				a.step(e, y.Data, state.Data[u*size:][:size], value, u/a.kvHeads*a.steps+t, u%a.kvHeads)
			}
		}
	})
	if err := setReal(e, 0, y); err != nil {
		return err
	}
	return setReal(e, 1, state)
}

// step takes one token (row of the operands) into the state of a key head and
// reads it for the queries.
func (a *linearAttention) step(e *Eval, y, state, value []float32, row, head int) {
	axpy := e.kernels().Axpy
	key := a.k[(row*a.kvHeads+head)*a.dk:][:a.dk]
	copy(value, a.v[(row*a.kvHeads+head)*a.dv:][:a.dv])
	line := func(i int) []float32 { return state[i*a.dv:][:a.dv] }
	if a.decayed {
		for i := range key {
			g := a.decay[row*a.decayWidth+head*a.decayWidth/a.kvHeads+i%(a.decayWidth/a.kvHeads)]
			f := float32(math.Exp(float64(g)))
			for j := range line(i) {
				line(i)[j] *= f
			}
		}
	}
	if a.corrected {
		for i, k := range key {
			axpy(value, line(i), -k)
		}
		rate := a.beta[row*a.betaWidth+head%a.betaWidth]
		for j := range value {
			value[j] *= rate
		}
	}
	for i, k := range key {
		axpy(line(i), value, k)
	}
	group := a.qHeads / a.kvHeads
	for h := head * group; h < (head+1)*group; h++ {
		query := a.q[(row*a.qHeads+h)*a.dk:][:a.dk]
		out := y[(row*a.qHeads+h)*a.dv:][:a.dv]
		for i, q := range query {
			axpy(out, line(i), a.scale*q)
		}
	}
}
