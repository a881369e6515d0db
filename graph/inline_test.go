package graph

import (
	"strings"
	"testing"
)

func parse(t *testing.T, text string) *Model {
	t.Helper()
	m, err := ParseModel(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := Check(m); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return m
}

// wantText checks a model and compares it with a text.
func wantText(t *testing.T, m *Model, want string) {
	t.Helper()
	if err := Check(m); err != nil {
		t.Errorf("%v\n%s", err, Format(m))
		return
	}
	if d := DiffModels(m, parse(t, want)); d != "" {
		t.Errorf("%s\n%s", d, Format(m))
	}
}

func TestSplice(t *testing.T) {
	m := parse(t, `<ir_version: 9, opset_import: ["": 17]>
g (bool c, float x) => (float y) <float w = {1}> {
   a = Relu (x)
   y = If (c) <then_branch = t () => (b) <float w1 = {2}> {
      d = Exp (a)
      b = If (c) <then_branch = u () => (e) { e = Add (d, w1) }>
   }>
}`)
	g := m.Graph
	n := g.Last()
	outs := n.Subgraphs()[0].Splice(n, nil)
	if !g.Replace(n.Out(0), outs[0]) {
		t.Fatal("the branch's result cannot take the place of the node's")
	}
	g.Remove(n)
	wantText(t, m, `<ir_version: 9, opset_import: ["": 17]>
g (bool c, float x) => (float y) <float w = {1}, float w1 = {2}> {
   a = Relu (x)
   d = Exp (a)
   y = If (c) <then_branch = u () => (e) { e = Add (d, w1) }>
}`)
}

func TestSpliceArguments(t *testing.T) {
	m := parse(t, `<ir_version: 9, opset_import: ["": 17]>
g (float x) => (float y, float z) {
   y, z = Loop (x) <body = b (float i, float j, float k) => (r, i) { r = Clip (i, j, k) }>
}`)
	g := m.Graph
	n := g.Last()
	outs := n.Subgraphs()[0].Splice(n, []*Value{g.Value("x"), nil, g.Value("x")})
	if len(outs) != 2 || outs[1] != g.Value("x") || g.First().In(1) != nil || g.First().In(2) != outs[1] {
		t.Errorf("gives out %v, with nodes\n%s", outs, Format(m))
	}
}

const callText = `<ir_version: 10, opset_import: ["": 18, "local": 1]>
g (float x) => (float y, float z) {
   [c1] a = local.scaled <factor: float = 2.0> (x, x)
   y, z = local.scaled (x)
}
<domain: "local", opset_import: ["": 18]>
scaled <axis, factor: float = 3.0> (p, q) => (r, p) {
   [mul] k = Constant <value_float: float = @factor> ()
   [max] m = Max <axis: int = @axis> (p, q)
   r = If (m) <then_branch = t () => (s) { s = Mul <f: float = @factor> (p, k) }>
}`

func TestInlineCall(t *testing.T) {
	m := parse(t, callText)
	for n := range m.Graph.Nodes() {
		if n.Domain == "local" {
			if err := m.InlineCall(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := m.DropUnusedFunctions(); n != 1 {
		t.Errorf("%d functions dropped, want 1", n)
	}
	wantText(t, m, `<ir_version: 10, opset_import: ["": 18, "local": 1]>
g (float x) => (float y, float z) {
   ["c1/mul"] k = Constant <value_float: float = 2.0> ()
   ["c1/max"] m = Max (x, x)
   r = If (m) <then_branch = t () => (s) { s = Mul <f: float = 2.0> (x, k) }>
   [mul] k_1 = Constant <value_float: float = 3.0> ()
   [max] m_1 = Max (x, "")
   y = If (m_1) <then_branch = t () => (s) { s = Mul <f: float = 3.0> (x, k_1) }>
   z = Identity (x)
}`)
}

func TestInlineCallRefusesOtherOpset(t *testing.T) {
	m := parse(t, strings.Replace(callText, `["": 18, "local": 1]`, `["": 17, "local": 1]`, 1))
	err := m.InlineCall(m.Graph.First())
	if want := `node "c1" (local::scaled): the function speaks opset 18 of domain "", the graph around it 17`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestRepair(t *testing.T) {
	m, err := ParseModel(`<ir_version: 3, opset_import: ["": 8, "ai.onnx": 8]>
g (float x) => (float y) <float w = {1}> {
   y = Add (z, w)
   z = custom.Op (x)
}`)
	if err != nil {
		t.Fatal(err)
	}
	if done := Repair(m); len(done) != 4 {
		t.Errorf("repaired: %q", done)
	}
	wantText(t, m, `<ir_version: 4, opset_import: ["": 8, "custom": 1]>
g (float x) => (float y) <float w = {1}> {
   z = custom.Op (x)
   y = Add (z, w)
}`)
	if done := Repair(m); len(done) != 0 {
		t.Errorf("repaired again: %q", done)
	}
}
