package onnxgo

import (
	"bytes"
	"testing"

	onnx "github.com/owulveryck/onnx-go"
	gorgonia "gorgonia.org/tensor"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
)

func TestTensors(t *testing.T) {
	for _, dt := range tensor.DTypes() {
		for _, shape := range []tensor.Shape{{}, {3}, {2, 3}, {1, 1}} {
			want := tensor.New(dt, shape)
			for i := range want.Bytes() {
				want.Bytes()[i] = byte(i % 2)
			}
			for i := range want.Strings() {
				want.Strings()[i] = "s"
			}
			d, err := ToGorgonia(want)
			if noGorgonia(dt) {
				if err == nil {
					t.Errorf("%v became a gorgonia tensor", want)
				}
				continue
			}
			if err != nil {
				t.Error(err)
				continue
			}
			got, err := FromGorgonia(d)
			if err != nil || !want.Equal(got) {
				t.Errorf("%v became %v, %v", want, got, err)
			}
		}
	}
}

func noGorgonia(dt tensor.DType) bool {
	return dt.Bits() < 8 && dt != tensor.String || dt.IsFloat() && dt.Bits() < 32
}

// TestViews converts a transposed tensor and a slice of one.
func TestViews(t *testing.T) {
	d := gorgonia.New(gorgonia.WithShape(2, 3), gorgonia.WithBacking([]float32{1, 2, 3, 4, 5, 6}))
	if err := d.T(); err != nil {
		t.Fatal(err)
	}
	got, err := FromGorgonia(d)
	want := tensor.Of(tensor.Shape{3, 2}, []float32{1, 4, 2, 5, 3, 6})
	if err != nil || !want.Equal(got) {
		t.Errorf("transposed: %v, %v", got, err)
	}
	d.UT()
	s, err := d.Slice(nil, gorgonia.S(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	got, err = FromGorgonia(s)
	want = tensor.Of(tensor.Shape{2, 2}, []float32{2, 3, 5, 6})
	if err != nil || !want.Equal(got) {
		t.Errorf("sliced: %v, %v", got, err)
	}
}

// TestRunAgain runs one graph with several inputs; it reads one operand twice.
func TestRunAgain(t *testing.T) {
	m := &graph.Model{IRVersion: 3, Graph: graph.New("g")}
	m.SetOpset("", 9)
	m.Graph.Attach(m)
	typ := graph.TensorOf(tensor.Float32, graph.Dims{graph.Known(2)})
	x := m.Graph.AddInput("x", typ)
	b := graph.NewBuilder(m.Graph, nil)
	w := m.Graph.AddInput("w", typ) // IR 3 lists weights among the inputs
	m.Graph.SetInit(w, &graph.Literal{Tensor: tensor.Vector[float32](10, 20)})
	y := b.Op("Add", b.Op("Mul", x, x), w)
	y.Type = typ
	m.Graph.AddOutput(y)
	var data bytes.Buffer
	if err := onnxio.Encode(&data, m); err != nil {
		t.Fatal(err)
	}
	backend := NewBackend()
	model := onnx.NewModel(backend)
	if err := model.UnmarshalBinary(data.Bytes()); err != nil {
		t.Fatal(err)
	}
	for _, in := range [][]float32{{1, 2}, {3, 4}, {5, 6}} {
		if err := model.SetInput(0, gorgonia.New(gorgonia.WithBacking(in))); err != nil {
			t.Fatal(err)
		}
		if err := backend.Run(); err != nil {
			t.Fatal(err)
		}
		out, err := model.GetOutputTensors()
		if err != nil {
			t.Fatal(err)
		}
		got := out[0].Data().([]float32)
		if got[0] != in[0]*in[0]+10 || got[1] != in[1]*in[1]+20 {
			t.Errorf("%v gives %v", in, got)
		}
	}
}
