package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/benchmark/conformance"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// comparison is the JSON of run --compare.
type comparison struct {
	Model   string      `json:"model"`
	N       int         `json:"n"` // samples compared
	Agree   bool        `json:"agree"`
	Sample  int         `json:"sample"`          // the first that differs
	Differ  []valueDiff `json:"differ"`          // its outputs beyond tolerance
	First   *valueDiff  `json:"first,omitempty"` // first value of the graph that differs
	Skipped string      `json:"skipped,omitempty"`
}

type valueDiff struct {
	Value  string `json:"value"`
	Node   string `json:"node,omitempty"`
	Reason string `json:"reason"`
}

// compareORT runs a model on the samples in the embedded engine and in ONNX
// Runtime. Of the first sample on which they differ beyond tolerance it
// reports the outputs that do, and the first value of the graph.
func compareORT(c *cli.Context, path string, m *graph.Model, data *dataset.Data, o engine.Options) error {
	process, err := startORT(c.Context, o.Target)
	if err != nil {
		return err
	}
	defer process.Close()
	judge, err := process.Load(c.Context, ort.Options{Path: path, Threads: o.Threads})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer judge.Close(c.Context)
	own, err := engine.Compile(c.Context, m, o)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r := comparison{Model: path, Agree: true, Differ: []valueDiff{}}
	for s, err := range watched(c, data) {
		if err != nil {
			return err
		}
		got, want, err := runBoth(c.Context, own, judge, s.Feeds)
		if err != nil {
			return fmt.Errorf("%s: sample %d: %w", path, r.N, err)
		}
		r.N++
		if r.Differ = differing(m.Graph, got, want); len(r.Differ) == 0 {
			continue
		}
		r.Agree, r.Sample = false, r.N-1
		e := enginePair{own: embeddedRun(o), judge: judgeRun(process, o.Threads)}
		if r.First, err = e.firstDifference(c.Context, m, s.Feeds); err != nil {
			r.Skipped = err.Error()
		}
		break
	}
	if err := emit(c, r, r.write); err != nil || r.Agree {
		return err
	}
	return &gateError{}
}

func runBoth(ctx context.Context, own, judge benchmark.Runner, feeds map[string]tensor.Value) (got, want map[string]tensor.Value, err error) {
	if got, err = own.Run(ctx, feeds); err != nil {
		return nil, nil, err
	}
	if want, err = judge.Run(ctx, feeds); err != nil {
		return nil, nil, fmt.Errorf("ONNX Runtime: %w", err)
	}
	return got, want, nil
}

// differing lists the outputs that differ beyond the tolerance of engines.
func differing(g *graph.Graph, got, want map[string]tensor.Value) []valueDiff {
	list := []valueDiff{}
	for _, v := range g.Outputs() {
		w := want[v.Name()]
		if err := conformance.Compare(got[v.Name()], w, conformance.BetweenEngines(w)); err != nil {
			list = append(list, valueDiff{Value: v.Name(), Reason: err.Error()})
		}
	}
	return list
}

func (r comparison) write(w io.Writer) {
	if r.Agree {
		fmt.Fprintf(w, "%s: the engines agree (%d samples)\n", r.Model, r.N)
		return
	}
	fmt.Fprintf(w, "%s: the engines differ on sample %d\n", r.Model, r.Sample)
	for _, d := range r.Differ {
		fmt.Fprintf(w, "output %q: %s\n", d.Value, d.Reason)
	}
	switch {
	case r.First != nil:
		fmt.Fprintf(w, "first difference at %s, value %q: %s\n", r.First.Node, r.First.Value, r.First.Reason)
	case r.Skipped != "":
		fmt.Fprintf(w, "the first difference is not known: %s\n", r.Skipped)
	default:
		fmt.Fprintf(w, "no value differs where nodes are not fused\n")
	}
}

// runModelFunc runs a model, node by node, and returns its outputs.
type runModelFunc func(ctx context.Context, m *graph.Model, feeds map[string]tensor.Value) (map[string]tensor.Value, error)

func embeddedRun(o engine.Options) runModelFunc {
	o.Plain = true
	return func(ctx context.Context, m *graph.Model, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
		s, err := engine.Compile(ctx, m, o)
		if err != nil {
			return nil, err
		}
		return s.Run(ctx, feeds)
	}
}

func judgeRun(p *ort.Process, threads int) runModelFunc {
	return func(ctx context.Context, m *graph.Model, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
		var file bytes.Buffer
		if err := onnxio.Encode(&file, m); err != nil {
			return nil, err
		}
		s, err := p.Load(ctx, ort.Options{Model: file.Bytes(), Threads: threads, Level: ort.None})
		if err != nil {
			return nil, fmt.Errorf("ONNX Runtime: %w", err)
		}
		defer s.Close(ctx)
		return s.Run(ctx, feeds)
	}
}

// enginePair is an engine and its judge.
type enginePair struct{ own, judge runModelFunc }

// windowBytes bounds what the values that are looked at together hold.
const windowBytes = 256 << 20

// firstDifference returns the first value of the main graph, in running order,
// on which the engines differ: its node's operands agree. It is nil if they
// differ only where nodes are fused. A difference need not last to the end of
// the graph, so values are not searched by halves but exposed as outputs in
// windows, from the first on, each as large as memory allows.
func (e enginePair) firstDifference(ctx context.Context, m *graph.Model, feeds map[string]tensor.Value) (*valueDiff, error) {
	typed := m.Clone()
	op.InferModel(typed, op.InferOptions{Inputs: op.TypesOf(feeds)})
	nodes, err := typed.Graph.Sorted()
	if err != nil {
		return nil, err
	}
	var values []*graph.Value
	for _, n := range nodes {
		for _, v := range n.Outs() {
			if v != nil && v.Type != nil && v.Type.Kind == graph.KindTensor {
				values = append(values, v)
			}
		}
	}
	for len(values) > 0 {
		n := window(values)
		d, err := e.differsIn(ctx, typed, values[:n], feeds)
		if d != nil || err != nil {
			return d, err
		}
		values = values[n:]
	}
	return nil, nil
}

// differsIn exposes values of a model as outputs and returns the first that
// differs.
func (e enginePair) differsIn(ctx context.Context, m *graph.Model, values []*graph.Value, feeds map[string]tensor.Value) (*valueDiff, error) {
	open := m.Clone()
	for _, v := range values {
		if w := open.Graph.Value(v.Name()); !w.IsOutput() {
			open.Graph.AddOutput(w)
		}
	}
	got, err := e.own(ctx, open, feeds)
	if err != nil {
		return nil, err
	}
	want, err := e.judge(ctx, open, feeds)
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		w := want[v.Name()]
		if err := conformance.Compare(got[v.Name()], w, conformance.BetweenEngines(w)); err != nil {
			return &valueDiff{Value: v.Name(), Node: v.Producer().String(), Reason: err.Error()}, nil
		}
	}
	return nil, nil
}

// window returns how many of the values, at least one, hold windowBytes
// together; unknown sizes count as one.
func window(values []*graph.Value) int {
	total := 0
	for i, v := range values {
		n := v.Type.Elem.Bits()
		for _, d := range v.Type.Shape {
			if d.IsKnown() && n < 8*windowBytes {
				n *= max(1, d.Size)
			}
		}
		if total += n / 8; total > windowBytes && i > 0 {
			return i
		}
	}
	return len(values)
}
