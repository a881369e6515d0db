package main

import (
	"fmt"
	goruntime "runtime"
	"slices"
	"unsafe"

	"github.com/onnxpack/onnxpack/targets/ort/wire"
)

// session is a loaded model.
type session struct {
	rt              *runtime
	handle          uintptr
	inputs, outputs []string
	model           []byte // kept while the session lives, which may refer to it
}

func (rt *runtime) load(l *wire.Load) (*session, error) {
	var opts uintptr
	if err := rt.call(createSessionOptions, address(&opts)); err != nil {
		return nil, err
	}
	defer rt.release(releaseSessionOptions, opts)
	for _, set := range []struct {
		slot  slot
		value int
	}{{setOptimizationLevel, l.Optimization}, {setIntraOpNumThreads, l.Threads}, {setInterOpNumThreads, 1}} {
		if err := rt.call(set.slot, opts, uintptr(set.value)); err != nil {
			return nil, err
		}
	}
	s := &session{rt: rt, model: l.Model}
	if err := s.create(l, opts); err != nil {
		return nil, err
	}
	var err error
	if s.inputs, err = s.names(sessionGetInputCount, sessionGetInputName); err != nil {
		return nil, err
	}
	s.outputs, err = s.names(sessionGetOutputCount, sessionGetOutputName)
	return s, err
}

func (s *session) create(l *wire.Load, opts uintptr) error {
	if l.Path != "" {
		path := cPath(l.Path)
		defer goruntime.KeepAlive(path)
		return s.rt.call(createSession, s.rt.env, address(path), opts, address(&s.handle))
	}
	if len(l.Model) == 0 {
		return fmt.Errorf("the model is empty")
	}
	return s.rt.call(createSessionFromArray, s.rt.env, address(&l.Model[0]), uintptr(len(l.Model)), opts, address(&s.handle))
}

func (s *session) names(count, name slot) ([]string, error) {
	var n uintptr
	if err := s.rt.call(count, s.handle, address(&n)); err != nil {
		return nil, err
	}
	var names []string
	for i := range n {
		var p uintptr
		if err := s.rt.call(name, s.handle, i, s.rt.allocator, address(&p)); err != nil {
			return nil, err
		}
		names = append(names, goString(p))
		if err := s.rt.call(allocatorFree, s.rt.allocator, p); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func (s *session) close() { s.rt.release(releaseSession, s.handle) }

// call is a run of a session with its operands in place.
type call struct {
	s             *session
	names         []*byte // of inputs, then outputs
	ins, outs     []uintptr
	outputs       []string
	keep          []any // Go memory that the operands refer to
	inPtr, outPtr []uintptr
}

func (s *session) prepare(r *wire.Run) (*call, error) {
	c := &call{s: s, outputs: r.Outputs}
	if c.outputs == nil {
		c.outputs = s.outputs
	}
	for _, name := range s.inputs {
		v := r.Feeds[name]
		if v == nil {
			continue // it may be optional; ONNX Runtime tells
		}
		h, err := c.operand(v)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("input %q: %w", name, err)
		}
		c.ins = append(c.ins, h)
		c.inPtr = append(c.inPtr, c.name(name))
	}
	for name := range r.Feeds {
		if !slices.Contains(s.inputs, name) {
			c.close()
			return nil, fmt.Errorf("input %q is not one of the model's: %q", name, s.inputs)
		}
	}
	for _, name := range c.outputs {
		c.outPtr = append(c.outPtr, c.name(name))
	}
	c.outs = make([]uintptr, len(c.outputs))
	return c, nil
}

func (c *call) name(s string) uintptr {
	p := cString(s)
	c.names = append(c.names, p)
	return address(p)
}

// run computes the outputs, which are to be released.
func (c *call) run() error {
	return c.s.rt.call(runSession, c.s.handle, 0,
		first(c.inPtr), first(c.ins), uintptr(len(c.ins)),
		first(c.outPtr), uintptr(len(c.outs)), first(c.outs))
}

func first(x []uintptr) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(x))) }

// release frees the outputs of the last run.
func (c *call) release() {
	for i, h := range c.outs {
		c.s.rt.release(releaseValue, h)
		c.outs[i] = 0
	}
}

func (c *call) close() {
	c.release()
	for _, h := range c.ins {
		c.s.rt.release(releaseValue, h)
	}
	goruntime.KeepAlive(c.keep)
	goruntime.KeepAlive(c.names)
}

// values runs the session and copies its outputs.
func (c *call) values() (map[string]*wire.Value, error) {
	if err := c.run(); err != nil {
		return nil, err
	}
	out := map[string]*wire.Value{}
	for i, name := range c.outputs {
		v, err := c.s.rt.value(c.outs[i])
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}
