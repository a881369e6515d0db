package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// newModel returns a model with one input, "x".
func newModel() *Model {
	m := &Model{IRVersion: 10, Opsets: []Opset{{"", 21}}}
	m.Graph = New("g")
	m.Graph.Attach(m)
	m.Graph.AddInput("x", TensorOf(tensor.Float32, Dims{Symbol("N")}))
	return m
}

// editor applies random edits to a model, each of which leaves it valid.
type editor struct {
	t *rapid.T
	m *Model
}

// pick draws one of a list, and its zero value from an empty one.
func pick[T any](t *rapid.T, what string, from []T) T {
	var none T
	if len(from) == 0 {
		return none
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(t, what)]
}

// graph draws one of the model's graphs.
func (e *editor) graph() *Graph {
	return pick(e.t, "graph", slices.Collect(e.m.Graphs(Everywhere)))
}

// node draws a node of g, nil if there is none.
func (e *editor) node(g *Graph) *Node {
	return pick(e.t, "node", slices.Collect(g.Nodes()))
}

// before returns what a node of g in front of at (nil: at the end) may read.
func before(g *Graph, at *Node) []*Value {
	if g == nil {
		return nil
	}
	vs := append(g.Inputs(), g.Inits()...)
	for n := range g.Nodes() {
		if n == at {
			break
		}
		vs = append(vs, n.Outs()...)
	}
	vs = slices.DeleteFunc(vs, func(v *Value) bool { return v == nil })
	return append(vs, before(g.Outer(), g.Owner())...)
}

func (e *editor) value(g *Graph, at *Node) *Value {
	return pick(e.t, "value", before(g, at))
}

func (e *editor) insert(*rapid.T) {
	g := e.graph()
	at := e.node(g)
	var in []*Value
	for range rapid.IntRange(0, 3).Draw(e.t, "inputs") {
		in = append(in, e.value(g, at))
	}
	n := NewNode("", "Op", in, rapid.IntRange(1, 2).Draw(e.t, "results"), IntAttr("k", 1))
	if at == nil {
		g.Append(n)
		return
	}
	g.InsertBefore(at, n)
}

func (e *editor) insertIf(*rapid.T) {
	g := e.graph()
	if depth(g) > 2 {
		return
	}
	n := g.Append(NewNode("", "If", []*Value{e.value(g, nil)}, 1))
	for _, branch := range []string{"then_branch", "else_branch"} {
		s := New(branch)
		n.SetAttr(GraphAttr(branch, s))
		y := s.Append(NewNode("", "Id", []*Value{e.value(s, nil)}, 1)).Out(0)
		s.AddOutput(y)
		if v := e.value(s, nil); v != nil {
			s.AddOutput(v)
		}
	}
}

func depth(g *Graph) int {
	d := 0
	for ; g.Outer() != nil; g = g.Outer() {
		d++
	}
	return d
}

func (e *editor) remove(*rapid.T) {
	g := e.graph()
	n := e.node(g)
	if n == nil || slices.ContainsFunc(n.Outs(), func(v *Value) bool { return v != nil && v.Used() }) {
		return
	}
	g.Remove(n)
}

func (e *editor) replace(*rapid.T) {
	g := e.graph()
	n := e.node(g)
	if n == nil || n.Out(0) == nil {
		return
	}
	if v := e.value(g, n); v != nil {
		g.Replace(n.Out(0), v)
	}
}

func (e *editor) setIn(*rapid.T) {
	g := e.graph()
	if n := e.node(g); n != nil {
		n.SetIn(rapid.IntRange(0, 4).Draw(e.t, "slot"), e.value(g, n))
	}
}

func (e *editor) trimIn(*rapid.T) {
	if n := e.node(e.graph()); n != nil {
		if n.NumIn() > 0 {
			n.DropIn(rapid.IntRange(0, n.NumIn()-1).Draw(e.t, "input dropped"))
		}
		n.TrimIn(rapid.IntRange(0, 2).Draw(e.t, "inputs kept"))
	}
}

func (e *editor) outputs(*rapid.T) {
	g := e.graph()
	switch v := e.value(g, nil); {
	case v == nil:
	case len(g.Outputs()) > 2 && rapid.Bool().Draw(e.t, "drop"):
		g.DropOutput(rapid.IntRange(0, len(g.Outputs())-1).Draw(e.t, "which"))
	case len(g.Outputs()) > 0 && rapid.Bool().Draw(e.t, "set"):
		g.SetOutput(rapid.IntRange(0, len(g.Outputs())-1).Draw(e.t, "which"), v)
	default:
		g.AddOutput(v)
	}
}

func (e *editor) sources(*rapid.T) {
	g := e.graph()
	v := g.AddInit("w", tensor.Scalar(float32(1)))
	if rapid.Bool().Draw(e.t, "drop") {
		g.DropInit(v)
	}
	for _, v := range g.Inputs() {
		if !v.Used() {
			g.DropInput(v)
			break
		}
	}
}

func (e *editor) attrs(*rapid.T) {
	n := e.node(e.graph())
	if n == nil {
		return
	}
	if subs := n.Subgraphs(); len(subs) > 0 {
		n.DropAttr("else_branch")
		return
	}
	n.SetAttr(FloatAttr("alpha", 2))
}

func (e *editor) results(*rapid.T) {
	n := e.node(e.graph())
	if n == nil {
		return
	}
	if i := n.NumOut() - 1; i > 0 && (n.Out(i) == nil || !n.Out(i).Used()) {
		n.DropOut(i)
		return
	}
	n.AddOut()
}

func (e *editor) duplicate(*rapid.T) {
	g := e.graph()
	if n := e.node(g); n != nil && e.m.CountNodes(Everywhere) < 60 {
		g.InsertAfter(n, n.Clone(n.Ins()))
	}
}

func (e *editor) rename(*rapid.T) {
	g := e.graph()
	if v := e.value(g, nil); v != nil {
		v.Graph().Rename(v, v.Graph().Fresh(v.Name()))
	}
}

func (e *editor) cloneModel(*rapid.T) {
	c := e.m.Clone()
	if d := DiffModels(e.m, c); d != "" {
		e.t.Fatalf("clone differs: %s", d)
	}
	e.m = c
}

func (e *editor) check(*rapid.T) {
	if err := Check(e.m); err != nil {
		e.t.Fatal(err)
	}
}

func TestEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &editor{t, newModel()}
		t.Repeat(map[string]func(*rapid.T){
			"insert": e.insert, "insertIf": e.insertIf, "remove": e.remove,
			"replace": e.replace, "setIn": e.setIn, "trimIn": e.trimIn,
			"outputs": e.outputs, "sources": e.sources, "attrs": e.attrs,
			"results": e.results, "duplicate": e.duplicate, "rename": e.rename,
			"clone": e.cloneModel, "": e.check,
		})
	})
}

// TestSortRestores shuffles the nodes of random graphs: Sort makes them valid
// again, and leaves them alone the second time.
func TestSortRestores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &editor{t, newModel()}
		for range 8 {
			e.insert(t)
			e.insertIf(t)
		}
		g := e.m.Graph
		g.relink(rapid.Permutation(slices.Collect(g.Nodes())).Draw(t, "order"))
		if err := g.Sort(); err != nil {
			t.Fatal(err)
		}
		e.check(t)
		sorted := slices.Collect(g.Nodes())
		if err := g.Sort(); err != nil || !slices.Equal(sorted, slices.Collect(g.Nodes())) {
			t.Fatalf("second sort changed the order, or failed: %v", err)
		}
	})
}

func TestSortNamesCycle(t *testing.T) {
	g := newModel().Graph
	a := g.Append(NewNode("", "A", []*Value{g.Value("x")}, 1))
	b := g.Append(NewNode("", "B", []*Value{a.Out(0)}, 1))
	c := g.Append(NewNode("", "C", []*Value{b.Out(0)}, 1))
	b.AddIn(c.Out(0))
	err := g.Sort()
	if err == nil || !strings.Contains(err.Error(), `node "B_out" (B) reads node "C_out" (C)`) || strings.Contains(err.Error(), "(A)") {
		t.Errorf("error %v, want the cycle of B and C", err)
	}
}

func TestReplaceOutputs(t *testing.T) {
	m := newModel()
	g := m.Graph
	x := g.Value("x")
	a := g.Append(NewNode("", "A", []*Value{x}, 1)).Out(0)
	g.Rename(a, "y")
	b := g.Append(NewNode("", "B", []*Value{x}, 1)).Out(0)
	branch := New("branch")
	g.Append(NewNode("", "If", []*Value{x}, 1, GraphAttr("then_branch", branch)))
	branch.AddOutput(a)
	g.AddOutput(a)
	g.AddOutput(a)

	if g.Replace(a, x) {
		t.Errorf("output y was replaced by input x, which cannot take its name")
	}
	if err := Check(m); err != nil {
		t.Fatal(err)
	}
	if !g.Replace(a, b) {
		t.Fatalf("y was not replaced by b")
	}
	if got := fmt.Sprint(valueNames(g.outputs), valueNames(branch.outputs), b); got != `[y y] [y] value "y"` {
		t.Errorf("outputs, those of the branch, and b are called %s, want y all", got)
	}
	if a.Used() {
		t.Errorf("the value replaced is still used")
	}
	if err := Check(m); err != nil {
		t.Error(err)
	}
}

func TestMovedSubgraphSurvivesDropAttr(t *testing.T) {
	m := newModel()
	g := m.Graph
	x := g.Value("x")
	body := New("body")
	a := g.Append(NewNode("", "Loop", []*Value{x}, 1, GraphAttr("body", body)))
	body.AddOutput(body.Append(NewNode("", "Id", []*Value{x}, 1)).Out(0))
	b := g.Append(NewNode("", "Loop", []*Value{x}, 1))
	b.SetAttr(a.Attr("body"))
	a.DropAttr("body")
	if body.Owner() != b || body.NumNodes() != 1 {
		t.Errorf("body was emptied or left behind")
	}
	b.DropAttr("body")
	if body.NumNodes() != 0 || x.NumUses() != 2 {
		t.Errorf("dropped body has %d nodes, x has %d uses, want 0 and 2", body.NumNodes(), x.NumUses())
	}
	if err := Check(m); err != nil {
		t.Error(err)
	}
}

// TestLargeGraph does what passes do on a graph so large that a quadratic
// step would not end.
func TestLargeGraph(t *testing.T) {
	const size = 50_000
	m := newModel()
	g := m.Graph
	x := g.Value("x")
	for range size {
		g.Append(NewNode("", "Relu", []*Value{x}, 1))
	}
	y := g.AddInit("y", tensor.Scalar(float32(0)))
	if !g.Replace(x, y) || x.Used() {
		t.Fatal("x is still used")
	}
	if err := g.Sort(); err != nil {
		t.Fatal(err)
	}
	if err := Check(m); err != nil {
		t.Fatal(err)
	}
	for n := range g.Nodes() {
		g.Remove(n)
	}
	if y.Used() || g.NumNodes() != 0 {
		t.Error("nodes are left")
	}
}

func TestRenameMovesAnnotations(t *testing.T) {
	g := newModel().Graph
	g.AddInit("scale", tensor.Scalar(float32(1)))
	g.Quantization = []QuantAnnotation{{Value: "x", Params: []Prop{{"SCALE_TENSOR", "scale"}}}}
	g.Rename(g.Value("x"), "z")
	g.Rename(g.Value("scale"), "s")
	if got := fmt.Sprint(g.Quantization[0].Value, g.Quantization[0].Params); got != "z[{SCALE_TENSOR s}]" {
		t.Errorf("annotation is %s", got)
	}
}

func TestMisusePanics(t *testing.T) {
	g, other := newModel().Graph, newModel().Graph
	n := g.Append(NewNode("", "A", []*Value{g.Value("x")}, 1))
	g.Append(NewNode("", "B", n.Outs(), 1))
	for name, misuse := range map[string]func(){
		"remove a node that is read":   func() { g.Remove(n) },
		"remove from another graph":    func() { other.Remove(n) },
		"insert twice":                 func() { g.Append(n) },
		"insert at a node elsewhere":   func() { other.InsertBefore(n, NewNode("", "C", nil, 1)) },
		"input twice":                  func() { g.AddInput("x", nil) },
		"contents of a result":         func() { g.SetInit(n.Out(0), &Literal{Tensor: tensor.Scalar(int8(1))}) },
		"rename to a name that exists": func() { g.Rename(n.Out(0), "x") },
		"define twice":                 func() { g.Define("x") },
		"drop an input that is read":   func() { g.DropInput(g.Value("x")) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
}
