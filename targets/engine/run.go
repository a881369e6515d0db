package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// run is the state of one run of a session.
type run struct {
	session *Session
	ctx     context.Context
	pcg     *rand.PCG
	rand    *rand.Rand
	team    team
	arena   arena
	frames  map[*program][]*frame // free ones, by program
	inner   time.Duration         // in steps of bodies, of the step that runs
}

// frame holds the values of one execution of a program.
type frame struct {
	run   *run
	prog  *program
	vals  []tensor.Value
	evals []op.Eval
	arena *arena         // nil if values live on the heap
	held  []tensor.Value // results of fixed steps, by slot, if they are to be noted
	lent  []tensor.Value // what bodies gave to the step that runs
	base  int            // buffers lent before the frame's first step
}

// frame returns a frame of p with the constants in place.
func (r *run) frame(p *program) *frame {
	free := r.frames[p]
	if n := len(free); n > 0 {
		f := free[n-1]
		r.frames[p] = free[:n-1]
		copy(f.vals, p.initial)
		f.base = len(r.arena.lent)
		return f
	}
	f := &frame{run: r, prog: p, vals: slices.Clone(p.initial), base: len(r.arena.lent)}
	if r.session.opts.Observe == nil {
		f.arena = &r.arena
	}
	f.evals = make([]op.Eval, len(p.steps))
	for i := range p.steps {
		f.evals[i] = f.eval(&p.steps[i])
	}
	return f
}

// done gives a frame back.
func (r *run) done(f *frame) {
	if f.arena != nil {
		for _, v := range f.vals {
			f.arena.drop(v)
		}
	}
	clear(f.vals)
	clear(f.lent)
	f.held, f.lent = nil, f.lent[:0]
	for i := range f.evals {
		clear(f.evals[i].In)
		clear(f.evals[i].Out)
	}
	r.frames[f.prog] = append(r.frames[f.prog], f)
}

func (f *frame) eval(st *step) op.Eval {
	e := op.Eval{
		Call:    op.Call{Node: st.node, Version: st.info.version},
		In:      make([]tensor.Value, len(st.in)),
		Out:     make([]tensor.Value, len(st.out)),
		Kernels: f.run.session.kernels,
		Rand:    f.run.rand,
		Split:   f.run.team.split,
	}
	if f.arena != nil {
		e.Alloc, e.AllocFramed = f.arena.alloc, f.arena.allocFramed
	}
	e.Constant = func(i int) bool { return f.prog.constant(st, i) }
	if len(st.bodies) > 0 {
		e.Sub = func(g *graph.Graph, args []tensor.Value) ([]tensor.Value, error) {
			return f.sub(st, g, args)
		}
		e.Free = f.free
	}
	return e
}

// execNoting runs the steps of f's program in order. If some are fixed, it
// returns their results by slot.
func (r *run) execNoting(f *frame) ([]tensor.Value, error) {
	if f.prog.open {
		f.held = make([]tensor.Value, len(f.prog.initial))
	}
	err := r.exec(f)
	return f.held, err
}

// constant reports whether input i of a step is the same at every run.
func (p *program) constant(st *step, i int) bool {
	if i >= len(st.in) || st.in[i] < 0 {
		return false
	}
	return p.initial[st.in[i]] != nil && !slices.Contains(p.inputs, st.in[i])
}

// exec runs the steps of f's program in order.
func (r *run) exec(f *frame) error {
	for i := range f.prog.steps {
		if err := r.ctx.Err(); err != nil {
			return fmt.Errorf("the run was stopped before %v: %w", f.prog.steps[i].node, err)
		}
		if err := r.step(f, &f.prog.steps[i], &f.evals[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) step(f *frame, st *step, e *op.Eval) error {
	for i, s := range st.in {
		e.In[i] = nil
		if s < 0 {
			continue
		}
		v := f.vals[s]
		if _, ok := v.(*tensor.Tensor); !ok {
			if err := st.accepts(i, v); err != nil {
				return f.explain(st, err)
			}
		}
		e.In[i] = v
	}
	clear(e.Out)
	e.Context = r.ctx
	if err := r.evaluate(st, e); err != nil {
		return f.explain(st, err)
	}
	for i, s := range st.out {
		if s < 0 {
			continue
		}
		if e.Out[i] == nil {
			return f.explain(st, fmt.Errorf("result %d %q was not computed", i, f.prog.names[s]))
		}
		f.set(s, e.Out[i])
		if st.fixed && f.held != nil {
			f.keep(s)
		}
	}
	for _, s := range st.drop {
		f.unset(s)
	}
	if f.arena != nil {
		f.endLoans()
		f.arena.settle(f.base)
	}
	return nil
}

// accepts reports how a value that is no tensor breaks the operator's schema
// as input i.
func (st *step) accepts(i int, v tensor.Value) error {
	if v == nil {
		return fmt.Errorf("input %d has no value", i)
	}
	if st.info.def == nil {
		return nil
	}
	schema := st.info.def.Schema(st.info.version)
	if schema == nil || len(schema.In) == 0 {
		return nil
	}
	formal := schema.In[min(i, len(schema.In)-1)]
	for _, t := range formal.Types {
		if fitsKind(v, t) {
			return nil
		}
	}
	if len(formal.Types) == 0 {
		return nil
	}
	return fmt.Errorf("input %d (%s) is %s, want %v", i, formal.Name, describe(v), formal.Types[0])
}

// evaluate computes one step under the eyes of the session's observers.
func (r *run) evaluate(st *step, e *op.Eval) error {
	o := &r.session.opts
	if o.Trace == nil && o.Observe == nil {
		return call(st, e)
	}
	outer := r.inner
	r.inner = 0
	start := time.Now()
	if err := call(st, e); err != nil {
		return err
	}
	elapsed := time.Since(start)
	if o.Trace != nil {
		o.Trace(Step{st.info.origin, st.info.rest, st.node.Op, st.info.machine != nil, e.In, e.Out, elapsed, r.inner})
	}
	r.inner = outer + elapsed
	if o.Observe != nil {
		o.Observe(st.info.origin, e.Out)
	}
	return nil
}

func (f *frame) set(slot int, v tensor.Value) {
	f.vals[slot] = v
	if f.arena != nil {
		f.arena.hold(v)
	}
}

// keep notes the result of a fixed step, which outlives the run.
func (f *frame) keep(slot int) {
	f.held[slot] = f.vals[slot]
	if f.arena != nil {
		f.arena.letGo(f.vals[slot])
	}
}

func (f *frame) unset(slot int) {
	if f.arena != nil {
		f.arena.drop(f.vals[slot])
	}
	f.vals[slot] = nil
}

// call evaluates one step and turns a panic of the operator into an error.
func call(st *step, e *op.Eval) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the operator panicked: %v", p)
		}
	}()
	return st.eval(e)
}

// sub runs a body of a step with the given arguments. What it gives out stays
// in place until the step ends, or frees it.
func (f *frame) sub(st *step, g *graph.Graph, args []tensor.Value) ([]tensor.Value, error) {
	b := st.body(g)
	if b == nil {
		return nil, fmt.Errorf("graph %q is not a subgraph of the node", g.Name)
	}
	p := b.now.Load()
	if len(args) != len(p.inputs) {
		return nil, fmt.Errorf("graph %q is given %d inputs, want %d", g.Name, len(args), len(p.inputs))
	}
	inner := f.run.frame(p)
	for _, c := range p.captures {
		inner.set(c.inner, f.vals[c.outer])
	}
	for i, s := range p.inputs {
		inner.set(s, args[i])
	}
	held, err := f.run.execNoting(inner)
	outs := make([]tensor.Value, len(p.outputs))
	for i, s := range p.outputs {
		outs[i] = inner.vals[s]
		f.lend(outs[i])
	}
	f.run.done(inner)
	if err != nil {
		return nil, err
	}
	if held != nil && b.now.CompareAndSwap(p, p.settled(held)) {
		delete(f.run.frames, p)
	}
	return outs, nil
}

// body returns the body of a step that g is, nil if it is none.
func (st *step) body(g *graph.Graph) *body {
	for _, b := range st.bodies {
		if b.now.Load().graph == g {
			return b
		}
	}
	return nil
}

// lend notes that the step that runs has v.
func (f *frame) lend(v tensor.Value) {
	if f.arena != nil {
		f.arena.hold(v)
		f.lent = append(f.lent, v)
	}
}

// free takes back a loan of v to the step that runs, or a result of New that
// it has no use for.
func (f *frame) free(v tensor.Value) {
	if f.arena == nil {
		return
	}
	if i := slices.Index(f.lent, v); i >= 0 {
		f.arena.drop(v)
		f.lent = slices.Delete(f.lent, i, i+1)
	}
	f.arena.recycle(v)
}

// endLoans takes back what the step that ran had.
func (f *frame) endLoans() {
	for _, v := range f.lent {
		f.arena.drop(v)
	}
	clear(f.lent)
	f.lent = f.lent[:0]
}

// explain puts the node before an error, and its operands behind.
func (f *frame) explain(st *step, err error) error {
	var ins []string
	for _, s := range st.in {
		if s >= 0 {
			ins = append(ins, f.prog.names[s]+" "+describe(f.vals[s]))
		}
	}
	return fmt.Errorf("%v: %w (inputs: %s)", st.node, err, strings.Join(ins, ", "))
}
