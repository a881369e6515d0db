package grad

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// A loop runs backward as a loop of as many iterations, the last one first.
// For that the loop itself also stacks the states that its iterations begin
// with. The loop back carries the gradients of the states, and sums of the
// gradients of what the body reads from outside.

// recordStates makes a loop stack the states that iterations begin with, which
// are inputs first, … of its body, and returns the stacks.
func (s *scope) recordStates(n *graph.Node, body *graph.Graph, first, states int) ([]*graph.Value, error) {
	stacks := make([]*graph.Value, states)
	for i, v := range body.Inputs()[first : first+states] {
		if v.Type != nil && v.Type.Kind != graph.KindTensor {
			return nil, fmt.Errorf("%w: it carries %v, want tensors", op.ErrNoGradient, v.Type)
		}
		kept := graph.NewBuilder(body, body.First()).Named("backward/").Op("Identity", v)
		kept.Type, kept.Inferred = v.Type, true
		body.AddOutput(kept)
		stacks[i] = n.AddOut()
		s.g.Rename(stacks[i], s.g.Fresh("backward/States"))
	}
	return stacks, nil
}

// loopBack is a loop that runs backward, in the making.
type loopBack struct {
	*scope                  // of its body
	outer    *scope         // around it
	loop     *graph.Node    // that it differentiates
	outs     []*graph.Value // what the copy of the body gave out
	states   []int          // which states have a gradient
	captured []*graph.Value
	carried  []*graph.Value // inputs of the body: gradients of states, sums of those of what is captured
	initial  []*graph.Value // what these begin with
}

// newLoopBack returns the loop back of n, which has the given body. Of the
// body's inputs, states stand from first on.
func (s *scope) newLoopBack(n *graph.Node, body *graph.Graph, first, states int, dout []*graph.Value) *loopBack {
	l := &loopBack{outer: s, loop: n, captured: s.captured(n)}
	for i, v := range body.Inputs()[first : first+states] {
		if !s.needed[v] {
			continue
		}
		l.states = append(l.states, i)
		d := dout[i]
		if d == nil {
			d = op.Zeros(s.emit, n.In(first+i))
		}
		l.initial = append(l.initial, d)
	}
	for _, v := range l.captured {
		l.initial = append(l.initial, op.Zeros(s.emit, v))
	}
	return l
}

// enter puts the copy of the body into the node of the loop back and opens
// its scope.
func (l *loopBack) enter(back *graph.Node, body *graph.Graph) {
	back.SetAttr(graph.GraphAttr("body", body))
	l.outer.emit.Add(back)
	l.scope = l.outer.scope(body)
	l.outs = l.takeOutputs()
}

// start returns a builder for what comes before the nodes of the body.
func (l *loopBack) start() *graph.Builder {
	return graph.NewBuilder(l.g, l.g.First()).Named("backward/")
}

// input adds an input like v to the body.
func (l *loopBack) input(name string, t *graph.Type) *graph.Value {
	return l.g.AddInput(l.g.Fresh("backward/"+name), t)
}

// carry adds the carried inputs, of the types of the states and of what is
// captured.
func (l *loopBack) carry(states []*graph.Value) {
	for _, i := range l.states {
		l.carried = append(l.carried, l.input("state", states[i].Type))
	}
	for _, v := range l.captured {
		l.carried = append(l.carried, l.input("sum", v.Type))
	}
}

// finish seeds the states, runs the body backward and gives out what is
// carried on: the gradients of the states, and the sums.
func (l *loopBack) finish(skip int, states []*graph.Value) error {
	for k, i := range l.states {
		l.add(l.outs[skip+i], l.carried[k])
	}
	if err := l.backward(1); err != nil {
		return err
	}
	for _, i := range l.states {
		l.give(l.orZeros(states[i]))
	}
	for k, v := range l.captured {
		sum := l.carried[len(l.states)+k]
		if d := l.total(v); d != nil {
			sum = l.emit.Op("Add", sum, d)
		}
		l.give(sum)
	}
	return nil
}

// collect adds the results of the loop back to the gradients around it.
func (l *loopBack) collect(back *graph.Node, first int) {
	for k, i := range l.states {
		l.outer.add(l.loop.In(first+i), back.Out(k))
	}
	for k, v := range l.captured {
		l.outer.add(v, back.Out(len(l.states)+k))
	}
}

// gradLoop emits the loop back of a Loop. Iteration j of it differentiates
// iteration n-1-j.
func (s *scope) gradLoop(n *graph.Node, dout []*graph.Value) error {
	body := subgraph(n, "body")
	states := max(0, n.NumIn()-2)
	if body == nil || len(body.Inputs()) != states+2 || len(body.Outputs()) < states+1 {
		return fmt.Errorf("attribute body does not fit %d carried values", states)
	}
	scans := len(body.Outputs()) - 1 - states
	inside := s.copyOf(body)
	l := s.newLoopBack(n, body, 2, states, dout)
	stacks, err := s.recordStates(n, body, 2, states)
	if err != nil {
		return err
	}
	count := s.iterations(n, stacks, states, scans)
	if count == nil {
		return nil
	}
	back := graph.NewNode("", "Loop", append([]*graph.Value{count, nil}, l.initial...), len(l.initial))
	l.enter(back, inside)
	old := l.g.Inputs()
	iteration := l.input("iteration", graph.TensorOf(tensor.Int64, graph.Dims{}))
	l.input("condition", graph.TensorOf(tensor.Bool, graph.Dims{}))
	l.carry(old[2:])
	at := l.rewind(old, iteration, count, stacks)
	for k := range scans {
		if d := dout[states+k]; d != nil {
			l.add(l.outs[1+states+k], l.emit.Op("Gather", d, at))
		}
	}
	l.give(l.emit.Const("c", tensor.Of(tensor.Shape{}, []bool{true})))
	if err := l.finish(1, old[2:]); err != nil {
		return err
	}
	l.collect(back, 2)
	return nil
}

// iterations is how many iterations a Loop ran: as long as its stacks are. It
// is nil if the loop gives nothing out.
func (s *scope) iterations(n *graph.Node, stacks []*graph.Value, states, scans int) *graph.Value {
	var stack *graph.Value
	if len(stacks) > 0 {
		stack = stacks[0]
	}
	for k := range scans {
		if v := n.Out(states + k); stack == nil && v != nil {
			stack = v
		}
	}
	if stack == nil {
		return nil
	}
	return s.emit.Op("Gather", s.emit.Op("Shape", stack), scalar(s.emit, 0))
}

// rewind makes the copy of a Loop's body, which had the inputs old, compute
// the iteration that the given one of the loop back differentiates. It returns
// the number of that.
func (l *loopBack) rewind(old []*graph.Value, iteration, count *graph.Value, stacks []*graph.Value) *graph.Value {
	b := l.start()
	at := b.Op("Sub", b.Op("Sub", count, scalar(b, 1)), iteration)
	shaped := func(v, like *graph.Value) *graph.Value {
		if like.Type != nil && len(like.Type.Shape) == 1 {
			return b.Op("Unsqueeze", v, b.Const("i", tensor.Vector[int64](0)))
		}
		return b.Op("Identity", v)
	}
	values := []*graph.Value{shaped(at, old[0]), shaped(b.Const("c", tensor.Of(tensor.Shape{}, []bool{true})), old[1])}
	for _, stack := range stacks {
		values = append(values, b.Op("Gather", stack, at))
	}
	for i, v := range values {
		l.replaceInput(old[i], v, l.outs)
		old[i] = v
	}
	return at
}

// gradScan emits the loop back of a Scan: a Scan over the stacks of states,
// what the Scan read, and the gradients of what it stacked, all in the other
// direction. It stacks the gradients of what was read.
func (s *scope) gradScan(n *graph.Node, dout []*graph.Value) error {
	body := subgraph(n, "body")
	scanned := int(n.Int("num_scan_inputs", 0))
	states := n.NumIn() - scanned
	if body == nil || scanned < 1 || states < 0 || len(body.Inputs()) != n.NumIn() || len(body.Outputs()) < states {
		return fmt.Errorf("attribute body does not fit %d inputs, %d of them scanned", n.NumIn(), scanned)
	}
	results := len(body.Outputs()) - states
	inside := s.copyOf(body)
	l := s.newLoopBack(n, body, 0, states, dout)
	o := scanOrder{inAxes: listOf(n, "scan_input_axes", scanned), inBack: listOf(n, "scan_input_directions", scanned),
		outAxes: listOf(n, "scan_output_axes", results), outBack: listOf(n, "scan_output_directions", results)}
	stacks, err := s.recordStates(n, body, 0, states)
	if err != nil {
		return err
	}
	o.record(n, states)
	var wanted []int // which of the scanned inputs need a gradient
	for i := range scanned {
		if v := n.In(states + i); v != nil && s.needed[v] {
			wanted = append(wanted, i)
		}
	}
	feeds, back := o.reverse(n, l, stacks, dout, states, wanted)
	l.enter(back, inside)
	old := l.g.Inputs()
	l.carry(old[:states])
	l.scans(old, feeds, states, results, dout)
	if err := l.finish(0, old[:states]); err != nil {
		return err
	}
	l.collect(back, 0)
	for k, i := range wanted {
		l.give(l.orZeros(old[states+i]))
		s.add(n.In(states+i), back.Out(len(l.initial)+k))
	}
	return nil
}

// scans adds the inputs of the body of a Scan back that read stacks, what the
// Scan read and gradients, and makes the copy of the body, which had the
// inputs old, read them.
func (l *loopBack) scans(old, feeds []*graph.Value, states, results int, dout []*graph.Value) {
	b := l.start()
	for i := range old {
		v := b.Op("Identity", l.input("scanned", old[i].Type))
		l.replaceInput(old[i], v, l.outs)
		old[i] = v
	}
	for k := range results {
		if dout[states+k] != nil {
			l.add(l.outs[states+k], l.input("gradient", l.outs[states+k].Type))
		}
	}
}

// scanOrder is in which order a Scan reads its inputs and stacks its results.
type scanOrder struct{ inAxes, inBack, outAxes, outBack []int64 }

// listOf returns a list attribute of n integers, zeros if it is absent.
func listOf(n *graph.Node, name string, count int) []int64 {
	list := n.Ints(name)
	if len(list) != count {
		list = make([]int64, count)
	}
	return append([]int64{}, list...)
}

// record states the order of the results that were added for the states.
func (o *scanOrder) record(n *graph.Node, states int) {
	n.SetAttr(graph.IntsAttr("scan_output_axes", append(append([]int64{}, o.outAxes...), make([]int64, states)...)...))
	n.SetAttr(graph.IntsAttr("scan_output_directions", append(append([]int64{}, o.outBack...), make([]int64, states)...)...))
}

// reverse returns the Scan back without its body, and what it scans.
func (o *scanOrder) reverse(n *graph.Node, l *loopBack, stacks, dout []*graph.Value, states int, wanted []int) ([]*graph.Value, *graph.Node) {
	var feeds []*graph.Value
	var axes, back []int64
	scan := func(v *graph.Value, axis, direction int64) {
		feeds, axes, back = append(feeds, v), append(axes, axis), append(back, 1-direction)
	}
	for _, v := range stacks {
		scan(v, 0, 0)
	}
	for i := range o.inAxes {
		scan(n.In(states+i), o.inAxes[i], o.inBack[i])
	}
	for k := range o.outAxes {
		if d := dout[states+k]; d != nil {
			scan(d, o.outAxes[k], o.outBack[k])
		}
	}
	var outAxes, outBack []int64
	for _, i := range wanted {
		outAxes, outBack = append(outAxes, o.inAxes[i]), append(outBack, 1-o.inBack[i])
	}
	node := graph.NewNode("", "Scan", append(append([]*graph.Value{}, l.initial...), feeds...), len(l.initial)+len(wanted),
		graph.IntAttr("num_scan_inputs", int64(len(feeds))),
		graph.IntsAttr("scan_input_axes", axes...), graph.IntsAttr("scan_input_directions", back...))
	if len(wanted) > 0 {
		node.SetAttr(graph.IntsAttr("scan_output_axes", outAxes...))
		node.SetAttr(graph.IntsAttr("scan_output_directions", outBack...))
	}
	return feeds, node
}
