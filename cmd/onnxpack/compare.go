package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark/conformance"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// agreement is the tolerance of engines to each other.
var agreement = conformance.Tolerance{Rel: 1e-3, Abs: 1e-5}

// comparison is the JSON of run --compare.
type comparison struct {
	Model   string      `json:"model"`
	Agree   bool        `json:"agree"`
	Differ  []valueDiff `json:"differ"`          // outputs beyond tolerance
	First   *valueDiff  `json:"first,omitempty"` // first value of the graph that differs
	Skipped string      `json:"skipped,omitempty"`
}

type valueDiff struct {
	Value  string `json:"value"`
	Node   string `json:"node,omitempty"`
	Reason string `json:"reason"`
}

// compareORT runs a model on the first sample in the embedded engine and in
// ONNX Runtime and reports outputs that differ beyond tolerance, and the first
// value of the graph that does.
func compareORT(c *cli.Context, path string, m *graph.Model, data *dataset.Data, o engine.Options) error {
	s, err := data.At(0)
	if err != nil {
		return err
	}
	judge, err := startORT(c.Context)
	if err != nil {
		return err
	}
	defer judge.Close()
	want, err := runJudge(c.Context, judge, ort.Options{Path: path, Threads: o.Threads}, s.Feeds)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	got, err := runEmbedded(c.Context, m, o, s.Feeds)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r := comparison{Model: path, Differ: []valueDiff{}}
	for _, v := range m.Graph.Outputs() {
		if err := conformance.Compare(got[v.Name()], want[v.Name()], agreement); err != nil {
			r.Differ = append(r.Differ, valueDiff{Value: v.Name(), Reason: err.Error()})
		}
	}
	if r.Agree = len(r.Differ) == 0; !r.Agree {
		if r.First, err = firstDifference(c.Context, judge, m, o, s.Feeds); err != nil {
			r.Skipped = err.Error()
		}
	}
	if err := emit(c, r, r.write); err != nil || r.Agree {
		return err
	}
	return &gateError{}
}

func (r comparison) write(w io.Writer) {
	if r.Agree {
		fmt.Fprintf(w, "%s: the engines agree\n", r.Model)
		return
	}
	for _, d := range r.Differ {
		fmt.Fprintf(w, "output %q: %s\n", d.Value, d.Reason)
	}
	switch {
	case r.First != nil:
		fmt.Fprintf(w, "first difference at %s, value %q: %s\n", r.First.Node, r.First.Value, r.First.Reason)
	case r.Skipped != "":
		fmt.Fprintf(w, "the first difference is not known: %s\n", r.Skipped)
	}
}

func startORT(ctx context.Context) (*ort.Process, error) {
	install, err := ort.Find(ctx)
	if err != nil {
		return nil, &ortError{err}
	}
	return ort.Start(ctx, install)
}

func runJudge(ctx context.Context, p *ort.Process, o ort.Options, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	s, err := p.Load(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.Close(ctx)
	return s.Run(ctx, feeds)
}

func runEmbedded(ctx context.Context, m *graph.Model, o engine.Options, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	s, err := engine.Compile(ctx, m, o)
	if err != nil {
		return nil, err
	}
	return s.Run(ctx, feeds)
}

// firstDifference makes every value of the main graph an output in both
// engines, neither of which fuses nodes then, and returns the first that
// differs; nil if the difference is one of fusing.
func firstDifference(ctx context.Context, judge *ort.Process, m *graph.Model, o engine.Options, feeds map[string]tensor.Value) (*valueDiff, error) {
	open := m.Clone()
	op.InferModel(open, op.InferOptions{})
	nodes, err := open.Graph.Sorted()
	if err != nil {
		return nil, err
	}
	o.Plain, o.Outputs = true, nil
	for _, n := range nodes {
		for _, v := range n.Outs() {
			if v != nil && !v.IsOutput() && v.Type != nil {
				open.Graph.AddOutput(v)
			}
		}
	}
	var file bytes.Buffer
	if err := onnxio.Encode(&file, open); err != nil {
		return nil, err
	}
	want, err := runJudge(ctx, judge, ort.Options{Model: file.Bytes(), Threads: o.Threads, Level: ort.None}, feeds)
	if err != nil {
		return nil, err
	}
	got, err := runEmbedded(ctx, open, o, feeds)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		for _, v := range n.Outs() {
			if v == nil || want[v.Name()] == nil {
				continue
			}
			if err := conformance.Compare(got[v.Name()], want[v.Name()], agreement); err != nil {
				return &valueDiff{Value: v.Name(), Node: n.String(), Reason: err.Error()}, nil
			}
		}
	}
	return nil, nil
}
