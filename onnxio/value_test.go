package onnxio

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

var testVector = regexp.MustCompile(`/(input|output)_(\d+)\.pb$`)

// TestReadValueShared reads every vector of ONNX's tests as what its model
// says it is, and writes it.
func TestReadValueShared(t *testing.T) {
	isVector := func(path string) bool { return testVector.MatchString(path) }
	for _, path := range sharedFiles(t, isVector, "onnx-backend-tests") {
		typ := vectorType(t, path)
		v, err := ReadValue(path, typ)
		if err != nil {
			t.Errorf("%v: %v", typ, err)
			continue
		}
		data, err := EncodeValue("", v, typ)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		again, err := DecodeValue(data, typ)
		if err != nil || !sameValue(v, again) {
			t.Errorf("%s: %v is read again as %v, %v", path, v, again, err)
		}
	}
}

// vectorType returns the type of the model's input or output that a file
// test_x/test_data_set_0/input_0.pb is for.
func vectorType(t *testing.T, path string) *graph.Type {
	f, err := Open(filepath.Join(filepath.Dir(path), "..", "model.onnx"), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parts := testVector.FindStringSubmatch(path)
	list := f.Model.Graph.Inputs()
	if parts[1] == "output" {
		list = f.Model.Graph.Outputs()
	}
	i, err := strconv.Atoi(parts[2])
	if err != nil || i >= len(list) {
		return nil
	}
	return list[i].Type
}

func sameValue(v, w tensor.Value) bool {
	switch v := v.(type) {
	case *tensor.Tensor:
		w, ok := w.(*tensor.Tensor)
		return ok && v.Equal(w)
	case *tensor.Sparse:
		w, ok := w.(*tensor.Sparse)
		return ok && v.Values.Equal(w.Values) && v.Indices.Equal(w.Indices) && v.Shape.Equal(w.Shape)
	case *tensor.Seq:
		w, ok := w.(*tensor.Seq)
		return ok && slices.EqualFunc(v.Items, w.Items, sameValue)
	case *tensor.Map:
		w, ok := w.(*tensor.Map)
		return ok && v.Keys.Equal(w.Keys) && slices.EqualFunc(v.Values, w.Values, sameValue)
	}
	return v == w
}

func TestValueForms(t *testing.T) {
	x := tensor.Vector[float32](1, 2, 3)
	float := graph.TensorOf(tensor.Float32, nil)
	strs := tensor.OfStrings(tensor.Shape{2}, []string{"a", "b"})
	byName := &graph.Type{Kind: graph.KindMap, Elem: tensor.String, Item: float}
	for _, c := range []struct {
		v tensor.Value
		t *graph.Type
	}{
		{x, nil},
		{strs, graph.TensorOf(tensor.String, nil)},
		{&tensor.Sparse{Values: x, Indices: tensor.Vector[int64](0, 4, 5), Shape: tensor.Shape{2, 3}}, &graph.Type{Kind: graph.KindSparse, Elem: tensor.Float32}},
		{&tensor.Seq{Items: []tensor.Value{x, x}}, graph.SequenceOf(float)},
		{&tensor.Seq{}, graph.SequenceOf(float)},
		{&tensor.Map{Keys: strs, Values: []tensor.Value{x, x}}, byName},
		{&tensor.Map{Keys: tensor.Vector[int64](7), Values: []tensor.Value{x}}, &graph.Type{Kind: graph.KindMap, Elem: tensor.Int64, Item: float}},
		{x, graph.OptionalOf(float)},
		{tensor.None{}, graph.OptionalOf(float)},
		{&tensor.Seq{Items: []tensor.Value{tensor.None{}, x}}, graph.SequenceOf(graph.OptionalOf(float))},
	} {
		path := filepath.Join(t.TempDir(), "value.pb")
		if err := WriteValue(path, "x", c.v, c.t); err != nil {
			t.Errorf("%v: %v", c.t, err)
			continue
		}
		got, err := ReadValue(path, c.t)
		if err != nil || !sameValue(c.v, got) {
			t.Errorf("%v: wrote %v, read %v, %v", c.t, c.v, got, err)
		}
	}
	if _, err := EncodeValue("x", tensor.None{}, nil); err == nil {
		t.Error("an absent value was written as a tensor")
	}
}
