// Package ort runs models with ONNX Runtime, as a judge of our own engine and
// as the engine that a model will meet where it is deployed.
//
// It is on floor 3. The library lives in a helper process (cmd/onnxpack-ort),
// so that this program needs no cgo and survives a crash in it. Find says
// where both are, Start runs the helper, and a [Process] loads models:
//
//	install, err := ort.Find(ctx)
//	p, err := ort.Start(ctx, install)
//	s, err := p.Load(ctx, ort.Options{Path: "model.onnx"})
//	out, err := s.Run(ctx, feeds)
package ort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/ort/wire"
)

// Level is how much ONNX Runtime optimizes a graph.
type Level int

// The levels of ONNX Runtime.
const (
	All Level = iota
	None
	Basic
	Extended
)

func (l Level) wire() int {
	switch l {
	case None:
		return 0
	case Basic:
		return 1
	case Extended:
		return 2
	}
	return 99
}

// Options says what is loaded and how.
type Options struct {
	Path    string // of the model, or
	Model   []byte // its bytes, without external data
	Threads int    // 0 lets ONNX Runtime choose
	Level   Level
}

// ErrDied says that the helper ended before it answered: its process can do
// no more, a new one can.
var ErrDied = errors.New("the ONNX Runtime process died")

// Process is a running helper. One command runs at a time; more wait.
type Process struct {
	cmd    *exec.Cmd
	conn   *wire.Conn
	stdin  io.Closer
	stderr *tail

	mu      sync.Mutex
	version string
	peak    int64
	dead    error
}

// Start starts the helper. The process lives until Close, or until a context
// of one of its commands ends while that command runs.
func Start(ctx context.Context, in Install) (*Process, error) {
	return StartCommand(ctx, in.Command())
}

// StartCommand starts another program that speaks as the helper does (package
// wire) over its standard input and output.
func StartCommand(ctx context.Context, cmd *exec.Cmd) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, stderr: &tail{}}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start of %s: %w", cmd.Path, err)
	}
	p.stdin, p.conn = stdin, wire.NewConn(stdout, stdin)
	return p, nil
}

// Close ends the helper.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead != nil {
		return nil
	}
	p.dead = errors.New("the ONNX Runtime process was closed")
	p.stdin.Close()
	return p.cmd.Wait()
}

// Version returns the version of ONNX Runtime, "" before the first command.
func (p *Process) Version() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.version
}

// Peak returns the most bytes that the helper has had resident up to the last
// command, 0 if that is not known.
func (p *Process) Peak() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// do sends a request and waits for the answer. If ctx ends first, the helper
// is killed.
func (p *Process) do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead != nil {
		return nil, p.dead
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { p.cmd.Process.Kill() })
	defer stop()
	var resp wire.Response
	err := p.conn.Send(req)
	if err == nil {
		err = p.conn.Receive(&resp)
	}
	if err != nil {
		return nil, p.died(ctx, err)
	}
	p.version, p.peak = resp.Version, resp.Peak
	if resp.Err != "" {
		return nil, errors.New("ONNX Runtime: " + resp.Err)
	}
	return &resp, nil
}

// died explains why the conversation broke.
func (p *Process) died(ctx context.Context, err error) error {
	p.cmd.Process.Kill()
	wait := p.cmd.Wait()
	switch {
	case ctx.Err() != nil:
		p.dead = fmt.Errorf("%w: it was stopped: %w", ErrDied, ctx.Err())
	case wait != nil:
		p.dead = fmt.Errorf("%w (%w): %s", ErrDied, wait, p.stderr)
	default:
		p.dead = fmt.Errorf("%w: it gave no answer: %w", ErrDied, err)
	}
	return p.dead
}

// Session is a model loaded in a helper.
type Session struct {
	p       *Process
	id      int
	Inputs  []string
	Outputs []string
	Took    time.Duration // to load it, within the helper
}

// Load loads a model.
func (p *Process) Load(ctx context.Context, o Options) (*Session, error) {
	load := &wire.Load{Model: o.Model, Threads: o.Threads, Optimization: o.Level.wire()}
	if o.Path != "" {
		path, err := filepath.Abs(o.Path)
		if err != nil {
			return nil, err
		}
		load.Path = path
	}
	resp, err := p.do(ctx, &wire.Request{Load: load})
	if err != nil {
		return nil, err
	}
	s := &Session{p: p, id: resp.Session, Inputs: resp.Inputs, Outputs: resp.Outputs}
	for _, n := range resp.Nanos {
		s.Took += time.Duration(n)
	}
	return s, nil
}

// Run computes all outputs for the given feeds.
func (s *Session) Run(ctx context.Context, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	run, err := s.request(feeds)
	if err != nil {
		return nil, err
	}
	resp, err := s.p.do(ctx, &wire.Request{Run: run})
	if err != nil {
		return nil, err
	}
	out := map[string]tensor.Value{}
	for name, w := range resp.Values {
		v, err := w.Value()
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}

// Time runs the session the given number of times within the helper and
// returns how long each run took.
func (s *Session) Time(ctx context.Context, feeds map[string]tensor.Value, rounds int) ([]time.Duration, error) {
	run, err := s.request(feeds)
	if err != nil {
		return nil, err
	}
	run.Rounds = max(rounds, 1)
	resp, err := s.p.do(ctx, &wire.Request{Run: run})
	if err != nil {
		return nil, err
	}
	times := make([]time.Duration, len(resp.Nanos))
	for i, n := range resp.Nanos {
		times[i] = time.Duration(n)
	}
	return times, nil
}

func (s *Session) request(feeds map[string]tensor.Value) (*wire.Run, error) {
	run := &wire.Run{Session: s.id, Feeds: map[string]*wire.Value{}}
	for name, v := range feeds {
		if _, none := v.(tensor.None); none {
			continue
		}
		w, err := wire.Of(v)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", name, err)
		}
		run.Feeds[name] = w
	}
	return run, nil
}

// Close frees the session.
func (s *Session) Close(ctx context.Context) error {
	_, err := s.p.do(ctx, &wire.Request{Close: &wire.Close{Session: s.id}})
	return err
}

// tail keeps the last part of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailBytes = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if extra := t.buf.Len() - tailBytes; extra > 0 {
		t.buf.Next(extra)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.buf.String())
}
