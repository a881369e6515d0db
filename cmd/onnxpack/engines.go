package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// engines reads a list of engines as --engine gives it.
func engines(text string) ([]string, error) {
	var list []string
	for name := range strings.SplitSeq(text, ",") {
		if name != benchmark.EngineEmbedded && name != benchmark.EngineORT {
			return nil, fmt.Errorf("--engine is %q, want %s or %s", name, benchmark.EngineEmbedded, benchmark.EngineORT)
		}
		list = append(list, name)
	}
	return list, nil
}

// loaded is a model loaded in one of the engines.
type loaded struct {
	benchmark.Runner
	subject func(model string, feeds map[string]tensor.Value) benchmark.Subject
	close   func() error
}

// load loads a model that lies at path: m in our engine, the file in ONNX
// Runtime, which takes nothing of o but the threads and the target.
func load(ctx context.Context, name, path string, m *graph.Model, o engine.Options) (*loaded, error) {
	if name == benchmark.EngineORT {
		return loadORT(ctx, path, o.Threads, o.Target)
	}
	s, err := engine.Compile(ctx, m, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &loaded{
		Runner: s,
		subject: func(model string, feeds map[string]tensor.Value) benchmark.Subject {
			subject := benchmark.Embedded(model, s, feeds, o.Threads)
			subject.Target = heldTo(o.Target)
			return subject
		},
		close: func() error { return nil },
	}, nil
}

// heldTo names the profile that a target holds an engine to, "" for the host.
func heldTo(t targets.Target) string {
	if t.Name == targets.Host().Name {
		return ""
	}
	return t.Name
}

// findORT returns the ONNX Runtime to use, as on a CPU of the given target.
func findORT(ctx context.Context, as targets.Target) (ort.Install, error) {
	install, err := ort.Find(ctx)
	if err != nil {
		return install, &ortError{err}
	}
	if heldTo(as) == "" {
		return install, nil
	}
	if _, err := as.Kernels(); err != nil { // this CPU cannot play that one
		return install, err
	}
	return install.As(as.Name), nil
}

func startORT(ctx context.Context, as targets.Target) (*ort.Process, error) {
	install, err := findORT(ctx, as)
	if err != nil {
		return nil, err
	}
	return ort.Start(ctx, install)
}

func loadORT(ctx context.Context, path string, threads int, as targets.Target) (*loaded, error) {
	p, err := startORT(ctx, as)
	if err != nil {
		return nil, err
	}
	s, err := p.Load(ctx, ort.Options{Path: path, Threads: threads})
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("%s: ONNX Runtime: %w", path, err)
	}
	return &loaded{
		Runner: s,
		subject: func(model string, feeds map[string]tensor.Value) benchmark.Subject {
			subject := benchmark.ORT(model, p, s, feeds, threads)
			subject.Target = heldTo(as)
			return subject
		},
		close: p.Close,
	}, nil
}

// ortError says that ONNX Runtime cannot be used, and hints at what to do.
type ortError struct{ err error }

func (e *ortError) Error() string { return e.err.Error() }
func (e *ortError) Unwrap() error { return e.err }

// Hint says how ONNX Runtime is made available.
func (e *ortError) Hint() string {
	if !errors.Is(e.err, ort.ErrMissing) {
		return ""
	}
	return "set " + ort.LibraryEnv + " to libonnxruntime.so.1, or run: npm install --ignore-scripts onnxruntime-node@1.30.0"
}
