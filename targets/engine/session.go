package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets"
)

// Session is a compiled model. It may run many times, and concurrently;
// concurrent runs share the worker threads, so that only one of them is
// parallel inside at any moment.
type Session struct {
	opts    Options
	kernels *kernel.Table
	src     *source
	main    *program
	inputs  []input
	outputs []output
	notes   []string
	sizes   specializations
	runs    atomic.Uint64

	model    *graph.Model
	weights  int64                     // bytes
	needs    cache[string, memoryNeed] // by shapes of feeds
	mu       sync.Mutex
	idle     []*run
	variants map[string]*Session // by the names of the defaults that are overridden
}

// input is a graph input with its slot.
type input struct {
	name string
	typ  *graph.Type
	slot int
}

// output is a value that a run returns, with its slot.
type output struct {
	name string
	slot int
}

// Compile prepares m to run on the CPU that o.Target describes. The model is
// not changed, and must not be while the session is in use; weights are
// shared with it. The error wraps [targets.ErrForeign] if this CPU cannot run
// the target's code. An operator without an evaluation is reported with its
// domain and version.
func Compile(ctx context.Context, m *graph.Model, o Options) (*Session, error) {
	return compile(ctx, m, o, nil)
}

// compile is Compile for runs that give the named inputs, which have
// defaults.
func compile(ctx context.Context, m *graph.Model, o Options, given []string) (*Session, error) {
	kernels, err := o.kernels()
	if err != nil {
		return nil, err
	}
	s := &Session{opts: o, kernels: kernels, model: m}
	if err := s.admitWeights(); err != nil {
		return nil, err
	}
	src, err := copyModel(m, given)
	if err != nil {
		return nil, err
	}
	s.src = src
	for _, name := range o.Outputs {
		if err := src.expose(name); err != nil {
			return nil, err
		}
	}
	low := &lowering{src: src, fixed: map[*graph.Value]tensor.Value{}, later: map[*graph.Value]func(){}}
	if o.Observe == nil {
		if err := s.fold(ctx, low, src.graph); err != nil {
			return nil, err
		}
		if !o.Plain {
			opt := &optimizer{src: src, low: low, kernels: kernels, threads: o.threads()}
			opt.optimize()
			s.notes = opt.notes
		}
	}
	b, err := low.lower(src.graph, nil)
	if err != nil {
		return nil, err
	}
	s.main = b.p
	s.sizes.any = o.Observe == nil && s.main.forFeeds().anyOpen()
	for i, v := range src.graph.Inputs() {
		s.inputs = append(s.inputs, input{v.Name(), v.Type, b.p.inputs[i]})
	}
	for i, name := range src.outputs {
		s.outputs = append(s.outputs, output{name, b.p.outputs[i]})
	}
	return s, nil
}

func (o *Options) kernels() (*kernel.Table, error) {
	t := o.Target
	if t.Name == "" {
		t = targets.Host()
	}
	if o.Emulate {
		return t.Emulated(), nil
	}
	return t.Kernels()
}

// Run computes the outputs for the given feeds, by name. Inputs with a
// default may be left out. Results may share memory with feeds and weights:
// neither they nor the feeds are to be written to while the other is in use.
// Errors name the node, the operator and the operands' shapes.
func (s *Session) Run(ctx context.Context, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	if len(feeds) > len(s.inputs) {
		return s.runVariant(ctx, feeds)
	}
	if err := s.admit(feeds); err != nil {
		return nil, err
	}
	r := s.acquire(ctx)
	defer s.release(r)
	r.team.enter(s.opts.threads())
	defer r.team.leave()
	if !s.sizes.any {
		out, _, err := s.runProgram(r, s.main, feeds)
		return out, err
	}
	b := s.sizes.programFor(shapesOf(s.inputs, feeds), s.main)
	p := b.now.Load()
	out, held, err := s.runProgram(r, p, feeds)
	if held != nil && err == nil && b.now.CompareAndSwap(p, p.settled(held)) {
		delete(r.frames, p)
	}
	return out, err
}

// runProgram runs a program of the main graph, and returns the results of its
// fixed steps too, nil if it has none.
func (s *Session) runProgram(r *run, p *program, feeds map[string]tensor.Value) (out map[string]tensor.Value, held []tensor.Value, err error) {
	f := r.frame(p)
	defer r.arena.reset()
	defer r.done(f)
	if err := s.feed(f, feeds); err != nil {
		return nil, nil, err
	}
	if held, err = r.execNoting(f); err != nil {
		return nil, nil, err
	}
	out, err = s.results(f)
	return out, held, err
}

// runVariant runs a session that is compiled for the inputs with defaults
// that are given in feeds.
func (s *Session) runVariant(ctx context.Context, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	var given, known []string
	for _, v := range s.model.Graph.Inputs() {
		known = append(known, v.Name())
		if v.Init != nil && feeds[v.Name()] != nil {
			given = append(given, v.Name())
		}
	}
	for name, v := range feeds {
		switch {
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("feed %q: the model has no such input, only %q", name, known)
		case v == nil:
			return nil, fmt.Errorf("input %q: no value is given", name)
		}
	}
	key := strings.Join(given, "\x00")
	s.mu.Lock()
	v := s.variants[key]
	s.mu.Unlock()
	if v == nil {
		var err error
		if v, err = compile(ctx, s.model, s.opts, given); err != nil {
			return nil, err
		}
		s.mu.Lock()
		if s.variants == nil {
			s.variants = map[string]*Session{}
		}
		s.variants[key] = v
		s.mu.Unlock()
	}
	return v.Run(ctx, feeds)
}

// feed fills the slots of the inputs; feeds has no more entries than there
// are inputs.
func (s *Session) feed(f *frame, feeds map[string]tensor.Value) error {
	for _, in := range s.inputs {
		v, ok := feeds[in.name]
		if !ok {
			return fmt.Errorf("input %q: no value is given, want %v", in.name, in.typ)
		}
		if err := fits(v, in.typ); err != nil {
			return fmt.Errorf("input %q: %w", in.name, err)
		}
		f.vals[in.slot] = v
	}
	return nil
}

// Explain says why nodes were not fused, a line for each.
func (s *Session) Explain() []string { return slices.Clone(s.notes) }

func (s *Session) results(f *frame) (map[string]tensor.Value, error) {
	out := make(map[string]tensor.Value, len(s.outputs))
	for _, o := range s.outputs {
		v := f.vals[o.slot]
		if v == nil {
			return nil, fmt.Errorf("output %q was not computed", o.name)
		}
		if f.arena != nil {
			v = f.arena.release(v)
		}
		out[o.name] = v
	}
	return out, nil
}

// acquire returns the state of a new run, reusing that of a finished one.
func (s *Session) acquire(ctx context.Context) *run {
	s.mu.Lock()
	var r *run
	if n := len(s.idle); n > 0 {
		r, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	s.mu.Unlock()
	if r == nil {
		r = &run{session: s, frames: map[*program][]*frame{}}
		r.pcg = rand.NewPCG(0, 0)
		r.rand = rand.New(r.pcg)
	}
	r.ctx, r.inner = ctx, 0
	r.pcg.Seed(s.opts.Seed, s.runs.Add(1)-1)
	return r
}

// maxFrames bounds the programs, bodies included, that an idle run keeps frames
// for.
const maxFrames = 64 * maxSpecializations

func (s *Session) release(r *run) {
	r.ctx = nil
	if len(r.frames) > maxFrames {
		clear(r.frames) // most are for sizes that are forgotten
	}
	s.mu.Lock()
	s.idle = append(s.idle, r)
	s.mu.Unlock()
}
