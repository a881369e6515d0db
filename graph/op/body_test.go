package op

import (
	"testing"

	"github.com/onnxpack/onnxpack/graph"
)

// A body takes what a call leaves out from the schema, and versions from the
// caller.
func TestDefFunction(t *testing.T) {
	d := &Def{Name: "LeakyRelu", Since: 1, Body: `<domain: "", opset_import: []> LeakyRelu <alpha> (x) => (y) {
   slope = Constant <value_float: float = @alpha> ()
   y = PRelu (x, slope)
}`}
	x := graph.New("g").AddInput("x", nil)
	f, err := d.Function(&Call{graph.NewNode("", "LeakyRelu", []*graph.Value{x}, 1), 16}, func(string) int64 { return 16 })
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Defaults) != 1 || f.Defaults[0].Floats[0] != 0.01 {
		t.Errorf("defaults are %v, want alpha 0.01", f.Defaults)
	}
	if f.Opset("") != 16 {
		t.Errorf("the body speaks version %d, want the caller's 16", f.Opset(""))
	}
}
