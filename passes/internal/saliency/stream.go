package saliency

import (
	"context"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// resultSizes runs m on one sample and returns the bytes of every node's
// results, by name.
func resultSizes(ctx context.Context, m *graph.Model, feeds map[string]tensor.Value, threads int) (map[string]int64, error) {
	sizes := map[string]int64{}
	s, err := engine.Compile(ctx, m, engine.Options{Threads: threads, Observe: func(n *graph.Node, outs []tensor.Value) {
		for i, x := range outs {
			if t, ok := x.(*tensor.Tensor); ok && n.Out(i) != nil {
				sizes[n.Out(i).Name()] = int64(t.Size())
			}
		}
	}})
	if err != nil {
		return nil, err
	}
	_, err = s.Run(ctx, feeds)
	return sizes, err
}

// Work returns the multiply-accumulates of a run of m on a sample.
func Work(m *graph.Model, feeds map[string]tensor.Value) int64 {
	m = m.Clone()
	op.InferModel(m, op.InferOptions{Inputs: typesOf(feeds)})
	sum := int64(0)
	for n := range m.Graph.Nodes() {
		sum += op.CostOf(n).MACs
	}
	return sum
}

// typesOf returns the types of a sample's tensors, by the name of the input.
func typesOf(feeds map[string]tensor.Value) map[string]*graph.Type {
	types := map[string]*graph.Type{}
	for name, x := range feeds {
		if t, ok := x.(*tensor.Tensor); ok {
			types[name] = graph.TensorOf(t.DType(), graph.DimsOf(t.Shape()))
		}
	}
	return types
}

// loads returns how many bytes of a sample are held before each node of the
// walk, and after the last, besides the model's inputs.
func (w *Walk) loads(sizes map[string]int64) []int64 {
	held := int64(0)
	ends := make([]int64, len(w.nodes)+1)
	loads := make([]int64, len(w.nodes)+1)
	for i, n := range w.nodes {
		loads[i] = held
		for _, v := range n.Outs() {
			if v != nil {
				held += sizes[v.Name()]
				ends[max(w.last[v], i)] += sizes[v.Name()]
			}
		}
		held -= ends[i]
	}
	loads[len(w.nodes)] = held
	return loads
}

// Stream is a walk that holds its samples only where that takes few bytes. What
// lies between such a place and a node is run again, sample by sample.
type Stream struct {
	*Walk
	load  []int64
	limit int64
}

// NewStream starts a walk of m over feeds that holds no more than so many bytes
// besides them, as far as that is possible.
func NewStream(ctx context.Context, m *graph.Model, feeds []map[string]tensor.Value, threads int, bytes int64) (*Stream, error) {
	if len(feeds) == 0 {
		return nil, fmt.Errorf("there are no samples")
	}
	sizes, err := resultSizes(ctx, m, feeds[0], threads)
	if err != nil {
		return nil, err
	}
	w := NewWalk(ctx, m, feeds, threads)
	return &Stream{Walk: w, load: w.loads(sizes), limit: bytes / int64(len(feeds))}, nil
}

// Before goes on to node n, and returns how to read values of a sample that are
// known before n runs.
func (s *Stream) Before(n *graph.Node, values ...*graph.Value) (read func(sample int) (State, error), err error) {
	return s.reader(n, 0, values)
}

// After is Before for values that are known once n has run.
func (s *Stream) After(n *graph.Node, values ...*graph.Value) (read func(sample int) (State, error), err error) {
	return s.reader(n, 1, values)
}

// reader reads values that are known before the node so many places behind n.
func (s *Stream) reader(n *graph.Node, behind int, values []*graph.Value) (read func(sample int) (State, error), err error) {
	if !s.Reaches(n) {
		return nil, fmt.Errorf("%v is not ahead in the walk", n)
	}
	hold := s.place[n]
	to := hold + behind
	for hold > s.at && s.load[hold] > s.limit {
		hold--
	}
	if err := s.to(hold); err != nil {
		return nil, err
	}
	var made []*graph.Value
	for _, v := range values {
		if p := v.Producer(); p != nil && s.place[p] >= hold {
			made = append(made, v)
		}
	}
	run, err := s.compile(s.nodes[hold:to], made)
	if err != nil {
		return nil, err
	}
	return func(sample int) (State, error) {
		state := s.states[sample]
		out, err := run(state)
		if err != nil {
			return nil, err
		}
		found := State{}
		for _, v := range values {
			if found[v] = out[v]; found[v] == nil {
				found[v] = state[v]
			}
			if found[v] == nil {
				return nil, fmt.Errorf("%v has no contents", v)
			}
		}
		return found, nil
	}, nil
}
