package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// DropDefaultInputs takes initializers off the list of inputs in models of an
// old format, which had to list them.
var DropDefaultInputs = passes.Define(passes.Pass{
	Name: "drop-default-inputs",
	Doc: `make initializers constants where an old habit listed them as inputs

Before IR version 4 every initializer had to be an input as well, though
nobody meant to feed it; such a model becomes one of IR version 4. Later
formats list an initializer as an input to let callers override it, but
exporters kept to the old habit: where every initializer is an input, and they
outnumber the inputs that have to be given, they become constants too. With
overridable:true all do.`,
	Kind: passes.Exact,
}, defaultInputs{}, dropDefaultInputs)

type defaultInputs struct {
	Overridable bool `opt:"overridable" help:"also where a caller is meant to override the initializer"`
}

func dropDefaultInputs(j *passes.Job, o defaultInputs) error {
	g := j.Model.Graph
	old := j.Model.IRVersion < 4
	all := old || o.Overridable || listsAll(g)
	for _, v := range g.Inputs() {
		if v.Init == nil {
			continue
		}
		if !all {
			j.SkipAt("input \""+v.Name()+"\"", "callers may override it")
			continue
		}
		g.DropInput(v)
		v.Inferred = true
		j.Changed(1)
	}
	if old && len(g.Inits()) > 0 {
		j.Model.IRVersion = 4
	}
	return nil
}

// listsAll reports whether every initializer of g is an input, and most inputs
// are initializers.
func listsAll(g *graph.Graph) bool {
	for _, v := range g.Inits() {
		if !v.IsInput() {
			return false
		}
	}
	return len(g.Inits()) > len(g.Feeds())
}
