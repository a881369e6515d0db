package onnxio

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// smallModel returns a model with something of most kinds: a subgraph that
// reads outer names, a function, attributes of several kinds, metadata,
// weights.
func smallModel() *graph.Model {
	m := &graph.Model{IRVersion: 10, Producer: "test", Metadata: []graph.Prop{{Key: "k", Value: "v"}}}
	m.SetOpset("", 21)
	m.SetOpset("local", 1)
	g := graph.New("main")
	g.Attach(m)
	m.Graph = g
	float := graph.TensorOf(tensor.Float32, graph.Dims{graph.Symbol("N"), graph.Known(4)})
	x := g.AddInput("x", float)
	cond := g.AddInput("cond", graph.TensorOf(tensor.Bool, graph.Dims{}))
	b := graph.NewBuilder(g, nil)
	w := b.Const("w", tensor.Of(tensor.Shape{4, 4}, make([]float32, 16)))
	y := b.Op("MatMul", x, w)
	y.Type = float
	z := b.Add(graph.NewNode("", "If", []*graph.Value{cond}, 1,
		graph.GraphAttr("then_branch", branch("then", "Relu", y)),
		graph.GraphAttr("else_branch", branch("else", "Neg", y)))).Out(0)
	r := b.Add(graph.NewNode("local", "Twice", []*graph.Value{z}, 1, graph.FloatAttr("scale", 2))).Out(0)
	s := b.OpAttrs("ReduceSum", []*graph.Attr{graph.IntAttr("keepdims", 0)}, r, b.Const("axes", tensor.Vector[int64](1)))
	s.Type = graph.TensorOf(tensor.Float32, graph.Dims{graph.Symbol("N")})
	g.AddOutput(s)
	m.Functions = []*graph.Function{twice(m)}
	return m
}

// branch returns a graph that gives out op of a value of the graph around it.
func branch(name, op string, v *graph.Value) *graph.Graph {
	g := graph.New(name)
	out := graph.NewBuilder(g, nil).Op(op, v)
	out.Type = v.Type
	g.AddOutput(out)
	return g
}

func twice(m *graph.Model) *graph.Function {
	f := &graph.Function{Domain: "local", Name: "Twice", Attrs: []string{"scale"}, Opsets: []graph.Opset{{Version: 21}}}
	f.Body = graph.New("Twice")
	f.Body.AttachFunction(m, f)
	x := f.Body.AddInput("x", nil)
	b := graph.NewBuilder(f.Body, nil)
	scale := b.OpAttrs("Constant", []*graph.Attr{{Name: "value_float", Kind: graph.AttrFloat, Ref: "scale"}})
	f.Body.AddOutput(b.Op("Mul", x, scale))
	return f
}

// saved writes the model into a new folder and returns the path.
func saved(t testing.TB, m *graph.Model, o SaveOptions) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	save(t, path, m, o)
	return path
}

func save(t testing.TB, path string, m *graph.Model, o SaveOptions) {
	t.Helper()
	if err := Save(context.Background(), path, m, o); err != nil {
		t.Fatal(err)
	}
}

// opened opens a model until the end of the test.
func opened(t testing.TB, path string) *graph.Model {
	t.Helper()
	f, err := Open(path, OpenOptions{Checksum: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Model
}

func folderFiles(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// sameModel compares two models, those with external data by their elements.
func sameModel(t *testing.T, want, got *graph.Model) {
	t.Helper()
	if diff := graph.DiffModels(inlined(want), inlined(got)); diff != "" {
		t.Error(diff)
	}
}
