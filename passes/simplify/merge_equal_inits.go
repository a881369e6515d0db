package simplify

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeEqualInits keeps one of initializers with the same contents.
var MergeEqualInits = passes.Define(passes.Pass{
	Name: "merge-equal-inits",
	Doc: `keep one of initializers with the same type, shape and contents

A subgraph reads the initializer of the graph around it.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	sizes := map[string]int{}
	for g := range j.Model.Graphs(graph.InMain | graph.InSubgraphs) {
		for _, v := range g.Inits() {
			if t := constant(v); t != nil {
				sizes[t.String()]++
			}
		}
	}
	m := initMerger{job: j, sizes: sizes}
	m.graph(j.Model.Graph, map[string]*graph.Value{})
	return nil
})

// initMerger finds equal initializers by a digest, which it takes only where
// another initializer has the same type and shape.
type initMerger struct {
	job   *passes.Job
	sizes map[string]int // how many initializers have a type and shape
}

// graph merges within g and with what the graphs around it have.
func (m *initMerger) graph(g *graph.Graph, outer map[string]*graph.Value) {
	known := make(map[string]*graph.Value, len(outer))
	for k, v := range outer {
		known[k] = v
	}
	for _, v := range g.Inits() {
		t := constant(v)
		if t == nil || m.sizes[t.String()] < 2 || v.IsOutput() {
			continue
		}
		key := digest(t)
		first := known[key]
		if first == nil {
			known[key] = v
			continue
		}
		g.ReplaceUses(v, first)
		g.DropInit(v)
		m.job.Changed(1)
	}
	for n := range g.Nodes() {
		for _, s := range n.Subgraphs() {
			m.graph(s, known)
		}
	}
}

// digest identifies a tensor's type, shape and contents.
func digest(t *tensor.Tensor) string {
	if t.DType() == tensor.String {
		return t.String() + fmt.Sprintf("%q", t.Strings())
	}
	if t.Size() <= 64 {
		return t.String() + string(t.Bytes())
	}
	sum := sha256.Sum256(t.Bytes())
	return strings.Join([]string{t.String(), string(sum[:])}, " ")
}
