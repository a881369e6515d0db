package op

import "github.com/onnxpack/onnxpack/graph"

// Grad is one call while the gradients of its inputs are derived: a rule
// emits nodes through B and states with Set what each wanted gradient is.
type Grad struct {
	Call
	B *graph.Builder

	In   []*graph.Value // the call's inputs, nil where omitted
	Out  []*graph.Value // its results, nil where omitted
	DOut []*graph.Value // gradient of the loss by each result, nil where zero
	Want []bool         // which inputs need a gradient
	DIn  []*graph.Value // what the rule sets: nil where zero or not wanted
}

// Set states the gradient of input i; one that is not wanted is dropped.
func (g *Grad) Set(i int, v *graph.Value) {
	if i < len(g.Want) && g.Want[i] {
		g.DIn[i] = v
	}
}
