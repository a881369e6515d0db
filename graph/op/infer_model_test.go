package op

import (
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

func modelOf(g *graph.Graph) *graph.Model {
	m := &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Domain: "", Version: 17}}, Graph: g}
	g.Attach(m)
	return m
}

// A reshape by a computed shape keeps what is known: batch symbol and sizes.
func TestInferModelContents(t *testing.T) {
	g := graph.New("g")
	x := g.AddInput("x", graph.TensorOf(tensor.Float32, graph.Dims{graph.Symbol("N"), graph.Known(6), graph.Known(4)}))
	b := graph.NewBuilder(g, nil)
	zero := b.Const("zero", tensor.Vector[int64](0))
	tail := b.Const("tail", tensor.Vector[int64](-1))
	n := b.OpAttrs("Gather", nil, b.Op("Shape", x), zero)
	y := b.Op("Reshape", x, b.OpAttrs("Concat", []*graph.Attr{graph.IntAttr("axis", 0)}, n, tail))
	z := b.Op("Add", b.Op("Exp", y), b.Const("c", tensor.Vector[float32](1)))
	g.AddOutput(z)
	r := InferModel(modelOf(g), InferOptions{})
	if len(r.Gaps) > 0 {
		t.Errorf("%v: %v", r.Gaps[0].Node, r.Gaps[0].Err)
	}
	if got := z.Type.String(); got != "float[N,24]" {
		t.Errorf("result is %s, want float[N,24]", got)
	}
	if !z.Inferred {
		t.Error("the result's type counts as declared")
	}
	if got := r.Contents(n).String(); got != "[N]" {
		t.Errorf("contents of the gathered dimension: %s, want [N]", got)
	}
}

// An operator that nobody knows ends knowledge at its node only.
func TestInferModelGap(t *testing.T) {
	g := graph.New("g")
	x := g.AddInput("x", graph.TensorOf(tensor.Float32, graph.Dims{graph.Known(2)}))
	n := g.Append(graph.NewNode("custom", "Thing", []*graph.Value{x}, 1))
	b := graph.NewBuilder(g, nil)
	y := b.Op("Relu", n.Out(0))
	z := b.Op("Neg", x)
	g.AddOutput(y)
	g.AddOutput(z)
	r := InferModel(modelOf(g), InferOptions{})
	if len(r.Gaps) != 1 || r.Gaps[0].Node != n {
		t.Errorf("gaps are %v, want one at %v", r.Gaps, n)
	}
	if got := z.Type.String(); got != "float[2]" {
		t.Errorf("the other branch is %s, want float[2]", got)
	}
}

// A node that no version of its domain speaks for is reported as that.
func TestUnknownOperator(t *testing.T) {
	for _, c := range []struct{ imports, want string }{
		{`"": 17`, `operator Foo of domain "ai.onnx", version 17, is not known`},
		{`"": 0`, `operator Foo: the model imports domain "ai.onnx" in no version, or in version 0, want at least 1`},
		{`"other": 1`, `operator Foo: the model imports domain "ai.onnx" in no version, or in version 0, want at least 1`},
	} {
		m, err := graph.ParseModel(`<ir_version: 8, opset_import: [` + c.imports + `]> g (float x) => (float y) { y = Foo(x) }`)
		if err != nil {
			t.Fatal(err)
		}
		gaps := InferModel(m, InferOptions{}).Gaps
		if len(gaps) != 1 || gaps[0].Err.Error() != c.want {
			t.Errorf("imports %s: got %v, want %q", c.imports, gaps, c.want)
		}
	}
}
