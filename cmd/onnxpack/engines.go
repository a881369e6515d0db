package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
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
// Runtime, which takes nothing of o but the threads.
func load(ctx context.Context, name, path string, m *graph.Model, o engine.Options) (*loaded, error) {
	if name == benchmark.EngineORT {
		return loadORT(ctx, path, o.Threads)
	}
	s, err := engine.Compile(ctx, m, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &loaded{
		Runner: s,
		subject: func(model string, feeds map[string]tensor.Value) benchmark.Subject {
			return benchmark.Embedded(model, s, feeds, o.Threads)
		},
		close: func() error { return nil },
	}, nil
}

func loadORT(ctx context.Context, path string, threads int) (*loaded, error) {
	install, err := ort.Find(ctx)
	if err != nil {
		return nil, &ortError{err}
	}
	p, err := ort.Start(ctx, install)
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
			return benchmark.ORT(model, p, s, feeds, threads)
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
