package op

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// scan is what a call of Scan says: states carried through the body, and the
// axis and direction of every input scanned and every output stacked.
type scan struct {
	body             *graph.Graph
	states, ins      int
	outs             int
	inAxis, outAxis  []int // may count from the end
	inBack, outFront []int // 1: read backward, put in front
}

// newScan reads a call with the given number of states and scanned inputs.
func newScan(c *Call, inputs int) (*scan, error) {
	s := &scan{body: subgraph(c, "body"), ins: int(c.Node.Int("num_scan_inputs", 0))}
	if s.body == nil {
		return nil, fmt.Errorf("attribute body is missing")
	}
	s.states = inputs - s.ins
	s.outs = len(s.body.Outputs()) - s.states
	if s.ins < 1 || s.states < 0 || s.outs < 0 || len(s.body.Inputs()) != inputs {
		return nil, fmt.Errorf("%d inputs, %d of them scanned, for a body with %d inputs and %d outputs",
			inputs, s.ins, len(s.body.Inputs()), len(s.body.Outputs()))
	}
	back := "scan_input_directions"
	if c.Version == 8 {
		back = "directions"
	}
	var err error
	for _, a := range []struct {
		list *[]int
		name string
		n    int
	}{
		{&s.inAxis, "scan_input_axes", s.ins}, {&s.inBack, back, s.ins},
		{&s.outAxis, "scan_output_axes", s.outs}, {&s.outFront, "scan_output_directions", s.outs},
	} {
		*a.list, err = flags(c, a.name, a.n)
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// flags returns a list attribute of n integers, zeros if it is absent.
func flags(c *Call, name string, n int) ([]int, error) {
	if c.Node.Attr(name) == nil {
		return make([]int, n), nil
	}
	list := toInts(c.Node.Ints(name))
	if len(list) != n {
		return nil, fmt.Errorf("attribute %s has %d entries, want %d", name, len(list), n)
	}
	return list, nil
}

func evalScan(e *Eval) error {
	s, err := newScan(&e.Call, len(e.In))
	if err != nil {
		return err
	}
	xs, err := tensorsOf(e.In[s.states:])
	if err != nil {
		return err
	}
	axis := make([]int, s.ins)
	for i, x := range xs {
		if axis[i], err = tensor.Axis(s.inAxis[i], x.Rank()); err != nil {
			return e.Errorf(s.states+i, "%w", err)
		}
		if x.Shape()[axis[i]] != xs[0].Shape()[axis[0]] {
			return e.Errorf(s.states+i, "%d steps along axis %d, want %d", x.Shape()[axis[i]], axis[i], xs[0].Shape()[axis[0]])
		}
	}
	state, stacks, err := s.run(e, slices.Clone(e.In[:s.states]), xs, axis, xs[0].Shape()[axis[0]])
	if err != nil {
		return err
	}
	for i, v := range state {
		e.SetOut(i, v)
	}
	for k, parts := range stacks {
		t, err := s.stack(e, k, parts)
		if err != nil {
			return err
		}
		e.SetOut(s.states+k, t)
	}
	return nil
}

// run carries state through n steps of the body and returns it with what each
// step gave for each stacked output.
func (s *scan) run(e *Eval, state []tensor.Value, xs []*tensor.Tensor, axis []int, n int) ([]tensor.Value, [][]*tensor.Tensor, error) {
	stacks := make([][]*tensor.Tensor, s.outs)
	for t := range n {
		if e.Context != nil {
			if err := e.Context.Err(); err != nil {
				return nil, nil, err
			}
		}
		args := slices.Clone(state)
		for i, x := range xs {
			at := t
			if s.inBack[i] != 0 {
				at = x.Shape()[axis[i]] - 1 - t
			}
			args = append(args, e.at(x, axis[i], at))
		}
		outs, err := e.Sub(s.body, args)
		if err != nil {
			return nil, nil, fmt.Errorf("step %d: %w", t, err)
		}
		e.free(args...)
		copy(state, outs)
		parts, err := tensorsOf(outs[s.states:])
		if err != nil {
			return nil, nil, fmt.Errorf("step %d: %w", t, err)
		}
		for k, p := range parts {
			stacks[k] = append(stacks[k], p)
		}
	}
	return state, stacks, nil
}

// stack makes output k from the values of its steps.
func (s *scan) stack(e *Eval, k int, parts []*tensor.Tensor) (*tensor.Tensor, error) {
	out := s.body.Outputs()[s.states+k]
	axis := s.outAxis[k]
	if axis < 0 {
		switch {
		case len(parts) > 0:
			axis += parts[0].Rank() + 1
		case out.Type != nil:
			axis += len(out.Type.Shape) + 1
		}
	}
	if axis < 0 {
		return nil, fmt.Errorf("attribute scan_output_axes has %d for %q", s.outAxis[k], out.Name())
	}
	if s.outFront[k] != 0 {
		slices.Reverse(parts)
	}
	return e.gathered(parts, axis, out)
}

// at returns index i of x along an axis, which goes away. Along the first
// axis it shares x's memory where it can.
func (e *Eval) at(x *tensor.Tensor, axis, i int) *tensor.Tensor {
	rest := slices.Delete(x.Shape().Clone(), axis, axis+1)
	n := rest.Len()
	switch bits := x.DType().Bits(); {
	case axis > 0 || bits > 0 && bits < 8:
	case bits == 0:
		return tensor.OfStrings(rest, x.Strings()[i*n:(i+1)*n])
	default:
		w := bits / 8
		if v, err := tensor.FromBytes(x.DType(), rest, x.Bytes()[i*n*w:(i+1)*n*w]); err == nil {
			return v
		}
	}
	return e.part(x, axis, i, 1).Reshape(rest)
}

// evalScanBatch is Scan of version 8: everything has a batch axis in front,
// and each sample scans its own number of steps along axis 1. Stacked outputs
// are as long as the longest and zero at the end.
func evalScanBatch(e *Eval) error {
	s, err := newScan(&e.Call, len(e.In)-1)
	if err != nil {
		return err
	}
	all, err := tensorsOf(e.In[1:])
	if err != nil {
		return err
	}
	xs := all[s.states:]
	for i, x := range xs {
		if x.Rank() < 2 || !x.Shape()[:2].Equal(xs[0].Shape()[:2]) {
			return e.Errorf(1+s.states+i, "want the batch and steps of %v", xs[0])
		}
	}
	batch, steps := xs[0].Shape()[0], xs[0].Shape()[1]
	lens := slices.Repeat([]int{steps}, batch)
	if e.Tensor(0) != nil {
		if lens, err = e.ints(0); err != nil {
			return err
		}
	}
	if len(lens) != batch {
		return e.Errorf(0, "want %d lengths", batch)
	}
	columns := make([][]*tensor.Tensor, s.states+s.outs)
	for b, n := range lens {
		if n < 0 || n > steps {
			return e.Errorf(0, "length %d of %d steps", n, steps)
		}
		if err := s.sample(e, all, b, n, steps, columns); err != nil {
			return fmt.Errorf("sample %d: %w", b, err)
		}
	}
	for k, parts := range columns {
		t, err := e.gathered(parts, 0, s.body.Outputs()[k])
		if err != nil {
			return err
		}
		e.SetOut(k, t)
	}
	return nil
}

// sample scans sample b over n of its steps and appends its results.
func (s *scan) sample(e *Eval, all []*tensor.Tensor, b, n, steps int, columns [][]*tensor.Tensor) error {
	state := make([]tensor.Value, s.states)
	xs := make([]*tensor.Tensor, s.ins)
	for i, x := range all {
		if x.Rank() < 1 || b >= x.Shape()[0] {
			return e.Errorf(1+i, "has no sample %d", b)
		}
		if i < s.states {
			state[i] = e.at(x, 0, b)
			continue
		}
		x = e.at(x, 0, b)
		if s.inBack[i-s.states] != 0 { // from the end of this sample
			x = e.part(x, 0, 0, n)
		}
		xs[i-s.states] = x
	}
	state, stacks, err := s.run(e, state, xs, make([]int, s.ins), n)
	if err != nil {
		return err
	}
	finals, err := tensorsOf(state)
	if err != nil {
		return err
	}
	for k, t := range finals {
		columns[k] = append(columns[k], t)
	}
	for k, parts := range stacks {
		t, err := s.stack(e, k, parts)
		if err != nil {
			return err
		}
		p := padding{make([]int, t.Rank()), make([]int, t.Rank())}
		p.end[0] = steps - n
		if t, err = e.pad(t, p, "constant", nil); err != nil {
			return err
		}
		columns[s.states+k] = append(columns[s.states+k], t)
	}
	return nil
}

func inferScan(c *Infer) error {
	skip := 0 // inputs before the states, axes before those the body sees
	if c.Version == 8 {
		skip = 1
	}
	s, err := newScan(&c.Call, len(c.In)-skip)
	if err != nil {
		return err
	}
	batch, steps := graph.Unknown(), graph.Unknown()
	items := make([]*graph.Type, s.ins)
	for i := range items {
		slot := skip + s.states + i
		shape := c.Shape(slot)
		items[i] = graph.TensorOf(c.Elem(slot), nil)
		if shape == nil {
			continue
		}
		axis, err := tensor.Axis(s.inAxis[i], len(shape)-skip)
		if err != nil {
			return c.Errorf(slot, "%w", err)
		}
		steps, _ = sameDim(steps, shape[skip+axis])
		if skip > 0 {
			batch, _ = sameDim(batch, shape[0])
		}
		rest := slices.Delete(slices.Clone(shape[skip:]), axis, axis+1)
		items[i] = graph.TensorOf(c.Elem(slot), rest)
	}
	state := make([]*graph.Type, s.states)
	for i := range state {
		state[i] = c.In[skip+i]
		if shape := c.Shape(skip + i); skip > 0 && len(shape) > 0 {
			state[i] = graph.TensorOf(c.Elem(skip+i), shape[1:])
		}
	}
	outs, err := c.carried(s.body, state, func(state []*graph.Type) []*graph.Type {
		return append(slices.Clone(state), items...)
	}, 0)
	if err != nil {
		return err
	}
	for i, t := range outs {
		if k := i - s.states; k >= 0 {
			axis := s.outAxis[k]
			if axis < 0 && t != nil {
				axis += len(t.Shape) + 1
			}
			t = stackType(t, max(axis, 0), steps)
		}
		if skip > 0 {
			t = stackType(t, 0, batch)
		}
		c.SetType(i, t)
	}
	return nil
}
