package op

import (
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

func TestSchemaOf(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int64
		since   int64 // 0 for none
	}{
		{"Conv", 17, 11}, {"Conv", 28, 22}, {"Upsample", 9, 9}, {"Upsample", 10, 0}, {"Gelu", 19, 0}, {"Add", 1, 1},
	} {
		s := SchemaOf("", c.name, c.version)
		switch {
		case s == nil && c.since != 0:
			t.Errorf("%s in version %d is not known", c.name, c.version)
		case s != nil && s.Since != c.since:
			t.Errorf("%s in version %d is that of %d, want %d", c.name, c.version, s.Since, c.since)
		}
	}
	conv := SchemaOf("", "Conv", 11)
	if a := conv.Attr("group"); a == nil || a.Default == nil || a.Default.Ints[0] != 1 {
		t.Errorf("attribute group of Conv is %+v, want 1 by default", a)
	}
	if !conv.In[2].Optional || conv.In[1].Optional {
		t.Error("Conv: want an optional bias and no optional weight")
	}
}

func TestCheckCall(t *testing.T) {
	f, i := graph.TensorOf(tensor.Float32, nil), graph.TensorOf(tensor.Int64, nil)
	g := graph.New("g")
	x, y, k := g.AddInput("x", f), g.AddInput("y", f), g.AddInput("k", i)
	for _, c := range []struct {
		op    string
		in    []*graph.Value
		attrs []*graph.Attr
		want  string // part of the message, "" for none
	}{
		{"Add", []*graph.Value{x, y}, nil, ""},
		{"Add", []*graph.Value{x, k}, nil, "other operands of type T are float"},
		{"Add", []*graph.Value{x}, nil, "1 inputs, want at least 2"},
		{"Relu", []*graph.Value{x, y}, nil, "2 inputs, want at most 1"},
		{"Relu", []*graph.Value{x}, []*graph.Attr{graph.IntAttr("beta", 1)}, `attribute "beta" is not one of Relu-14`},
		{"Exp", []*graph.Value{k}, nil, "want bfloat16"},
		{"LeakyRelu", []*graph.Value{x}, []*graph.Attr{graph.IntAttr("alpha", 1)}, "want float"},
		{"Concat", []*graph.Value{x, y}, nil, `attribute "axis" is missing`},
		{"Clip", []*graph.Value{x, nil, y}, nil, ""},
		{"NoSuch", nil, nil, ""},
	} {
		n := graph.NewNode("", c.op, c.in, 1, c.attrs...)
		err := CheckCall(n, 17)
		switch {
		case err == nil && c.want != "":
			t.Errorf("%s: no error, want %q", c.op, c.want)
		case err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.op, err, c.want)
		}
		n.TrimIn(0)
	}
}

// Every Def speaks for an operator that has a schema in its versions. Those of
// PrivateDomain are for programs only, which need none.
func TestDefsHaveSchemas(t *testing.T) {
	for d := range All() {
		if d.Domain != PrivateDomain && len(Versions(d.Domain, d.Name)) == 0 {
			t.Errorf("%s of domain %q has no schema", d.Name, d.Domain)
		}
	}
}

// withoutDef are the operators that have a schema and no Def, and why.
var withoutDef = map[opName]string{
	{"ai.onnx.preview.training", "Gradient"}: "it differentiates the graph that it stands in; graph/grad makes gradients",
}

// Every operator that has a schema in some version has a Def there.
func TestSchemasHaveDefs(t *testing.T) {
	for name, list := range schemas() {
		_, excused := withoutDef[name]
		if name.domain == "com.microsoft" || excused {
			continue
		}
		for _, s := range list {
			if !s.Deprecated && Find(name.domain, name.name, s.Since) == nil {
				t.Errorf("%s of domain %q, version %d, has no Def", name.name, name.domain, s.Since)
			}
		}
	}
}
