package onnxgo

import (
	"fmt"
	"maps"
	"slices"

	gorgonia "gorgonia.org/tensor"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// model returns what onnx-go told as a model: nodes that were set after
// reading are inputs, other nodes with a value that nothing makes are weights.
func (b *Backend) model(feeds map[string]tensor.Value) (*graph.Model, error) {
	m := &graph.Model{IRVersion: 8, Graph: graph.New("onnx-go")}
	m.SetOpset("", b.opset())
	m.Graph.Attach(m)
	g := m.Graph
	for _, n := range b.nodes {
		if n.made || n.value == nil || n.name == "" {
			continue
		}
		if v, ok := feeds[n.name]; ok {
			t := v.(*tensor.Tensor)
			g.AddInput(n.name, graph.TensorOf(t.DType(), graph.DimsOf(t.Shape())))
			continue
		}
		t, err := FromGorgonia(n.value)
		if err != nil {
			return nil, fmt.Errorf("weight %q: %w", n.name, err)
		}
		g.AddInit(n.name, t)
	}
	for i := range b.ops {
		if err := b.addNode(g, &b.ops[i]); err != nil {
			return nil, err
		}
	}
	b.results = nil
	for _, n := range b.nodes {
		if n.made && n.name != "" && (n.declared || !n.used) {
			b.results = append(b.results, n)
			g.AddOutput(g.Value(n.name))
		}
	}
	return m, nil
}

func (b *Backend) addNode(g *graph.Graph, o *operation) error {
	n := g.Append(graph.NewNode("", o.Name, nil, 0))
	for _, in := range b.inputs(o) {
		if in == nil {
			n.AddIn(nil)
			continue
		}
		n.AddIn(value(g, in.name))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Attributes)) {
		a, err := attr(name, o.Attributes[name])
		if err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
		if a != nil {
			n.SetAttr(a)
		}
	}
	for _, out := range o.outs {
		if out.name == "" {
			n.Bind(nil)
		} else {
			n.Bind(value(g, out.name))
		}
	}
	return nil
}

// value returns the value with the given name, which may be made later.
func value(g *graph.Graph, name string) *graph.Value {
	if v := g.Value(name); v != nil {
		return v
	}
	return g.Define(name)
}

// attr returns an attribute of onnx-go's, nil for one of no kind.
func attr(name string, x any) (*graph.Attr, error) {
	switch x := x.(type) {
	case float32:
		return graph.FloatAttr(name, x), nil
	case int64:
		return graph.IntAttr(name, x), nil
	case string:
		return graph.StringAttr(name, x), nil
	case []float32:
		return graph.FloatsAttr(name, x...), nil
	case []int64:
		return graph.IntsAttr(name, x...), nil
	case []string:
		return graph.StringsAttr(name, x...), nil
	case gorgonia.Tensor:
		t, err := FromGorgonia(x)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", name, err)
		}
		return graph.TensorAttr(name, t), nil
	case struct{}:
		return nil, nil
	}
	return nil, fmt.Errorf("attribute %q is a %T, which is no kind of attribute here", name, x)
}

// opset guesses the version of ONNX's operators from forms that version 10
// dropped.
func (b *Backend) opset() int64 {
	if b.Opset != 0 {
		return b.Opset
	}
	for _, o := range b.ops {
		var form string
		switch o.Name {
		case "Upsample":
			return 9
		case "Slice":
			form = "starts"
		case "TopK":
			form = "k"
		}
		if _, old := o.Attributes[form]; old {
			return 9
		}
	}
	return 10
}
