package main

import (
	"context"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// The first value that differs is that of the node which differs, not one that
// follows it, nor an output; a difference that a later node hides is found too.
func TestFirstDifference(t *testing.T) {
	m, err := graph.ParseModel(`<ir_version: 9, opset_import: ["": 17]>
		g (float[N,2] x) => (float[N,2] y) <float[2] w = {1, 2}> {
			a = Exp(x)
			[odd] b = Mul(a, w)
			c = Add(b, x)
			y = Clip(c, , zero)
			zero = Constant<value_float = 0.0>()
		}`)
	if err != nil {
		t.Fatal(err)
	}
	own := embeddedRun(engine.Options{Threads: 1})
	feeds := map[string]tensor.Value{"x": tensor.Of(tensor.Shape{1, 2}, []float32{1, 2})}
	for _, c := range []struct {
		w    float32
		want string // the value, "" if all agree
	}{{1, ""}, {1.5, "b"}} {
		judge := func(ctx context.Context, m *graph.Model, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
			m = m.Clone()
			m.Graph.SetInit(m.Graph.Value("w"), &graph.Literal{Tensor: tensor.Vector(c.w, 2)})
			return own(ctx, m, feeds)
		}
		d, err := enginePair{own, judge}.firstDifference(t.Context(), m, feeds)
		switch {
		case err != nil:
			t.Error(err)
		case d == nil && c.want != "":
			t.Errorf("w[0] is %v for the judge: no difference found", c.w)
		case d != nil && (d.Value != c.want || d.Node != `node "odd" (Mul)`):
			t.Errorf("w[0] is %v for the judge: found %+v, want value %q", c.w, d, c.want)
		}
	}
}

// Values are looked at in windows of bounded memory.
func TestWindow(t *testing.T) {
	big := graph.TensorOf(tensor.Float32, graph.DimsOf(tensor.Shape{windowBytes / 8}))
	g := graph.New("g")
	var values []*graph.Value
	for _, name := range []string{"a", "b", "c"} {
		values = append(values, g.AddInput(name, big))
	}
	if n := window(values); n != 2 {
		t.Errorf("%d values are in the first window, want 2", n)
	}
	values[0].Type = graph.TensorOf(tensor.Float32, graph.DimsOf(tensor.Shape{1 << 40, 1 << 40}))
	if n := window(values); n != 1 {
		t.Errorf("%d values are in the window of a very large one, want 1", n)
	}
}
