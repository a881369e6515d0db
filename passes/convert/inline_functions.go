package convert

import (
	"errors"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/opset"
)

// InlineFunctions puts the bodies of functions in the place of their calls.
var InlineFunctions = passes.Define(passes.Pass{
	Name: "inline-functions",
	Doc: `put the bodies of functions in the place of their calls

	y = local.Gate (x)   with   Gate (a) => (b) { s = Sigmoid (a)  b = Mul (a, s) }

becomes

	s = Sigmoid (x)
	y = Mul (x, s)

Calls within bodies are inlined too, and functions that nothing calls any more
are removed. A function that speaks another version of the standard operators
than the model is converted first; one that cannot be, or that speaks another
version of another domain, stays.`,
	Kind: passes.Exact,
}, struct{}{}, inlineFunctions)

// maxInlined bounds the calls that are inlined, so that functions that call
// themselves end.
const maxInlined = 1 << 16

func inlineFunctions(j *passes.Job, _ struct{}) error {
	alignFunctions(j)
	m := j.Model
	kept := map[*graph.Node]bool{}
	for inlined := 0; inlined < maxInlined; {
		call := nextCall(m, kept)
		if call == nil {
			break
		}
		if callsItself(m, m.Function(call.Domain, call.Op, call.Overload), nil) {
			kept[call] = true
			j.Skip(call, "the function calls itself")
			continue
		}
		if err := m.InlineCall(call); err != nil {
			kept[call] = true
			j.Skip(call, "%v", cause(err))
			continue
		}
		inlined++
		j.Changed(1)
	}
	if dropped := m.DropUnusedFunctions(); dropped > 0 {
		j.Changed(dropped)
	}
	return nil
}

// cause returns err without the node that it names first.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// alignFunctions makes functions speak the version of the standard operators
// that the model speaks, where they can.
func alignFunctions(j *passes.Job) {
	to := j.Model.Opset("")
	for i := range j.Model.Functions {
		f := j.Model.Functions[i]
		if from := f.Opset(""); from == to || from == 0 || to == 0 {
			continue
		}
		m, err := opset.ConvertFunction(j.Model, f, to)
		if err != nil {
			j.SkipAt("function "+f.Name, "%v", err)
			continue
		}
		j.Model = m
	}
}

// nextCall returns a call that is not among those kept, nil if there is none.
func nextCall(m *graph.Model, kept map[*graph.Node]bool) *graph.Node {
	for n := range m.Nodes(graph.InMain | graph.InSubgraphs | graph.InTraining) {
		if !kept[n] && m.Function(n.Domain, n.Op, n.Overload) != nil {
			return n
		}
	}
	return nil
}

// callsItself reports whether f calls one of the functions around it or
// itself.
func callsItself(m *graph.Model, f *graph.Function, around []*graph.Function) bool {
	for _, o := range around {
		if o == f {
			return true
		}
	}
	around = append(around, f)
	for g := range f.Body.Walk() {
		for n := range g.Nodes() {
			if inner := m.Function(n.Domain, n.Op, n.Overload); inner != nil && callsItself(m, inner, around) {
				return true
			}
		}
	}
	return false
}
