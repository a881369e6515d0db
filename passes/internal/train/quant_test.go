package train

import (
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// quantized stores the first weight of the perceptron in 8 bits, one scale
// for each column, and its bias in 32.
func quantized(t *testing.T) *graph.Model {
	t.Helper()
	m := perceptron(t)
	g := m.Graph
	store := func(name string, d tensor.DType, axis int64, scale *tensor.Tensor) {
		v := g.Value(name)
		x := tensor.Float64s(v.Init.Tensor)
		q := &quantWeight{name: name + "/q", float: name, dtype: d, shape: v.Init.Shape(), scale: tensor.Float64s(scale), axis: int(axis)}
		q.zero = make([]float64, len(q.scale))
		all := map[string]*tensor.Tensor{name: tensor.FromFloat64s(tensor.Float32, q.shape, x)}
		q.round(all)
		n := graph.NewNode("", "DequantizeLinear", []*graph.Value{
			g.AddInit(q.name, all[q.name]), g.AddInit(name+"/scale", scale), g.AddInit(name+"/zero", tensor.New(d, scale.Shape())),
		}, 1, graph.IntAttr("axis", axis))
		g.InsertBefore(g.First(), n)
		g.ReplaceUses(v, n.Out(0))
		g.DropInit(v)
	}
	scale := make([]float32, 16)
	for i := range scale {
		scale[i] = 0.02 + 0.001*float32(i)
	}
	store("w1", tensor.Int8, 1, tensor.Of(tensor.Shape{16}, scale))
	store("b1", tensor.Int32, 0, tensor.Scalar(float32(1e-4)))
	return m
}

// TestQuantized trains weights that are stored in integers: they stay
// integers, on the scales they had, and learn.
func TestQuantized(t *testing.T) {
	task := ringTask(t)
	task.Model = quantized(t)
	r := run(t, task)
	if score := r.Curve[r.Best].Score; score < 0.95 {
		t.Errorf("score is %.3f, want at least 0.95", score)
	}
	for _, name := range []string{"w1/q", "b1/q"} {
		before, after := task.Model.Graph.Value(name).Init.Tensor, r.Model.Graph.Value(name).Init.Tensor
		if after.DType() != before.DType() || after.Equal(before) {
			t.Errorf("%s is %v, was %v, and moved is %v", name, after, before, !after.Equal(before))
		}
	}
	for _, name := range []string{"w1/scale", "b1/scale"} {
		if !r.Model.Graph.Value(name).Init.Tensor.Equal(task.Model.Graph.Value(name).Init.Tensor) {
			t.Errorf("%s moved", name)
		}
	}
}
