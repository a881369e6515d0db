package saliency

import (
	"context"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Edit is a node, and changes of it and of nodes behind it whose effects are
// measured. A variant makes its change and returns what takes it back.
type Edit struct {
	Node     *graph.Node
	Variants []func() (undo func())
}

// ScanEdits measures the effect of every variant of every edit alone, as [Scan]
// does of other weights.
func ScanEdits(ctx context.Context, m *graph.Model, feeds []map[string]tensor.Value, labels []int, edits []Edit, threads int, progress func(done int)) ([][]Effect, error) {
	s, err := newScanner(ctx, m, feeds, labels, threads)
	if err != nil {
		return nil, err
	}
	var all [][]Effect
	for i, e := range edits {
		if err := s.walk.To(e.Node); err != nil {
			return nil, err
		}
		effects := make([]Effect, len(e.Variants))
		for k, v := range e.Variants {
			if err := s.edit(&effects[k], v); err != nil {
				return nil, fmt.Errorf("%v: %w", e.Node, err)
			}
		}
		all = append(all, effects)
		if progress != nil {
			progress(i + 1)
		}
	}
	return all, nil
}

func (s *scanner) edit(e *Effect, change func() (undo func())) error {
	undo := change()
	ahead, err := s.walk.Ahead()
	undo()
	if err != nil {
		return err
	}
	nothing := func(State) (State, error) { return nil, nil }
	for k, state := range s.walk.States() {
		got, err := run(state, nothing, ahead)
		if err != nil {
			return err
		}
		if err := s.add(e, k, got); err != nil {
			return err
		}
	}
	return nil
}
