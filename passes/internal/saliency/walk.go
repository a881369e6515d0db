package saliency

import (
	"context"
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Walk runs the main graph of a model on a few samples at once, from one node
// to the next. It holds what later nodes read of each sample, so that what
// comes after a node can be run as often as one likes without what comes
// before. The model may be changed after the node that the walk has reached.
type Walk struct {
	ctx     context.Context
	model   *graph.Model
	threads int
	nodes   []*graph.Node
	place   map[*graph.Node]int
	last    map[*graph.Value]int // the last node that reads it; len(nodes) for outputs
	at      int
	states  []State
}

// State is what later nodes read of a sample.
type State map[*graph.Value]tensor.Value

// NewWalk starts a walk of m over samples of feeds.
func NewWalk(ctx context.Context, m *graph.Model, feeds []map[string]tensor.Value, threads int) *Walk {
	w := &Walk{ctx: ctx, model: m, threads: threads, place: map[*graph.Node]int{}, last: map[*graph.Value]int{}}
	for n := range m.Graph.Nodes() {
		for v := range n.Reads() {
			w.last[v] = len(w.nodes)
		}
		w.place[n] = len(w.nodes)
		w.nodes = append(w.nodes, n)
	}
	for _, v := range m.Graph.Outputs() {
		w.last[v] = len(w.nodes)
	}
	for _, f := range feeds {
		s := State{}
		for _, v := range m.Graph.Inputs() {
			if x := f[v.Name()]; x != nil {
				s[v] = x
			}
		}
		w.states = append(w.states, s)
	}
	return w
}

// Peak returns the most bytes that the walk of one sample holds at a time.
func Peak(ctx context.Context, m *graph.Model, feeds map[string]tensor.Value, threads int) (int64, error) {
	sizes, err := resultSizes(ctx, m, feeds, threads)
	if err != nil {
		return 0, err
	}
	w := NewWalk(ctx, m, nil, threads)
	peak := int64(1)
	for i, held := range w.loads(sizes) {
		if i < len(w.nodes) {
			for _, v := range w.nodes[i].Outs() {
				if v != nil {
					held += sizes[v.Name()]
				}
			}
		}
		peak = max(peak, held)
	}
	return peak, nil
}

// States returns what is held of each sample. They may be read until the walk
// goes on.
func (w *Walk) States() []State { return w.states }

// Reaches reports whether n is ahead, or the next node.
func (w *Walk) Reaches(n *graph.Node) bool {
	at, ok := w.place[n]
	return ok && at >= w.at
}

// To goes on until n is the next node. It is an error if the walk has passed n.
func (w *Walk) To(n *graph.Node) error {
	if !w.Reaches(n) {
		return fmt.Errorf("%v is not ahead in the walk", n)
	}
	return w.to(w.place[n])
}

func (w *Walk) to(at int) error {
	if at == w.at {
		return nil
	}
	keep := w.live(w.at, at)
	run, err := w.compile(w.nodes[w.at:at], keep)
	if err != nil {
		return err
	}
	for i, s := range w.states {
		out, err := run(s)
		if err != nil {
			return err
		}
		next := State{}
		for v, x := range s {
			if w.last[v] >= at {
				next[v] = x
			}
		}
		for v, x := range out {
			next[v] = x
		}
		w.states[i] = next
	}
	w.at = at
	return nil
}

// live returns the results of nodes from to to-1 that later ones read.
func (w *Walk) live(from, to int) []*graph.Value {
	var list []*graph.Value
	for _, n := range w.nodes[from:to] {
		for _, v := range n.Outs() {
			if last, read := w.last[v]; v != nil && read && last >= to {
				list = append(list, v)
			}
		}
	}
	return list
}

// Precedes reports whether v is known before n runs: as an input, or the result
// of a node before it.
func (w *Walk) Precedes(v *graph.Value, n *graph.Node) bool {
	p := v.Producer()
	if p == nil {
		return v.IsInput()
	}
	at, ok := w.place[p]
	return ok && at < w.place[n]
}

// Node compiles the next node, n, for runs that return all its results.
func (w *Walk) Node(n *graph.Node) (func(State) (State, error), error) {
	if w.at >= len(w.nodes) || w.nodes[w.at] != n {
		return nil, fmt.Errorf("%v is not the next of the walk", n)
	}
	outs := slices.DeleteFunc(n.Outs(), func(v *graph.Value) bool { return v == nil })
	return w.compile(w.nodes[w.at:w.at+1], outs)
}

// Rest compiles what comes after the next node for runs that return the
// model's outputs.
func (w *Walk) Rest() (func(State) (State, error), error) { return w.from(min(w.at+1, len(w.nodes))) }

// Ahead is Rest with the next node.
func (w *Walk) Ahead() (func(State) (State, error), error) { return w.from(w.at) }

func (w *Walk) from(at int) (func(State) (State, error), error) {
	var outs []*graph.Value
	for _, v := range w.model.Graph.Outputs() {
		if p := v.Producer(); p != nil && w.place[p] >= at && !slices.Contains(outs, v) {
			outs = append(outs, v)
		}
	}
	return w.compile(w.nodes[at:], outs)
}

// compile makes a model of some nodes and returns how to run it: what the
// nodes read is taken out of a state, and the wanted results are returned.
func (w *Walk) compile(nodes []*graph.Node, wanted []*graph.Value) (func(State) (State, error), error) {
	if len(nodes) == 0 || len(wanted) == 0 {
		return func(State) (State, error) { return State{}, nil }, nil
	}
	x := newExtract(w.model, nodes)
	for _, v := range wanted {
		x.graph.AddOutput(x.to.Values[v])
	}
	s, err := engine.Compile(w.ctx, x.model, engine.Options{Threads: w.threads})
	if err != nil {
		return nil, err
	}
	return func(state State) (State, error) {
		feeds := map[string]tensor.Value{}
		for v, in := range x.feeds {
			if feeds[in.Name()] = state[v]; state[v] == nil {
				return nil, fmt.Errorf("%v has no contents", v)
			}
		}
		out, err := s.Run(w.ctx, feeds)
		if err != nil {
			return nil, err
		}
		result := State{}
		for _, v := range wanted {
			result[v] = out[x.to.Values[v].Name()]
		}
		return result, nil
	}, nil
}

// extract is a part of a model as a model of its own.
type extract struct {
	model *graph.Model
	graph *graph.Graph
	to    *graph.Mapping
	feeds map[*graph.Value]*graph.Value // what the part reads -> its input
}

// newExtract copies nodes, which stand in order; what they read and do not make
// becomes an input, unless it is constant.
func newExtract(m *graph.Model, nodes []*graph.Node) *extract {
	c := *m
	x := &extract{model: &c, graph: graph.New(m.Graph.Name), to: graph.NewMapping(), feeds: map[*graph.Value]*graph.Value{}}
	c.Graph, c.Wire, c.Training = x.graph, nil, nil
	x.graph.Attach(&c)
	for _, n := range nodes {
		for v := range n.Reads() {
			x.read(v)
		}
		ins := n.Ins()
		for i, v := range ins {
			if v != nil {
				ins[i] = x.to.Values[v]
			}
		}
		x.graph.Append(n.CloneMapped(ins, x.to))
	}
	return x
}

// read makes v, a value that a node reads, known to the copy.
func (x *extract) read(v *graph.Value) {
	switch {
	case x.to.Values[v] != nil:
	case v.IsConst():
		w := x.graph.Define(v.Name())
		x.graph.SetInit(w, v.Init)
		x.to.Values[v] = w
	default:
		in := x.graph.AddInput(v.Name(), v.Type)
		x.feeds[v], x.to.Values[v] = in, in
	}
}
