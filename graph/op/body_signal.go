package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
)

// bodySTFT writes STFT as a DFT of frames, which a Gather takes from the
// signal:
//
//	frames = Gather <axis = 1> (signal, step*[0,1,…]' + [0,1,…,length-1])
//	y      = DFT (frames * window)
func bodySTFT(c *Call) (string, error) {
	x := c.Node.In(0)
	if x == nil || x.Type == nil || len(x.Type.Shape) < 2 || len(x.Type.Shape) > 3 {
		return "", fmt.Errorf("the body needs the shape of the signal, which is not known")
	}
	var b bodyWriter
	b.like = "X"
	signal := "X"
	if len(x.Type.Shape) == 2 {
		signal = b.op("Unsqueeze", "", signal, b.ints(2))
	}
	whole := func(x string) string {
		return b.op("Squeeze", "", b.op("Reshape", "", b.op("Cast", "to = 7", x), b.ints(1)))
	}
	samples := b.op("Squeeze", "", b.op("Gather", "", b.op("Shape", "", signal), b.ints(1)))
	length := samples
	switch {
	case c.Has(3):
		length = whole("L")
	case c.Has(2):
		length = b.op("Size", "", "W")
	}
	step := whole("S")
	frames := b.op("Add", "", b.op("Div", "", b.op("Sub", "", samples, length), step), b.int(1))
	starts := b.op("Mul", "", b.op("Range", "", b.int(0), frames, b.int(1)), step)
	places := b.op("Add", "", b.op("Unsqueeze", "", starts, b.ints(1)), b.op("Range", "", b.int(0), length, b.int(1)))
	y := b.op("Gather", "axis = 1", signal, places)
	if c.Has(2) {
		y = b.op("Mul", "", y, b.op("Unsqueeze", "", b.op("CastLike", "", "W", "X"), b.ints(1)))
	}
	onesided := attr("onesided", c.Node.Int("onesided", 1))
	if c.Version < 20 {
		y = b.op("DFT", onesided+", axis = 2", y)
	} else {
		y = b.op("DFT", onesided, y, "", b.int(2))
	}
	b.name("Y", y)
	return b.function(c.Node.Domain, c.Node.Op, []string{"X", "S", "W", "L"}[:c.Node.NumIn()], []string{"Y"}), nil
}

// bodyCausalConv writes CausalConvWithState as a depthwise convolution of the
// state and the input behind it.
func bodyCausalConv(c *Call) (string, error) {
	w := c.Node.In(1)
	if w == nil || w.Type == nil || len(w.Type.Shape) != 3 || !w.Type.Shape[0].IsKnown() || !w.Type.Shape[2].IsKnown() {
		return "", fmt.Errorf("the body needs the shape of the weight, which is not known")
	}
	channels, past := w.Type.Shape[0].Size, w.Type.Shape[2].Size-1
	var b bodyWriter
	b.like = "X"
	x := "X"
	if c.Has(3) {
		x = b.op("Concat", "axis = 2", "P", x)
	} else {
		x = b.op("Pad", "", x, b.ints(0, 0, past, 0, 0, 0))
	}
	in := []string{x, "W"}
	if c.Has(2) {
		in = append(in, "B")
	}
	y := b.op("Conv", attr("group", channels), in...)
	switch a := c.Node.Str("activation", "none"); a {
	case "none", "":
	case "silu", "swish":
		y = b.op("Mul", "", y, b.op("Sigmoid", "", y))
	default:
		return "", fmt.Errorf("attribute activation is %q, want none, silu or swish", a)
	}
	b.name("Y", y)
	length := b.op("Gather", "", b.op("Shape", "", x), b.ints(2))
	b.name("S", b.op("Slice", "", x, b.op("Sub", "", length, b.ints(past)), length, b.ints(2)))
	return b.function(c.Node.Domain, c.Node.Op, []string{"X", "W", "B", "P"}[:c.Node.NumIn()], []string{"Y", "S"}[:c.Node.NumOut()]), nil
}

// linearBody is the body of a LinearAttention in the making: token by token,
// with the state [B,Hkv,dk,dv].
type linearBody struct {
	bodyWriter
	call            *Call
	steps           int
	qHeads, kvHeads int
	dk              int
	decay, beta     bool
}

// bodyLinearAttention writes LinearAttention step by step, as evalLinearAttention
// computes it; the number of steps must be known.
func bodyLinearAttention(c *Call) (string, error) {
	b, err := newLinearBody(c)
	if err != nil {
		return "", err
	}
	n := c.Node
	scale := float64(n.Float("scale", 0))
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(b.dk))
	}
	q := b.tokens("Q", b.qHeads)
	k, v := b.tokens("K", b.kvHeads), b.tokens("V", b.kvHeads)
	state := b.firstState(k, v)
	var decay, beta string
	if b.decay {
		decay = b.op("Exp", "", b.tokens("G", b.kvHeads)) // [T,B,H,1 or dk]
	}
	if b.beta {
		beta = b.op("Unsqueeze", "", b.op("Transpose", "perm = [1, 0, 2]", "R"), b.ints(3)) // [T,B,H or 1,1]
	}
	column := func(x string, t int) string {
		return b.op("Unsqueeze", "", b.op("Gather", "axis = 0", x, b.int(t)), b.ints(3))
	}
	rows := make([]string, b.steps)
	for t := range rows {
		key, value := column(k, t), b.op("Gather", "axis = 0", v, b.int(t)) // [B,H,dk,1], [B,H,dv]
		if b.decay {
			state = b.op("Mul", "", state, column(decay, t))
		}
		if b.beta {
			read := b.op("ReduceSum", "keepdims = 0", b.op("Mul", "", state, key), b.ints(2))
			value = b.op("Mul", "", b.op("Sub", "", value, read), b.op("Gather", "axis = 0", beta, b.int(t)))
		}
		state = b.op("Add", "", state, b.op("Mul", "", key, b.op("Unsqueeze", "", value, b.ints(2))))
		query := b.op("Mul", "", column(q, t), b.number(scale))
		out := b.op("ReduceSum", "keepdims = 0", b.op("Mul", "", b.repeatHeads(state, b.qHeads, b.kvHeads), query), b.ints(2))
		rows[t] = b.op("Unsqueeze", "", b.op("Reshape", "", out, b.ints(0, -1)), b.ints(1))
	}
	b.name("Y", b.op("Concat", "axis = 1", rows...))
	b.name("Z", state)
	in := []string{"Q", "K", "V", "S", "G", "R"}[:n.NumIn()]
	return b.function(n.Domain, n.Op, in, []string{"Y", "Z"}[:n.NumOut()]), nil
}

func newLinearBody(c *Call) (*linearBody, error) {
	b := &linearBody{call: c, qHeads: int(c.Node.Int("q_num_heads", 0)), kvHeads: int(c.Node.Int("kv_num_heads", 0))}
	b.like = "Q"
	var q graph.Dims
	if v := c.Node.In(0); v != nil && v.Type != nil {
		q = v.Type.Shape
	}
	if len(q) != 3 || !q[1].IsKnown() || !q[2].IsKnown() || q[1].Size == 0 {
		return nil, fmt.Errorf("unrolling the sequence needs the shape of its queries, which is not known")
	}
	if b.qHeads < 1 || b.kvHeads < 1 || b.qHeads%b.kvHeads != 0 {
		return nil, fmt.Errorf("%d query heads for %d key heads, want a positive multiple", b.qHeads, b.kvHeads)
	}
	b.steps, b.dk = q[1].Size, q[2].Size/b.qHeads
	rule := c.Node.Str("update_rule", "gated_delta")
	b.decay, b.beta = rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"
	return b, nil
}

// tokens gives an operand [B,T,H*d] the form [T,B,H,d].
func (b *linearBody) tokens(x string, heads int) string {
	return b.op("Transpose", "perm = [1, 0, 2, 3]", b.op("Reshape", "", x, b.ints(0, 0, heads, -1)))
}

// firstState is the given state, or zeros.
func (b *linearBody) firstState(k, v string) string {
	if b.call.Has(3) {
		return b.op("CastLike", "", "S", "Q")
	}
	shape := func(x string) string { return b.op("Shape", "", x) }
	lead := b.op("Gather", "", shape(k), b.ints(1, 2, 3))
	last := b.op("Gather", "", shape(v), b.ints(3))
	return b.op("Expand", "", b.number(0), b.op("Concat", "axis = 0", lead, last))
}
