package simplify

import "github.com/onnxpack/onnxpack/passes"

// DropDefaultInputs takes initializers off the list of inputs in models of an
// old format, which had to list them.
var DropDefaultInputs = passes.Define(passes.Pass{
	Name: "drop-default-inputs",
	Doc: `make initializers constants where the old format listed them as inputs

Before IR version 4 every initializer had to be an input as well, though
nobody meant to feed it. The model becomes one of IR version 4. Later formats
list an initializer as an input to let callers override it; with
overridable:true these become constants too.`,
	Kind: passes.Exact,
}, defaultInputs{}, dropDefaultInputs)

type defaultInputs struct {
	Overridable bool `opt:"overridable" help:"also where a caller could override the initializer"`
}

func dropDefaultInputs(j *passes.Job, o defaultInputs) error {
	old := j.Model.IRVersion < 4
	g := j.Model.Graph
	for _, v := range g.Inputs() {
		if v.Init == nil {
			continue
		}
		if !old && !o.Overridable {
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
