package op

import (
	"fmt"
	"strconv"
	"strings"
)

// The bodies of RNN, LSTM and GRU are unrolled over the steps of a sequence,
// whose length must be known.
var (
	bodyRNN  = recurrentBodyOf(1, []string{"Tanh"}, (*recurrentBody).stepRNN)
	bodyLSTM = recurrentBodyOf(4, []string{"Sigmoid", "Tanh", "Tanh"}, (*recurrentBody).stepLSTM)
	bodyGRU  = recurrentBodyOf(3, []string{"Sigmoid", "Tanh"}, (*recurrentBody).stepGRU)
)

// recurrentBody is the body of a recurrent layer in the making, with what its
// current direction reads: states are [B,H].
type recurrentBody struct {
	bodyWriter
	call                       *Call
	gates, dirs, steps, hidden int
	acts                       []func(x string) string
	weight, bias               []string // of each gate: R' [H,H] and the recurrent bias, "" if none
	peephole                   []string
	h, c                       string
}

func recurrentBodyOf(gates int, defaults []string, step func(b *recurrentBody, x []string)) func(*Call) (string, error) {
	return func(c *Call) (string, error) {
		b, err := newRecurrentBody(c, gates)
		if err != nil {
			return "", err
		}
		var seqs, lastH, lastC []string
		for d := range b.dirs {
			if b.acts, err = b.activations(defaults, d); err != nil {
				return "", err
			}
			seqs = append(seqs, b.direction(d, step))
			lastH, lastC = append(lastH, b.op("Unsqueeze", "", b.h, b.ints(0))), append(lastC, b.op("Unsqueeze", "", b.c, b.ints(0)))
		}
		y, h, s := b.op("Concat", "axis = 1", seqs...), b.op("Concat", "axis = 0", lastH...), b.op("Concat", "axis = 0", lastC...)
		if c.Node.Int("layout", 0) != 0 {
			y = b.op("Transpose", "perm = [2, 0, 1, 3]", y)
			h, s = b.op("Transpose", "perm = [1, 0, 2]", h), b.op("Transpose", "perm = [1, 0, 2]", s)
		}
		b.name("Y", y)
		b.name("Y_h", h)
		b.name("Y_c", s)
		out := []string{"Y", "Y_h", "Y_c"}[:min(3, max(1, c.Node.NumOut()))]
		in := []string{"X", "W", "R", "B", "L", "H", "C", "P"}[:c.Node.NumIn()]
		return b.function(c.Node.Domain, c.Node.Op, in, out), nil
	}
}

func newRecurrentBody(c *Call, gates int) (*recurrentBody, error) {
	dirs, err := directions(c)
	if err != nil {
		return nil, err
	}
	x, r := c.Node.In(0), c.Node.In(2)
	if x == nil || x.Type == nil || r == nil || r.Type == nil || len(x.Type.Shape) != 3 || len(r.Type.Shape) != 3 {
		return nil, fmt.Errorf("unrolling the sequence needs the shapes of its operands, which are not known")
	}
	axis := 0
	if c.Node.Int("layout", 0) != 0 {
		axis = 1
	}
	steps, hidden := x.Type.Shape[axis], r.Type.Shape[2]
	if !steps.IsKnown() || !hidden.IsKnown() {
		return nil, fmt.Errorf("unrolling the sequence %v needs its length, which is not known", x.Type)
	}
	b := &recurrentBody{call: c, gates: gates, dirs: dirs, steps: steps.Size, hidden: hidden.Size}
	b.like = "X"
	return b, nil
}

// activations returns the functions of a direction.
func (b *recurrentBody) activations(defaults []string, dir int) ([]func(string) string, error) {
	names := defaults
	if a := b.call.Node.Attr("activations"); a != nil && len(a.Strings) > 0 {
		if len(a.Strings) != len(defaults)*b.dirs {
			return nil, fmt.Errorf("attribute activations has %d names, want %d", len(a.Strings), len(defaults)*b.dirs)
		}
		names = a.Strings[dir*len(defaults):][:len(defaults)]
	}
	alphas, betas := b.call.Node.Floats("activation_alpha"), b.call.Node.Floats("activation_beta")
	alphas, betas = b.skipParams(alphas, betas, defaults, dir)
	var list []func(string) string
	for _, name := range names {
		name = strings.ToLower(name)
		info, ok := activationParams[name]
		if !ok {
			return nil, fmt.Errorf("activation %q is not one of ONNX's", name)
		}
		alpha, beta := info.take(&alphas, &betas)
		gate := len(list) < 2 // the third, of an LSTM, maps the state, which is not clipped
		list = append(list, func(x string) string {
			if gate {
				x = b.clipped(x)
			}
			return b.activation(name, float64(alpha), float64(beta), x)
		})
	}
	return list, nil
}

// skipParams drops the parameters that belong to directions before dir.
func (b *recurrentBody) skipParams(alphas, betas []float32, defaults []string, dir int) (a, c []float32) {
	attr := b.call.Node.Attr("activations")
	for i := range dir * len(defaults) {
		name := defaults[i%len(defaults)]
		if attr != nil && i < len(attr.Strings) {
			name = attr.Strings[i]
		}
		takes := activationParams[strings.ToLower(name)].takes
		if takes > 0 && len(alphas) > 0 {
			alphas = alphas[1:]
		}
		if takes > 1 && len(betas) > 0 {
			betas = betas[1:]
		}
	}
	return alphas, betas
}

// activation writes one of activationParams with its parameters.
func (w *bodyWriter) activation(name string, alpha, beta float64, x string) string {
	float := func(name string, v float64) string {
		return attr(name, strconv.FormatFloat(v, 'e', -1, 32))
	}
	switch name {
	case "relu":
		return w.op("Relu", "", x)
	case "tanh":
		return w.op("Tanh", "", x)
	case "sigmoid":
		return w.op("Sigmoid", "", x)
	case "softsign":
		return w.op("Softsign", "", x)
	case "softplus":
		return w.op("Softplus", "", x)
	case "leakyrelu":
		return w.op("LeakyRelu", float("alpha", alpha), x)
	case "elu":
		return w.op("Elu", float("alpha", alpha), x)
	case "thresholdedrelu":
		return w.op("ThresholdedRelu", float("alpha", alpha), x)
	case "hardsigmoid":
		return w.op("HardSigmoid", float("alpha", alpha)+", "+float("beta", beta), x)
	case "scaledtanh":
		return w.op("Mul", "", w.number(alpha), w.op("Tanh", "", w.op("Mul", "", w.number(beta), x)))
	}
	return w.op("Add", "", w.op("Mul", "", w.number(alpha), x), w.number(beta)) // affine
}

// clipped bounds x by attribute clip.
func (b *recurrentBody) clipped(x string) string {
	bound := float64(b.call.Node.Float("clip", 0))
	if bound <= 0 {
		return x
	}
	return b.op("Clip", "", x, b.number(-bound), b.number(bound))
}

// part returns the part of an operand that belongs to a direction.
func (b *recurrentBody) part(operand string, dir int) string {
	return b.op("Gather", "axis = 0", operand, b.int(dir))
}

// direction writes one direction and returns its sequence [T,1,B,H].
func (b *recurrentBody) direction(dir int, step func(b *recurrentBody, x []string)) string {
	backward := dir == 1 || b.call.Node.Str("direction", "forward") == "reverse"
	x := b.loadInput(backward)
	b.loadWeights(dir)
	x = b.op("MatMul", "", x, b.op("Transpose", "perm = [1, 0]", b.part("W", dir)))
	if b.call.Has(3) {
		halves := b.split(b.part("B", dir), 2, b.gates*b.hidden)
		x = b.op("Add", "", x, halves[0])
		b.bias = b.split(halves[1], b.gates, b.hidden)
	}
	b.loadStates(dir)
	states := make([]string, b.steps)
	for i := range states {
		t := i
		if backward && !b.call.Has(4) {
			t = b.steps - 1 - i
		}
		h, c := b.h, b.c
		step(b, b.split(b.op("Gather", "axis = 0", x, b.int(t)), b.gates, b.hidden))
		states[t] = b.op("Unsqueeze", "", b.ended(i, h, c), b.ints(0))
	}
	y := b.op("Concat", "axis = 0", states...)
	if backward && b.call.Has(4) {
		y = b.op("ReverseSequence", "time_axis = 0, batch_axis = 1", y, b.lengths())
	}
	return b.op("Unsqueeze", "", y, b.ints(1))
}

func (b *recurrentBody) lengths() string { return b.op("Cast", "to = 7", "L") }

// loadInput returns the sequence [T,B,I], reversed if need be where sequences
// have lengths of their own.
func (b *recurrentBody) loadInput(backward bool) string {
	x := "X"
	if b.call.Node.Int("layout", 0) != 0 {
		x = b.op("Transpose", "perm = [1, 0, 2]", x)
	}
	if backward && b.call.Has(4) {
		x = b.op("ReverseSequence", "time_axis = 0, batch_axis = 1", x, b.lengths())
	}
	return x
}

// loadWeights splits the recurrence weight of a direction, and peepholes.
func (b *recurrentBody) loadWeights(dir int) {
	b.weight = b.split(b.op("Transpose", "perm = [1, 0]", b.part("R", dir)), b.gates, b.hidden)
	b.bias, b.peephole = nil, nil
	if b.call.Has(7) {
		b.peephole = b.split(b.part("P", dir), 3, b.hidden)
	}
}

// loadStates sets the states before the first step.
func (b *recurrentBody) loadStates(dir int) {
	batch := b.op("Gather", "", b.op("Shape", "", "X"), b.ints(1-int(min(1, b.call.Node.Int("layout", 0)))))
	zero := b.op("Expand", "", b.number(0), b.op("Concat", "axis = 0", batch, b.ints(b.hidden)))
	load := func(slot int, operand string) string {
		if !b.call.Has(slot) {
			return zero
		}
		if b.call.Node.Int("layout", 0) != 0 {
			operand = b.op("Transpose", "perm = [1, 0, 2]", operand)
		}
		return b.part(operand, dir)
	}
	b.h, b.c = load(5, "H"), load(6, "C")
}

// ended returns the output of step i; sequences that have ended keep the
// states h and c and put out zeros.
func (b *recurrentBody) ended(i int, h, c string) string {
	if !b.call.Has(4) {
		return b.h
	}
	runs := b.op("Unsqueeze", "", b.op("Greater", "", b.lengths(), b.int(i)), b.ints(1))
	y := b.op("Where", "", runs, b.h, b.number(0))
	b.h, b.c = b.op("Where", "", runs, b.h, h), b.op("Where", "", runs, b.c, c)
	return y
}

// recur adds what a gate gets from the state h.
func (b *recurrentBody) recur(x, h string, gate int) string {
	return b.op("Add", "", x, b.fromState(h, gate))
}

// fromState is h R' + bias of a gate.
func (b *recurrentBody) fromState(h string, gate int) string {
	y := b.op("MatMul", "", h, b.weight[gate])
	if b.bias != nil {
		y = b.op("Add", "", y, b.bias[gate])
	}
	return y
}

// peek adds what a gate sees of the cell's state.
func (b *recurrentBody) peek(x, c string, i int) string {
	if b.peephole == nil {
		return x
	}
	return b.op("Add", "", x, b.op("Mul", "", b.peephole[i], c))
}

func (b *recurrentBody) stepRNN(x []string) { b.h = b.acts[0](b.recur(x[0], b.h, 0)) }

// stepLSTM has gates in the order input, output, forget, cell.
func (b *recurrentBody) stepLSTM(x []string) {
	input := b.acts[0](b.peek(b.recur(x[0], b.h, 0), b.c, 0))
	var forget string
	if b.call.Node.Int("input_forget", 0) != 0 {
		forget = b.op("Sub", "", b.number(1), input)
	} else {
		forget = b.acts[0](b.peek(b.recur(x[2], b.h, 2), b.c, 2))
	}
	cell := b.acts[1](b.recur(x[3], b.h, 3))
	b.c = b.op("Add", "", b.op("Mul", "", forget, b.c), b.op("Mul", "", input, cell))
	output := b.acts[0](b.peek(b.recur(x[1], b.h, 1), b.c, 1))
	b.h = b.op("Mul", "", output, b.acts[2](b.c))
}

// stepGRU has gates in the order update, reset, hidden.
func (b *recurrentBody) stepGRU(x []string) {
	update, reset := b.acts[0](b.recur(x[0], b.h, 0)), b.acts[0](b.recur(x[1], b.h, 1))
	var inner string
	if b.call.Node.Int("linear_before_reset", 0) != 0 {
		inner = b.op("Add", "", x[2], b.op("Mul", "", reset, b.fromState(b.h, 2)))
	} else {
		inner = b.recur(x[2], b.op("Mul", "", reset, b.h), 2)
	}
	fresh := b.acts[1](inner)
	keep := b.op("Mul", "", update, b.h)
	b.h = b.op("Add", "", b.op("Mul", "", b.op("Sub", "", b.number(1), update), fresh), keep)
}
