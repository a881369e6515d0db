package graph

import (
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

const checkedText = `<ir_version: 10, opset_import: ["": 18, "local": 1]>
g (float[N] x) => (float[N] y) <float[2] w = {1, 2}, sparse_tensor(float[4]) s = {float[1] {1}, int64[1] {2}}> {
   [a] t = Relu <k: int = 1> (x)
   [b] u = If (t) <then_branch = th () => (q) { q = Add (t, w) }>
   [c] y = local.f (u)
}
<domain: "local", opset_import: ["": 18, "local": 1]>
f <k> (p) => (r) { r = Id <v: int = @k> (p) }
<domain: "local", opset_import: ["": 18, "local": 1]>
h (p) => (r) { r = local.f (p) }`

func TestCheck(t *testing.T) {
	node := func(m *Model, name string) *Node {
		for n := range m.Nodes(Everywhere) {
			if n.Name == name {
				return n
			}
		}
		return nil
	}
	for _, c := range []struct {
		want  string
		spoil func(m *Model)
	}{
		{"", func(m *Model) {}},
		{"no main graph", func(m *Model) { m.Graph = nil }},
		{"ir_version is 0", func(m *Model) { m.IRVersion = 0 }},
		{`initializer "w" is not an input, which ir_version 3 asks for`, func(m *Model) { m.IRVersion = 3 }},
		{"ir_version is 7, functions want at least 8", func(m *Model) { m.IRVersion = 7 }},
		{`opset of domain "" is imported twice`, func(m *Model) { m.Opsets = append(m.Opsets, Opset{"", 17}) }},
		{`opset version of domain "" is 0`, func(m *Model) { m.Opsets[0].Version = 0 }},
		{`node "c" (local::f): no opset of domain "local" is imported`, func(m *Model) { m.Opsets = m.Opsets[:1] }},
		{`"local::f": graph "f": node "r" (Id): no opset of domain ""`, func(m *Model) { m.Functions[0].Opsets = nil }},
		{`no function has overload "o"`, func(m *Model) { node(m, "c").Overload = "o" }},
		{"2 inputs are given, want at most the 1 of the function", func(m *Model) { node(m, "c").AddIn(m.Graph.Value("x")) }},
		{"2 results are named, want at most the 1 of the function", func(m *Model) { node(m, "c").AddOut() }},
		{`function "local::f" is defined twice`, func(m *Model) { m.Functions[1].Name = "f" }},
		{`function "local::h": node "r" (local::f) calls a function that calls this one`, func(m *Model) {
			n := m.Functions[0].Body.First()
			n.Domain, n.Op = "local", "h"
		}},
		{"is not attached to the function", func(m *Model) { m.Functions[0].Body.Attach(m); m.Functions[0].Body.function = nil }},
		{`attribute "k" is declared twice`, func(m *Model) { m.Functions[0].Attrs = []string{"k", "k"} }},
		{"is not attached to the model", func(m *Model) { m.Graph.Attach(nil) }},
		{`op_type is empty`, func(m *Model) { node(m, "a").Op = "" }},
		{`node "b" (If): input 0: value "t" is read before node "a" (Relu) makes it`, func(m *Model) {
			m.Graph.MoveBefore(node(m, "a"), node(m, "b"))
		}},
		{`node "a" (Relu): input 1: value "q" is not in scope`, func(m *Model) {
			node(m, "a").AddIn(node(m, "b").Subgraphs()[0].First().Out(0))
		}},
		{`value "gone" belongs to no graph`, func(m *Model) { node(m, "a").AddIn(&Value{name: "gone"}) }},
		{`nothing makes value "free"`, func(m *Model) { node(m, "a").AddIn(m.Graph.Define("free")) }},
		{`value "x": use list has 0 entries, but it is read 1 times`, func(m *Model) { m.Graph.Value("x").uses = nil }},
		{`value "x": use list names input 0 of node "b" (If), which does not read it`, func(m *Model) {
			m.Graph.Value("x").uses[0].Node = node(m, "b")
		}},
		{`value "y": counts 0 outputs, but it is given out 1 times`, func(m *Model) { m.Graph.Value("y").givers = nil }},
		{`value "t" is entered as "z"`, func(m *Model) { m.Graph.values["z"] = m.Graph.Value("t") }},
		{`result 0, "t", has another maker`, func(m *Model) {
			m.Graph.Value("t").index = 1
			node(m, "a").out = append(node(m, "a").out, m.Graph.Value("t"))
		}},
		{`list of nodes has 3 nodes, but 4 are counted`, func(m *Model) { m.Graph.numNodes++ }},
		{`list of nodes is broken`, func(m *Model) { node(m, "b").prev = nil }},
		{`input "x" is listed twice`, func(m *Model) { m.Graph.inputs = append(m.Graph.inputs, m.Graph.inputs[0]) }},
		{`initializer "w" is listed twice`, func(m *Model) { m.Graph.inits = append(m.Graph.inits, m.Graph.inits[0]) }},
		{`value "w" has contents, but is no listed initializer`, func(m *Model) { m.Graph.inits = m.Graph.inits[1:] }},
		{`initializer "w": elements are float, but its type is int8[2]`, func(m *Model) {
			m.Graph.Value("w").Type = TensorOf(tensor.Int8, Dims{Known(2)})
		}},
		{`initializer "w": shape is [2], but its type is float[3]`, func(m *Model) {
			m.Graph.Value("w").Type = TensorOf(tensor.Float32, Dims{Known(3)})
		}},
		{`initializer "w": want either dense or sparse contents`, func(m *Model) { m.Graph.Value("w").Init = &Literal{} }},
		{`initializer "s": sparse tensor [4] has values float[1] and indices int64[2]`, func(m *Model) {
			m.Graph.Value("s").Init.Sparse.Indices = tensor.Vector[int64](1, 2)
		}},
		{`value "x": type float["-7"]: dimension 0 is 2, want a size, a symbol, or neither`, func(m *Model) { m.Graph.Value("x").Type.Shape[0] = Dim{Sym: "-7", Size: 2} }},
		{`value "x": type seq(?) does not say of what`, func(m *Model) { m.Graph.Value("x").Type = SequenceOf(nil) }},
		{`2 values call themselves inputs, but 1 are listed`, func(m *Model) { m.Graph.Value("w").input = true }},
		{`value "x": map has keys of type float`, func(m *Model) {
			m.Graph.Value("x").Type = &Type{Kind: KindMap, Elem: tensor.Float32}
		}},
		{`attribute "k" is given twice`, func(m *Model) { n := node(m, "a"); n.attrs = append(n.attrs, n.attrs[0]) }},
		{`attribute "k": it has 2 values, want 1 of type int`, func(m *Model) { node(m, "a").attrs[0].Ints = []int64{1, 2} }},
		{`attribute "k": it has a value of another type than float`, func(m *Model) { node(m, "a").attrs[0].Kind = AttrFloat }},
		{`attribute "k": type 77 is not one of ONNX's`, func(m *Model) { node(m, "a").attrs[0].Kind = 77 }},
		{`attribute "k": it refers to @z outside a function`, func(m *Model) { node(m, "a").attrs[0] = &Attr{Name: "k", Ref: "z"} }},
		{`attribute "k": it refers to @z and has a value too`, func(m *Model) { node(m, "a").attrs[0].Ref = "z" }},
		{`attribute "v": it refers to @z, which the function does not declare`, func(m *Model) { m.Functions[0].Body.First().attrs[0].Ref = "z" }},
		{`name is empty`, func(m *Model) { node(m, "a").attrs[0].Name = "" }},
		{`graph "th" does not belong to the node`, func(m *Model) { node(m, "b").Subgraphs()[0].owner = node(m, "a") }},
		{`type is sparse_tensor, but the tensor is sparse: false`, func(m *Model) {
			a := TensorAttr("v", tensor.Scalar[int8](1))
			a.Kind = AttrSparse
			node(m, "a").SetAttr(a)
		}},
	} {
		m := parseUnchecked(t, checkedText)
		c.spoil(m)
		err := Check(m)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("error %v\nwant %s", err, c.want)
		}
	}
}

func TestCheckGraphAlone(t *testing.T) {
	g, err := ParseGraph(`g (float x) => (y) { y = a.B (x) }`)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckGraph(g); err != nil {
		t.Error(err)
	}
}
