package engine

import (
	"fmt"
	"sync/atomic"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// program is a graph ready to run: steps in order over numbered slots.
type program struct {
	graph *graph.Graph
	open  bool // has steps that are marked as fixed
	// sized and fixed say of slots whether the size, and the contents too, of
	// what they hold before the first step is the same every time: see
	// specialize.go. They are nil where that is not looked at.
	sized, fixed []bool
	steps        []step
	inputs       []int
	outputs      []int
	captures     []capture
	// initial holds what the slots contain before the first step: the
	// constants, and defaults of inputs.
	initial []tensor.Value
	names   []string // of the slots, for messages
}

// capture says that a slot begins with the value of a slot of the program
// around.
type capture struct{ outer, inner int }

// step is one node of a program. A slot of -1 is an omitted operand or
// result.
type step struct {
	node    *graph.Node
	info    nodeInfo
	eval    func(*op.Eval) error
	in, out []int
	drop    []int // slots that no later step reads
	bodies  []*body
	fixed   bool // gives the same results for all feeds of one size
}

// body is a graph inside a node, as a program that is replaced by a shorter
// one once more is known of what it sees.
type body struct{ now atomic.Pointer[program] }

func newBody(p *program) *body {
	b := &body{}
	b.now.Store(p)
	return b
}

// lowering turns graphs of a source into programs.
type lowering struct {
	src   *source
	fixed map[*graph.Value]tensor.Value // results known at compile time
	later map[*graph.Value]func()       // sets fixed where that is asked for
}

// programBuilder lowers one graph.
type programBuilder struct {
	*lowering
	p     *program
	outer *programBuilder // of the graph around, nil for the main graph
	slots map[*graph.Value]int
}

// lower builds the program of g, a graph inside the one that outer lowers.
func (l *lowering) lower(g *graph.Graph, outer *programBuilder) (*programBuilder, error) {
	b := &programBuilder{lowering: l, p: &program{graph: g}, outer: outer, slots: map[*graph.Value]int{}}
	for _, v := range g.Inputs() {
		b.p.inputs = append(b.p.inputs, b.slot(v))
	}
	for _, v := range g.Inits() {
		if err := b.initializer(v); err != nil {
			return nil, err
		}
	}
	for n := range g.Nodes() {
		if err := b.step(n); err != nil {
			return nil, err
		}
	}
	for _, v := range g.Outputs() {
		b.p.outputs = append(b.p.outputs, b.slot(v))
	}
	b.p.liveness()
	return b, nil
}

// slot returns the slot of v; a value of a graph around is captured.
func (b *programBuilder) slot(v *graph.Value) int {
	if v == nil {
		return -1
	}
	if s, ok := b.slots[v]; ok {
		return s
	}
	s := len(b.p.initial)
	b.slots[v] = s
	b.p.names = append(b.p.names, v.Name())
	if v.Graph() == b.p.graph {
		b.p.initial = append(b.p.initial, b.fixed[v])
		return s
	}
	b.p.initial = append(b.p.initial, b.known(v))
	if b.p.initial[s] == nil {
		b.p.captures = append(b.p.captures, capture{b.outer.slot(v), s})
	}
	return s
}

func (b *programBuilder) initializer(v *graph.Value) error {
	if !v.Used() {
		return nil
	}
	t, err := dense(v.Init)
	if err != nil {
		return fmt.Errorf("initializer %q: %w", v.Name(), err)
	}
	b.p.initial[b.slot(v)] = t
	return nil
}

func (b *programBuilder) step(n *graph.Node) error {
	if b.folded(n) {
		return nil
	}
	info := b.src.info[n]
	s := step{node: n, info: info, eval: info.eval()}
	if s.eval == nil {
		return fmt.Errorf("%v: %w", n, op.Unknown(n, info.version))
	}
	for _, v := range n.Ins() {
		s.in = append(s.in, b.slot(v))
	}
	for _, g := range n.Subgraphs() {
		sub, err := b.lower(g, b)
		if err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
		s.bodies = append(s.bodies, newBody(sub.p))
	}
	for _, v := range n.Outs() {
		s.out = append(s.out, b.slot(v))
	}
	b.p.steps = append(b.p.steps, s)
	return nil
}

// folded reports whether every result of n is known already.
func (b *programBuilder) folded(n *graph.Node) bool {
	for _, v := range n.Outs() {
		if v != nil && b.known(v) == nil {
			return false
		}
	}
	return n.NumOut() > 0
}

// liveness lists with each step the slots that it is the last to read, and
// those of its results that nothing reads.
func (p *program) liveness() {
	held := make([]bool, len(p.initial)) // outlives the run, or was there before it
	for s, v := range p.initial {
		held[s] = v != nil
	}
	for _, s := range p.outputs {
		held[s] = true
	}
	for i := len(p.steps) - 1; i >= 0; i-- {
		st := &p.steps[i]
		st.drop = nil
		last := func(s int) {
			if s >= 0 && !held[s] {
				held[s] = true
				st.drop = append(st.drop, s)
			}
		}
		for _, s := range st.out {
			last(s)
		}
		for _, s := range st.in {
			last(s)
		}
		for _, b := range st.bodies {
			for _, c := range b.now.Load().captures {
				last(c.outer)
			}
		}
	}
}

// dense returns a literal as a dense tensor.
func dense(l *graph.Literal) (*tensor.Tensor, error) {
	if l.Sparse == nil {
		return l.Tensor, nil
	}
	return l.Sparse.Dense()
}
