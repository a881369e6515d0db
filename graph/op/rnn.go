package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// rnnDefs holds recurrent layers.
var rnnDefs = []*Def{
	{
		Name: "RNN", Since: 1,
		Axes:  recurrentAxes(1),
		Infer: inferRecurrent,
		Eval:  evalReal(0, evalRNN[float32], evalRNN[float64]),
		Cost:  func(c *Infer) Cost { return recurrentCost(c, 1) },
	},
	{
		Name: "LSTM", Since: 1,
		Axes:  recurrentAxes(4),
		Infer: inferRecurrent,
		Eval:  evalReal(0, evalLSTM[float32], evalLSTM[float64]),
		Cost:  func(c *Infer) Cost { return recurrentCost(c, 4) },
	},
	{
		Name: "GRU", Since: 1,
		Axes:  recurrentAxes(3),
		Infer: inferRecurrent,
		Eval:  evalReal(0, evalGRU[float32], evalGRU[float64]),
		Cost:  func(c *Infer) Cost { return recurrentCost(c, 3) },
	},
	{
		Name: "LinearAttention", Since: 27,
		Infer: inferLinearAttention,
		Eval:  evalLinearAttention,
		Cost:  linearAttentionCost,
	},
}

// directions returns how many directions a recurrent layer runs in.
func directions(c *Call) (int, error) {
	switch d := c.Node.Str("direction", "forward"); d {
	case "forward", "reverse":
		return 1, nil
	case "bidirectional":
		return 2, nil
	default:
		return 0, fmt.Errorf("attribute direction is %q, want forward, reverse or bidirectional", d)
	}
}

// inferRecurrent types Y [T,D,B,H] and the last states [D,B,H]; layout 1 puts
// the batch first.
func inferRecurrent(c *Infer) error {
	elem := c.Elem(0)
	dirs, err := directions(&c.Call)
	if err != nil {
		return err
	}
	steps, batch, hidden := graph.Unknown(), graph.Unknown(), graph.Unknown()
	x, batchFirst := c.Shape(0), c.Node.Int("layout", 0) != 0
	if x != nil {
		if len(x) != 3 {
			return c.Errorf(0, "sequence has %d axes, want 3", len(x))
		}
		if steps, batch = x[0], x[1]; batchFirst {
			steps, batch = x[1], x[0]
		}
	}
	if h := c.Node.Int("hidden_size", 0); h > 0 {
		hidden = graph.Known(int(h))
	} else if r := c.Shape(2); len(r) == 3 {
		hidden = r[2]
	}
	d := graph.Known(dirs)
	sequence, last := graph.Dims{steps, d, batch, hidden}, graph.Dims{d, batch, hidden}
	if batchFirst {
		sequence, last = graph.Dims{batch, steps, d, hidden}, graph.Dims{batch, d, hidden}
	}
	c.SetOut(0, elem, sequence)
	c.SetOut(1, elem, last)
	c.SetOut(2, elem, last)
	return nil
}

// recurrentCost counts the products of inputs and states with the weights of
// a number of gates.
func recurrentCost(c *Infer, gates int64) Cost {
	x, okX := c.Shape(0).Static()
	r, okR := c.Shape(2).Static()
	if !okX || !okR || len(x) != 3 || len(r) != 3 {
		return Cost{}
	}
	hidden := int64(r[2])
	return matrixCost(c, int64(x[0])*int64(x[1])*int64(r[0])*gates*hidden*(int64(x[2])+hidden))
}

// recurrence is a call of a recurrent layer: the sizes of its operands.
type recurrence struct {
	steps, batch, input, hidden int
	dirs, gates                 int
	backward                    bool // of the first direction
	batchFirst                  bool
	lens                        []int // steps of each sequence
}

// newRecurrence checks the operands of a layer with the given number of gates.
func newRecurrence(e *Eval, gates int) (*recurrence, error) {
	dirs, err := directions(&e.Call)
	if err != nil {
		return nil, err
	}
	xs, ws, rs := e.Tensor(0).Shape(), e.Tensor(1).Shape(), e.Tensor(2).Shape()
	if len(xs) != 3 {
		return nil, e.Errorf(0, "sequence has %d axes, want 3", len(xs))
	}
	if len(rs) != 3 || rs[0] != dirs || rs[1] != gates*rs[2] {
		return nil, e.Errorf(2, "recurrence weight does not fit, want [%d,%d*H,H]", dirs, gates)
	}
	r := &recurrence{
		steps: xs[0], batch: xs[1], input: xs[2], hidden: rs[2], dirs: dirs, gates: gates,
		backward:   e.Node.Str("direction", "forward") == "reverse",
		batchFirst: e.Node.Int("layout", 0) != 0,
	}
	if r.batchFirst {
		r.steps, r.batch = r.batch, r.steps
	}
	if h := int(e.Node.Int("hidden_size", int64(r.hidden))); h != r.hidden {
		return nil, e.Errorf(2, "recurrence weight is for %d hidden units, want %d", r.hidden, h)
	}
	if want := (tensor.Shape{dirs, gates * r.hidden, r.input}); !ws.Equal(want) {
		return nil, e.Errorf(1, "weight has another shape, want %v", want)
	}
	if b := e.Tensor(3); b != nil && b.Len() != dirs*2*gates*r.hidden {
		return nil, e.Errorf(3, "bias has another shape, want [%d,%d]", dirs, 2*gates*r.hidden)
	}
	for i := 5; i <= 6; i++ {
		if s := e.Tensor(i); s != nil && s.Len() != dirs*r.batch*r.hidden {
			return nil, e.Errorf(i, "initial state has another shape, want [%d,%d,%d]", dirs, r.batch, r.hidden)
		}
	}
	return r, r.readLengths(e)
}

// readLengths sets the steps of each sequence from input 4.
func (r *recurrence) readLengths(e *Eval) error {
	r.lens = make([]int, r.batch)
	fillWith(r.lens, r.steps)
	if e.Tensor(4) == nil {
		return nil
	}
	lens, err := e.ints(4)
	if err != nil {
		return err
	}
	if len(lens) != r.batch {
		return e.Errorf(4, "want a length for each of %d sequences", r.batch)
	}
	for _, n := range lens {
		if n < 0 || n > r.steps {
			return e.Errorf(4, "length %d is outside of the %d steps", n, r.steps)
		}
	}
	r.lens = lens
	return nil
}

// sequenceShape and stateShape are those of the results.
func (r *recurrence) sequenceShape() tensor.Shape {
	if r.batchFirst {
		return tensor.Shape{r.batch, r.steps, r.dirs, r.hidden}
	}
	return tensor.Shape{r.steps, r.dirs, r.batch, r.hidden}
}

func (r *recurrence) stateShape() tensor.Shape {
	if r.batchFirst {
		return tensor.Shape{r.batch, r.dirs, r.hidden}
	}
	return tensor.Shape{r.dirs, r.batch, r.hidden}
}

// inputRow is the index of the row of X of one step and sequence; sequenceRow
// and stateRow are those of the results.
func (r *recurrence) inputRow(t, b int) int {
	if r.batchFirst {
		return b*r.steps + t
	}
	return t*r.batch + b
}

func (r *recurrence) sequenceRow(t, d, b int) int {
	if r.batchFirst {
		return (b*r.steps+t)*r.dirs + d
	}
	return (t*r.dirs+d)*r.batch + b
}

func (r *recurrence) stateRow(d, b int) int {
	if r.batchFirst {
		return b*r.dirs + d
	}
	return d*r.batch + b
}

// at returns the step of sequence b that comes i-th in direction d, and false
// where the sequence has ended.
func (r *recurrence) at(i, d, b int) (t int, ok bool) {
	if i >= r.lens[b] {
		return 0, false
	}
	if r.backward || d == 1 {
		return r.lens[b] - 1 - i, true
	}
	return i, true
}

// rightFactor multiplies rows with the transpose of a weight [n, depth].
type rightFactor[T real] struct {
	kernels  *kernel.Table
	panels   []T
	n, depth int
}

func newRightFactor[T real](k *kernel.Table, weight []T, n, depth int) *rightFactor[T] {
	width := panelWidth[T](k)
	f := &rightFactor[T]{kernels: k, panels: make([]T, packedLen(width, depth, n)), n: n, depth: depth}
	packPanels(f.panels, weight, width, depth, n, 1, depth)
	return f
}

// apply sets dst [rows, n] to x [rows, depth] times the factor.
func (f *rightFactor[T]) apply(dst, x []T, rows int) {
	p := panelProduct[T]{M: rows, N: f.n, K: f.depth, A: x, LDA: f.depth, B: f.panels, C: dst, LDC: f.n}
	p.compute(f.kernels, 0, rows)
}

// recurrentPass is one direction of a layer while it runs.
type recurrentPass[T real] struct {
	*recurrence
	dir    int
	gatesX []T // X*W' + bias of every step, gates*hidden each
	bias   []T // 2*gates*hidden, nil if there is none
	h, c   []T // the states [batch, hidden]
	acts   []activation[T]
	clip   T // 0 if there is no bound
}

// recurrentCell advances the states of every sequence by a step: x holds the gates'
// parts from the input, [batch, gates*hidden].
type recurrentCell[T real] interface {
	step(p *recurrentPass[T], x []T)
}

// runRecurrent runs a layer in all directions and hands over its results. newCell makes
// the cell of a direction; cells with a second state have it in results 2.
func runRecurrent[T real](e *Eval, r *recurrence, defaults []string, newCell func(dir int, p *recurrentPass[T]) recurrentCell[T]) error {
	acts, err := activations[T](e, r.dirs, defaults)
	if err != nil {
		return err
	}
	d := e.Tensor(0).DType()
	y := newResult[T](e, d, r.sequenceShape())
	clear(y.Data)
	last, lastC := newResult[T](e, d, r.stateShape()), newResult[T](e, d, r.stateShape())
	e.Parallel(r.dirs, 1, func(lo, hi int) {
		for dir := lo; dir < hi; dir++ {
			p := newPass(e, r, dir, acts[dir])
			p.run(newCell(dir, p), y.Data)
			for b := range r.batch {
				at := r.stateRow(dir, b) * r.hidden
				copy(last.Data[at:at+r.hidden], p.h[b*r.hidden:])
				copy(lastC.Data[at:at+r.hidden], p.c[b*r.hidden:])
			}
		}
	})
	if err := setReal(e, 0, y); err != nil {
		return err
	}
	if err := setReal(e, 1, last); err != nil {
		return err
	}
	return setReal(e, 2, lastC)
}

// newPass multiplies the whole input with the weight of a direction and loads
// its initial states.
func newPass[T real](e *Eval, r *recurrence, dir int, acts []activation[T]) *recurrentPass[T] {
	width := r.gates * r.hidden
	p := &recurrentPass[T]{recurrence: r, dir: dir, acts: acts, clip: T(e.Node.Float("clip", 0))}
	p.gatesX = make([]T, r.steps*r.batch*width)
	w := realsOf[T](e, 1)[dir*width*r.input:][:width*r.input]
	newRightFactor(e.kernels(), w, width, r.input).apply(p.gatesX, realsOf[T](e, 0), r.steps*r.batch)
	if b := realsOf[T](e, 3); b != nil {
		p.bias = b[dir*2*width:][:2*width]
		for i := range p.gatesX {
			p.gatesX[i] += p.bias[i%width]
		}
	}
	p.h, p.c = initialState(r, realsOf[T](e, 5), dir), initialState(r, realsOf[T](e, 6), dir)
	return p
}

// initialState returns the states [batch, hidden] of one direction.
func initialState[T real](r *recurrence, data []T, dir int) []T {
	out := make([]T, r.batch*r.hidden)
	for b := range r.batch {
		if data != nil {
			copy(out[b*r.hidden:][:r.hidden], data[r.stateRow(dir, b)*r.hidden:])
		}
	}
	return out
}

// run steps through all sequences at once and writes the states into y. A
// sequence that has ended keeps its states.
func (p *recurrentPass[T]) run(c recurrentCell[T], y []T) {
	width := p.gates * p.hidden
	x := make([]T, p.batch*width)
	keptH, keptC := make([]T, len(p.h)), make([]T, len(p.c))
	for i := range p.steps {
		copy(keptH, p.h)
		copy(keptC, p.c)
		for b := range p.batch {
			if t, ok := p.at(i, p.dir, b); ok {
				copy(x[b*width:][:width], p.gatesX[p.inputRow(t, b)*width:])
			}
		}
		c.step(p, x)
		for b := range p.batch {
			from, to := b*p.hidden, (b+1)*p.hidden
			if t, ok := p.at(i, p.dir, b); ok {
				copy(y[p.sequenceRow(t, p.dir, b)*p.hidden:][:p.hidden], p.h[from:to])
				continue
			}
			copy(p.h[from:to], keptH[from:to])
			copy(p.c[from:to], keptC[from:to])
		}
	}
}

// activate bounds s by the clip and applies activation number i.
func (p *recurrentPass[T]) activate(i int, s []T) {
	if p.clip > 0 {
		for j, v := range s {
			s[j] = min(max(v, -p.clip), p.clip)
		}
	}
	p.acts[i](s)
}

// recurrentWeight returns rows [from, to) of the recurrence weight of a
// direction, as gates.
func recurrentWeight[T real](e *Eval, r *recurrence, dir, from, to int) *rightFactor[T] {
	w := realsOf[T](e, 2)[dir*r.gates*r.hidden*r.hidden:]
	return newRightFactor(e.kernels(), w[from*r.hidden*r.hidden:to*r.hidden*r.hidden], (to-from)*r.hidden, r.hidden)
}

// recurrentBias returns the bias of one gate's recurrent part, nil if there
// is none.
func (p *recurrentPass[T]) recurrentBias(gate int) []T {
	if p.bias == nil {
		return nil
	}
	return p.bias[(p.gates+gate)*p.hidden:][:p.hidden]
}

// addBias adds a bias, which may be nil, to s.
func addBias[T real](s, bias []T) {
	for i, v := range bias {
		s[i] += v
	}
}
