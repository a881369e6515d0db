package train

import (
	"math"
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

// rounded quantizes what the perceptron computes in between: the input and
// weight of its first layer, with a bias on the product of their scales.
func rounded(t *testing.T) *graph.Model {
	t.Helper()
	m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 13]>
		g (float[1, 2] x) => (float[1, 3] y)
		<float sx = {0.02}, int8 zx = {0}, float sw = {0.015}, int8 zw = {0},
		 int8[2, 3] wq = {10, -60, 33, 51, -7, 90}, float sb = {0.0003}, int32 zb = {0}, int32[3] bq = {100, -200, 50}> {
			xq = QuantizeLinear (x, sx, zx)
			xd = DequantizeLinear (xq, sx, zx)
			w = DequantizeLinear (wq, sw, zw)
			b = DequantizeLinear (bq, sb, zb)
			z = Gemm (xd, w, b)
			y = Softmax <axis: int = 1> (z)
		}`)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLearnsScales trains scales: they move, stay positive, the bias stays on
// the product of its factors, and what is written computes what was trained.
func TestLearnsScales(t *testing.T) {
	task := ringTask(t)
	task.Model = rounded(t)
	task.Options.Scales, task.Options.Epochs, task.Held = true, 5, nil
	m := run(t, task).Model
	scale := func(m *graph.Model, name string) float64 {
		return tensor.Float64s(m.Graph.Value(name).Init.Tensor)[0]
	}
	for _, name := range []string{"sx", "sw"} {
		if s := scale(m, name); s <= 0 || s == scale(task.Model, name) {
			t.Errorf("%s is %v, was %v", name, s, scale(task.Model, name))
		}
	}
	if got, want := scale(m, "sb"), scale(m, "sx")*scale(m, "sw"); math.Abs(got/want-1) > 1e-5 {
		t.Errorf("the scale of the bias is %v, want %v, the product of the others", got, want)
	}
	if err := graph.Check(m); err != nil {
		t.Error(err)
	}
	task.Options.Epochs, task.Held = 0, task.Data
	task.Model = m
	again := run(t, task)
	if text(again.Model) != text(m) {
		t.Error("a run of no epochs changes what is written")
	}
}
