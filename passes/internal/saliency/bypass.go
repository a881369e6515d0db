package saliency

import (
	"context"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Bypass is a change of a graph whose effect is measured: readers of the first
// result of Node read Instead.
type Bypass struct {
	Node    *graph.Node
	Instead *graph.Value // made before Node, of the type of its result
}

// ScanBypasses measures the effect of every bypass alone, against what was
// computes, of which m is a changed copy with the same outputs. Bypasses stand
// in the order of their nodes in the main graph of m; labels are those of
// [Scan].
func ScanBypasses(ctx context.Context, was, m *graph.Model, feeds []map[string]tensor.Value, labels []int, list []Bypass, threads int, progress func(done int)) ([]Effect, error) {
	want, err := outputs(NewWalk(ctx, was, feeds, threads))
	if err != nil {
		return nil, err
	}
	s := &scanner{walk: NewWalk(ctx, m, feeds, threads), model: m, labels: labels}
	for _, w := range want {
		renamed := State{}
		for i, v := range was.Graph.Outputs() {
			renamed[m.Graph.Outputs()[i]] = w[v]
		}
		s.want = append(s.want, renamed)
	}
	effects := make([]Effect, len(list))
	for i, b := range list {
		if err := s.walk.To(b.Node); err != nil {
			return nil, err
		}
		if err := s.bypass(&effects[i], b); err != nil {
			return nil, fmt.Errorf("%v: %w", b.Node, err)
		}
		if progress != nil {
			progress(i + 1)
		}
	}
	return effects, nil
}

func (s *scanner) bypass(e *Effect, b Bypass) error {
	rest, err := s.walk.Rest()
	if err != nil {
		return err
	}
	instead := func(state State) (State, error) {
		x := state[b.Instead]
		if x == nil {
			return nil, fmt.Errorf("%v has no contents", b.Instead)
		}
		return State{b.Node.Out(0): x}, nil
	}
	for k, state := range s.walk.States() {
		got, err := run(state, instead, rest)
		if err != nil {
			return err
		}
		if err := s.add(e, k, got); err != nil {
			return err
		}
	}
	return nil
}
