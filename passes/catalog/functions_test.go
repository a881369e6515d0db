package catalog

import (
	"context"
	"iter"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
)

// What optimize does by itself keeps local functions and their calls.
func TestFunctionsAreKept(t *testing.T) {
	m, err := graph.ParseModel(`<ir_version: 9, opset_import: ["": 17, "local": 1]>
		g (float[1,2,4,4] x) => (float[1,2,4,4] y) <float[2,2,1,1] w = {1, 2, 3, 4}> {
			a = Identity(x)
			b = Conv(a, w)
			c = local.bend(b)
			y = Conv(c, w)
		}
		<domain: "local", opset_import: ["": 17]>
		bend (p) => (q) { r = Identity(p)  q = Relu(r) }`)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := Parse("simplify,equalize-channels,quantize-static")
	if err != nil {
		t.Fatal(err)
	}
	x := tensor.New(tensor.Float32, tensor.Shape{1, 2, 4, 4})
	calibration := func(context.Context) iter.Seq2[dataset.Sample, error] {
		return func(yield func(dataset.Sample, error) bool) {
			yield(dataset.Sample{Feeds: map[string]tensor.Value{"x": x}}, nil)
		}
	}
	m, _, err = passes.Pipeline{Steps: steps}.Run(t.Context(), m, &passes.Env{Calibration: calibration})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for n := range m.Graph.Nodes() {
		if n.Domain == "local" && n.Op == "bend" {
			calls++
		}
	}
	if calls != 1 || m.Function("local", "bend", "") == nil {
		t.Errorf("%d calls of the function are left, want 1, and the function itself:\n%s", calls, graph.Format(m))
	}
}
