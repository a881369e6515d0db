package distill

import (
	"fmt"
	"maps"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// phase is one block of a student: what it is to imitate, and the weights
// that lie between the block before and there.
type phase struct {
	pair    pair // of a block that ends in a hidden value; empty for the last
	weights map[string]bool
}

// phases cuts a model at the student's values of pairs, which stand in the
// order of the graph. The last phase has the weights behind all of them.
func phases(m *graph.Model, pairs []pair) []phase {
	var list []phase
	seen := map[string]bool{}
	for _, p := range pairs {
		v := m.Graph.Value(p.student)
		if v == nil {
			continue
		}
		w := weightsBefore(v)
		maps.DeleteFunc(w, func(name string, _ bool) bool { return seen[name] })
		maps.Copy(seen, w)
		if len(w) > 0 {
			list = append(list, phase{p, w})
		}
	}
	rest := map[string]bool{}
	for _, v := range m.Graph.Inits() {
		if !seen[v.Name()] {
			rest[v.Name()] = true
		}
	}
	return append(list, phase{weights: rest})
}

// weightsBefore returns the initializers that v is computed from.
func weightsBefore(v *graph.Value) map[string]bool {
	weights := map[string]bool{}
	seen := map[*graph.Value]bool{}
	todo := []*graph.Value{v}
	for len(todo) > 0 {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[v] {
			continue
		}
		seen[v] = true
		if v.Init != nil {
			weights[v.Name()] = true
		}
		if n := v.Producer(); n != nil {
			for r := range n.Reads() {
				todo = append(todo, r)
			}
		}
	}
	return weights
}

// blockwise trains one block after the other: each to give the teacher's
// value at its end, in the channels that the student has, from what the blocks
// before it give, which stay as they are by then; the rest of neither network is
// computed. The last is trained on
// the loss of the logits. ask opens the teacher for some of its values.
func (o Options) blockwise(j *passes.Job, ask func(hidden []string, logits bool) (*imitation, error), pairs []pair, scores string, data, held train.Source) error {
	list := phases(j.Model, pairs)
	for k, p := range list {
		t, err := o.lesson(j, ask, p, scores, data)
		if err != nil {
			return err
		}
		if len(t.Loss) == 0 {
			break
		}
		name := fmt.Sprintf("block %d of %d", k+1, len(list))
		if err := o.learnPart(j, t, data, held, &part{name, p.weights}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	j.Figure("blocks trained", float64(len(list)))
	return nil
}

// lesson is what a block learns.
func (o Options) lesson(j *passes.Job, ask func([]string, bool) (*imitation, error), p phase, scores string, data train.Source) (train.Task, error) {
	if p.pair.student == "" {
		i, err := ask(nil, true)
		return train.Task{Loss: o.terms(i, nil), Scores: scores}, err
	}
	i, err := ask([]string{p.pair.teacher}, false)
	if err != nil {
		return train.Task{}, err
	}
	err = i.anchor(j.Context(), j.Model, []pair{p.pair}, data, j.Env.Threads)
	return train.Task{Loss: []train.Term{i.hidden(p.pair, 1)}}, err
}
