package onnxio

import "github.com/onnxpack/onnxpack/graph"

// rereader returns the decoder that gives again what wire was decoded to.
func rereader(wire []byte) *decoder {
	d := &decoder{}
	if m, _ := findMapping(wire); m != nil && m.folder != nil {
		d.external = m.folder.elements
	}
	return d
}

// unchanged reports whether decoding wire again gives an object that diff
// finds no difference in.
func unchanged[T any](wire []byte, decode func(d *decoder) (T, error), diff func(T) string) bool {
	if wire == nil {
		return false
	}
	old, err := decode(rereader(wire))
	return err == nil && diff(old) == ""
}

func modelUnchanged(m *graph.Model) bool {
	return unchanged(m.Wire,
		func(d *decoder) (*graph.Model, error) { return d.model(m.Wire) },
		func(old *graph.Model) string { return graph.DiffModels(m, old) })
}

func graphUnchanged(g *graph.Graph) bool {
	return unchanged(g.Wire,
		func(d *decoder) (*graph.Graph, error) {
			old := graph.New("")
			return old, d.graph(old, g.Wire)
		},
		func(old *graph.Graph) string { return graph.DiffGraphs(g, old) })
}

func functionUnchanged(f *graph.Function) bool {
	return unchanged(f.Wire,
		func(d *decoder) (*graph.Function, error) { return d.function(nil, f.Wire) },
		func(old *graph.Function) string { return graph.DiffFunctions(f, old) })
}

func trainingUnchanged(t *graph.Training) bool {
	return unchanged(t.Wire,
		func(d *decoder) (*graph.Training, error) { return d.training(nil, t.Wire) },
		func(old *graph.Training) string { return graph.DiffTraining(t, old) })
}

// nodeUnchanged decodes the node in a graph of its own, where the names that
// it reads have no maker.
func nodeUnchanged(n *graph.Node) bool {
	return unchanged(n.Wire,
		func(d *decoder) (*graph.Node, error) {
			p, err := d.nodeFields(n.Wire)
			if err != nil {
				return nil, err
			}
			g := graph.New("")
			if err := d.define(g, p); err != nil {
				return nil, err
			}
			return p.node, d.bind(g, p)
		},
		func(old *graph.Node) string { return graph.DiffNodes(n, old) })
}

func attrUnchanged(a *graph.Attr) bool {
	return unchanged(a.Wire,
		func(d *decoder) (*graph.Attr, error) { return d.attr(nil, a.Wire) },
		func(old *graph.Attr) string { return graph.DiffAttrs(a, old) })
}

// entryUnchanged compares what is stated of a value in its entry.
func entryUnchanged(v *graph.Value) bool {
	return unchanged(v.Wire,
		func(d *decoder) (*graph.Value, error) {
			info, err := d.valueInfo(v.Wire)
			if err != nil {
				return nil, err
			}
			old := graph.New("").Define(info.name)
			info.describe(old)
			return old, nil
		},
		func(old *graph.Value) string { return graph.DiffValues(v, old) })
}

// literalUnchanged compares a literal that stands in the model under the
// given name.
func literalUnchanged(name string, l *graph.Literal) bool {
	return unchanged(l.Wire,
		func(d *decoder) (*graph.Literal, error) {
			if l.Sparse != nil {
				return d.sparseLiteral(l.Wire)
			}
			return d.literal(l.Wire)
		},
		func(old *graph.Literal) string {
			named := *l
			named.Name = name
			return graph.DiffLiterals(&named, old)
		})
}
