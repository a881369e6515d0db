package op

import (
	"fmt"
	"math"
	"strings"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// activation maps elements in place.
type activation[T real] func(s []T)

// activations reads the functions of each direction, len(defaults) for each:
// attribute activations, or the defaults. Functions with parameters take them
// from activation_alpha and activation_beta in turn.
func activations[T real](e *Eval, dirs int, defaults []string) ([][]activation[T], error) {
	var names []string
	if a := e.Node.Attr("activations"); a != nil {
		names = a.Strings
	}
	per := len(defaults)
	if len(names) == 0 {
		for range dirs {
			names = append(names, defaults...)
		}
	}
	if len(names) != per*dirs {
		return nil, fmt.Errorf("attribute activations has %d names, want %d", len(names), per*dirs)
	}
	alphas, betas := e.Node.Floats("activation_alpha"), e.Node.Floats("activation_beta")
	all := make([][]activation[T], dirs)
	for i, name := range names {
		info, ok := activationParams[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("activation %q is not one of ONNX's", name)
		}
		alpha, beta := info.take(&alphas, &betas)
		all[i/per] = append(all[i/per], newActivation[T](e.kernels(), strings.ToLower(name), float64(alpha), float64(beta)))
	}
	return all, nil
}

// activationInfo is how many parameters an activation takes, and the defaults.
type activationInfo struct {
	takes       int
	alpha, beta float32
}

// take returns the parameters, the first of the lists where these have any,
// which it takes out.
func (a activationInfo) take(alphas, betas *[]float32) (alpha, beta float32) {
	alpha, beta = a.alpha, a.beta
	if a.takes > 0 && len(*alphas) > 0 {
		alpha, *alphas = (*alphas)[0], (*alphas)[1:]
	}
	if a.takes > 1 && len(*betas) > 0 {
		beta, *betas = (*betas)[0], (*betas)[1:]
	}
	return alpha, beta
}

// activationParams lists the activations of recurrent layers with how many
// parameters they take and the defaults of these.
var activationParams = map[string]activationInfo{
	"relu": {}, "tanh": {}, "sigmoid": {}, "softsign": {}, "softplus": {},
	"affine":          {2, 1, 0},
	"leakyrelu":       {1, 0.01, 0},
	"thresholdedrelu": {1, 1, 0},
	"scaledtanh":      {2, 1, 1},
	"hardsigmoid":     {2, 0.2, 0.5},
	"elu":             {1, 1, 0},
}

// newActivation returns the activation of a name in activationParams.
func newActivation[T real](k *kernel.Table, name string, alpha, beta float64) activation[T] {
	f := scalarActivation(name, alpha, beta)
	row := map[string]func(dst, src []float32){"tanh": k.Tanh, "sigmoid": k.Sigmoid}[name]
	return func(s []T) {
		if x, ok := any(s).([]float32); ok && row != nil {
			row(x, x)
			return
		}
		for i, v := range s {
			s[i] = T(f(float64(v)))
		}
	}
}

func scalarActivation(name string, alpha, beta float64) func(float64) float64 {
	switch name {
	case "relu":
		return func(x float64) float64 { return max(x, 0) }
	case "tanh":
		return math.Tanh
	case "sigmoid":
		return logistic
	case "softsign":
		return softsign
	case "softplus":
		return softplus
	case "affine":
		return func(x float64) float64 { return alpha*x + beta }
	case "leakyrelu":
		return func(x float64) float64 { return max(x, 0) + alpha*min(x, 0) }
	case "thresholdedrelu":
		return func(x float64) float64 {
			if x > alpha {
				return x
			}
			return 0
		}
	case "scaledtanh":
		return func(x float64) float64 { return alpha * math.Tanh(beta*x) }
	case "hardsigmoid":
		return func(x float64) float64 { return min(max(alpha*x+beta, 0), 1) }
	case "elu":
		return func(x float64) float64 { return max(x, 0) + alpha*math.Expm1(min(x, 0)) }
	}
	panic("op: activation " + name)
}

// evalRNN computes RNN: h = f(x*W' + h*R' + bias).
func evalRNN[T real](e *Eval) error {
	r, err := newRecurrence(e, 1)
	if err != nil {
		return err
	}
	return runRecurrent(e, r, []string{"Tanh"}, func(dir int, p *recurrentPass[T]) recurrentCell[T] {
		return &rnnCell[T]{recurrentWeight[T](e, r, dir, 0, 1), make([]T, len(p.h))}
	})
}

type rnnCell[T real] struct {
	weight *rightFactor[T]
	part   []T
}

func (c *rnnCell[T]) step(p *recurrentPass[T], x []T) {
	c.weight.apply(c.part, p.h, p.batch)
	for b := range p.batch {
		h, in := p.h[b*p.hidden:][:p.hidden], x[b*p.hidden:]
		for i, v := range c.part[b*p.hidden:][:p.hidden] {
			h[i] = v + in[i]
		}
		addBias(h, p.recurrentBias(0))
		p.activate(0, h)
	}
}

// evalLSTM computes LSTM, whose gates are input, output, forget and cell:
//
//	i = f(x*Wi' + h*Ri' + Pi.c + bias)    f alike, or 1-i with input_forget
//	C = f.c + i.g(x*Wc' + h*Rc' + bias)
//	H = f(x*Wo' + h*Ro' + Po.C + bias).h(C)
func evalLSTM[T real](e *Eval) error {
	r, err := newRecurrence(e, 4)
	if err != nil {
		return err
	}
	peepholes := realsOf[T](e, 7)
	if peepholes != nil && len(peepholes) != r.dirs*3*r.hidden {
		return e.Errorf(7, "peepholes have another shape, want [%d,%d]", r.dirs, 3*r.hidden)
	}
	return runRecurrent(e, r, []string{"Sigmoid", "Tanh", "Tanh"}, func(dir int, p *recurrentPass[T]) recurrentCell[T] {
		c := &lstmCell[T]{
			weight:  recurrentWeight[T](e, r, dir, 0, 4),
			part:    make([]T, 4*len(p.h)),
			coupled: e.Node.Int("input_forget", 0) != 0,
		}
		if peepholes != nil {
			c.peep = peepholes[dir*3*r.hidden:][:3*r.hidden]
		}
		return c
	})
}

type lstmCell[T real] struct {
	weight  *rightFactor[T]
	part    []T
	peep    []T // of input, output and forget gate; nil if there are none
	coupled bool
}

func (c *lstmCell[T]) step(p *recurrentPass[T], x []T) {
	n := p.hidden
	c.weight.apply(c.part, p.h, p.batch)
	for b := range p.batch {
		gates := c.part[b*4*n:][:4*n]
		for i, v := range x[b*4*n:][:4*n] {
			gates[i] += v
		}
		if p.bias != nil {
			addBias(gates, p.bias[4*n:])
		}
		c.update(p, gates, p.h[b*n:][:n], p.c[b*n:][:n])
	}
}

// update advances the states of one sequence.
func (c *lstmCell[T]) update(p *recurrentPass[T], gates, h, state []T) {
	n := p.hidden
	in, out, forget, fresh := gates[:n], gates[n:2*n], gates[2*n:3*n], gates[3*n:]
	c.look(in, state, 0)
	p.activate(0, in)
	if c.coupled {
		for i, v := range in {
			forget[i] = 1 - v
		}
	} else {
		c.look(forget, state, 2)
		p.activate(0, forget)
	}
	p.activate(1, fresh)
	for i := range state {
		state[i] = forget[i]*state[i] + in[i]*fresh[i]
	}
	c.look(out, state, 1)
	p.activate(0, out)
	copy(h, state)
	p.acts[2](h)
	for i, v := range out {
		h[i] *= v
	}
}

// look adds what a gate sees of the cell state through its peephole.
func (c *lstmCell[T]) look(gate, state []T, peephole int) {
	if c.peep == nil {
		return
	}
	for i, w := range c.peep[peephole*len(gate):][:len(gate)] {
		gate[i] += w * state[i]
	}
}

// evalGRU computes GRU, whose gates are update, reset and hidden:
//
//	z = f(x*Wz' + h*Rz' + bias)    r alike
//	n = g(x*Wh' + (r.h)*Rh' + bias), or
//	    g(x*Wh' + r.(h*Rh' + Rbh) + Wbh) with linear_before_reset
//	H = (1-z).n + z.h
func evalGRU[T real](e *Eval) error {
	r, err := newRecurrence(e, 3)
	if err != nil {
		return err
	}
	return runRecurrent(e, r, []string{"Sigmoid", "Tanh"}, func(dir int, p *recurrentPass[T]) recurrentCell[T] {
		return &gruCell[T]{
			gates:       recurrentWeight[T](e, r, dir, 0, 2),
			fresh:       recurrentWeight[T](e, r, dir, 2, 3),
			part:        make([]T, 2*len(p.h)),
			seen:        make([]T, len(p.h)),
			hidden:      make([]T, len(p.h)),
			linearFirst: e.Node.Int("linear_before_reset", 0) != 0,
		}
	})
}

type gruCell[T real] struct {
	gates, fresh       *rightFactor[T]
	part, seen, hidden []T
	linearFirst        bool
}

func (c *gruCell[T]) step(p *recurrentPass[T], x []T) {
	n := p.hidden
	c.gates.apply(c.part, p.h, p.batch)
	for b := range p.batch {
		gates := c.part[b*2*n:][:2*n]
		for i, v := range x[b*3*n:][:2*n] {
			gates[i] += v
		}
		addBias(gates[:n], p.recurrentBias(0))
		addBias(gates[n:], p.recurrentBias(1))
		p.activate(0, gates)
	}
	c.reset(p)
	for b := range p.batch {
		update, fresh, h := c.part[b*2*n:][:n], c.hidden[b*n:][:n], p.h[b*n:][:n]
		for i, v := range x[b*3*n+2*n:][:n] {
			fresh[i] += v
		}
		p.activate(1, fresh)
		for i, z := range update {
			h[i] = (1-z)*fresh[i] + z*h[i]
		}
	}
}

// reset sets hidden to the recurrent part of the new states, of which the
// reset gates let through what they see.
func (c *gruCell[T]) reset(p *recurrentPass[T]) {
	n := p.hidden
	gate := func(i int) T { return c.part[i/n*2*n+n+i%n] }
	if c.linearFirst {
		c.fresh.apply(c.hidden, p.h, p.batch)
	} else {
		for i, v := range p.h {
			c.seen[i] = gate(i) * v
		}
		c.fresh.apply(c.hidden, c.seen, p.batch)
	}
	for b := range p.batch {
		addBias(c.hidden[b*n:][:n], p.recurrentBias(2))
	}
	if c.linearFirst {
		for i := range c.hidden {
			c.hidden[i] *= gate(i)
		}
	}
}
