package distill

import (
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
// value at its end, from what the blocks before it give, which stay as they
// are by then; the rest of the network is not computed. The last is trained
// on the loss of the logits.
func (o Options) blockwise(j *passes.Job, i *imitation, pairs []pair, scores string, data, held train.Source) error {
	list := phases(j.Model, pairs)
	for k, p := range list {
		j.Log().Info("block", "number", k+1, "of", len(list), "end", p.pair.student)
		t := train.Task{Loss: o.terms(i, nil), Scores: scores}
		if p.pair.student != "" {
			if err := i.align(j.Context(), j.Model, []pair{p.pair}, data, j.Env.Threads); err != nil {
				return err
			}
			t.Loss, t.Scores = []train.Term{i.hidden(p.pair, 1)}, ""
		}
		if len(t.Loss) == 0 {
			break
		}
		if err := o.learnPart(j, t, data, held, p.weights); err != nil {
			return err
		}
	}
	j.Figure("blocks trained", float64(len(list)))
	return nil
}
