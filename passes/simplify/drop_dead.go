package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// DropDead removes what no output depends on.
var DropDead = passes.Define(passes.Pass{
	Name: "drop-dead",
	Doc: `remove what no output depends on

Nodes, initializers, optional results that nobody reads, and functions that
nobody calls. Graph inputs stay.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	for g := range j.Model.Graphs(graph.InMain | graph.InFunctions | graph.InSubgraphs) {
		j.Changed(dropDeadNodes(g))
	}
	for g := range j.Model.Graphs(graph.InMain | graph.InSubgraphs) {
		j.Changed(dropDeadInits(g))
	}
	j.Changed(dropDeadFunctions(j.Model))
	return nil
})

// dropDeadNodes goes backward, so that one pass removes whole chains, those
// that only a dead node's subgraphs read included.
func dropDeadNodes(g *graph.Graph) int {
	n := 0
	for x := range g.Backward() {
		if isDead(x) {
			g.Remove(x)
			n++
			continue
		}
		n += dropDeadResults(x)
	}
	return n
}

func isDead(n *graph.Node) bool {
	for _, v := range n.Outs() {
		if v != nil && v.Used() {
			return false
		}
	}
	return true
}

// optionalResults are the results, from the given one on, that an operator
// makes only if they are named.
var optionalResults = map[string]int{
	"Dropout": 1, "MaxPool": 1, "BatchNormalization": 1, "LayerNormalization": 1,
	"LSTM": 0, "GRU": 0, "RNN": 0, "Unique": 1, "GroupNormalization": 1,
}

// dropDeadResults takes the names from optional results that nobody reads.
func dropDeadResults(n *graph.Node) int {
	from, ok := optionalResults[n.Op]
	if !ok || n.Domain != "" || inTraining(n) {
		return 0
	}
	dropped := 0
	for i := n.NumOut() - 1; i >= from; i-- {
		if v := n.Out(i); v != nil && !v.Used() {
			n.DropOut(i)
			dropped++
		}
	}
	return dropped
}

// inTraining reports whether n is a normalisation that updates its statistics,
// which it must give out.
func inTraining(n *graph.Node) bool {
	return n.Op == "BatchNormalization" && n.Int("training_mode", 0) != 0
}

func dropDeadInits(g *graph.Graph) int {
	n := 0
	for _, v := range g.Inits() {
		if !v.Used() && !v.IsInput() {
			g.DropInit(v)
			n++
		}
	}
	return n
}

// dropDeadFunctions keeps the functions that the main graph reaches.
func dropDeadFunctions(m *graph.Model) int {
	if len(m.Functions) == 0 || len(m.Training) > 0 {
		return 0
	}
	live := map[*graph.Function]bool{}
	var visit func(g *graph.Graph)
	visit = func(g *graph.Graph) {
		for s := range g.Walk() {
			for n := range s.Nodes() {
				if f := m.Function(n.Domain, n.Op, n.Overload); f != nil && !live[f] {
					live[f] = true
					visit(f.Body)
				}
			}
		}
	}
	visit(m.Graph)
	kept := m.Functions[:0:0]
	for _, f := range m.Functions {
		if live[f] {
			kept = append(kept, f)
		}
	}
	dropped := len(m.Functions) - len(kept)
	m.Functions = kept
	return dropped
}
