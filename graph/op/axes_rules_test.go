package op

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Dropping an index from an axis of the result, and from the axes of the
// inputs tied to it, before evaluation equals dropping it after.
func TestAxesLaw(t *testing.T) {
	for _, c := range []struct {
		op    string
		in    []tensor.Shape
		attrs []*graph.Attr
		ties  int // axes of the result that can lose an index
	}{
		{"Exp", []tensor.Shape{{2, 3, 4}}, nil, 3},
		{"Add", []tensor.Shape{{2, 3, 4}, {3, 1}}, nil, 3},
		{"Add", []tensor.Shape{{1, 4}, {3, 1}}, nil, 2},
		{"Greater", []tensor.Shape{{4}, {2, 4}}, nil, 2},
		{"Softmax", []tensor.Shape{{2, 3, 4}}, []*graph.Attr{graph.IntAttr("axis", 1)}, 2},
		{"MatMul", []tensor.Shape{{2, 3, 4}, {4, 5}}, nil, 3},
		{"MatMul", []tensor.Shape{{3, 4}, {2, 4, 5}}, nil, 3},
		{"MatMul", []tensor.Shape{{4}, {4, 5}}, nil, 1},
		{"MatMul", []tensor.Shape{{3, 4}, {4}}, nil, 1},
		{"Gemm", []tensor.Shape{{4, 3}, {5, 4}, {5}}, []*graph.Attr{graph.IntAttr("transA", 1), graph.IntAttr("transB", 1)}, 2},
		{"ReduceMax", []tensor.Shape{{2, 3, 4}}, []*graph.Attr{graph.IntsAttr("axes", 1), graph.IntAttr("keepdims", 0)}, 2},
		{"ArgMax", []tensor.Shape{{2, 3}}, []*graph.Attr{graph.IntAttr("axis", 1)}, 1},
		{"LeakyRelu", []tensor.Shape{{2, 3}}, nil, 2},
	} {
		g := graph.New("g")
		var ins []*graph.Value
		for i, s := range c.in {
			ins = append(ins, g.AddInput(string(rune('a'+i)), graph.TensorOf(tensor.Float32, graph.DimsOf(s))))
		}
		n := g.Append(graph.NewNode("", c.op, ins, 1, c.attrs...))
		modelOf(g)
		if got := axesLaw(t, n, c.in); got != c.ties {
			t.Errorf("%s of %v: %d axes of the result can lose an index, want %d", c.op, c.in, got, c.ties)
		}
	}
}

// axesLaw holds the law for every tied axis of the result and returns how
// many there are.
func axesLaw(t *testing.T, n *graph.Node, shapes []tensor.Shape) int {
	r := rand.New(rand.NewPCG(1, 7))
	call := Call{Node: n, Version: n.Opset()}
	d := Find("", n.Op, call.Version)
	in := make([]*tensor.Tensor, len(shapes))
	a := &Axes{Call: call}
	for i, s := range shapes {
		in[i] = randomFloats(r, s)
		a.In = append(a.In, graph.TensorOf(tensor.Float32, graph.DimsOf(s)))
	}
	whole := evalOne(t, d, call, in)
	a.Out = []*graph.Type{graph.TensorOf(whole.DType(), graph.DimsOf(whole.Shape()))}
	d.Axes(a)
	tied := 0
	for axis := range whole.Shape() {
		cut := append([]*tensor.Tensor{}, in...)
		found := false
		for _, tie := range a.Ties {
			if tie.B == Out(0, axis) {
				cut[tie.A.Slot] = dropFirst(cut[tie.A.Slot], tie.A.Axis)
				found = true
			}
		}
		if !found {
			continue
		}
		tied++
		got, want := tensor.Float64s(evalOne(t, d, call, cut)), tensor.Float64s(dropFirst(whole, axis))
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-6 {
				t.Fatalf("%v: axis %d: element %d is %v, want %v", n, axis, i, got[i], want[i])
			}
		}
	}
	return tied
}

func evalOne(t *testing.T, d *Def, c Call, in []*tensor.Tensor) *tensor.Tensor {
	e := &Eval{Call: c, Kernels: kernel.Generic(), Out: make([]tensor.Value, 1)}
	for _, x := range in {
		e.In = append(e.In, x)
	}
	if err := d.Eval(e); err != nil {
		t.Fatalf("%v: %v", c.Node, err)
	}
	return e.Out[0].(*tensor.Tensor)
}

// dropFirst returns t without index 0 of an axis.
func dropFirst(t *tensor.Tensor, axis int) *tensor.Tensor {
	s := t.Shape().Clone()
	s[axis]--
	strides := t.Shape().Strides()
	y := tensor.New(t.DType(), s)
	(&Eval{}).move(y, t, box{shape: s, sOff: strides[axis], dStr: s.Strides(), sStr: strides})
	return y
}
