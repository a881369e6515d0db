package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// DropIdentity removes nodes that only rename a value.
var DropIdentity = passes.Define(passes.Pass{
	Name: "drop-identity",
	Doc: `remove nodes that only rename a value

Graph inputs, initializers and outputs keep their names, so a node that joins
two of them stays.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Identity") || n.NumOut() == 0 || n.Out(0) == nil {
			return
		}
		if bypass(n, n.In(0)) {
			j.Changed(1)
		} else {
			j.Skip(n, "%q and %q both keep their names", n.In(0).Name(), n.Out(0).Name())
		}
	})
	return nil
})
