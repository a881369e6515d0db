package onnxio

import (
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
)

var testVector = regexp.MustCompile(`/(input|output)_(\d+)\.pb$`)

// TestReadValueShared reads every vector of ONNX's tests as what its model
// says it is.
func TestReadValueShared(t *testing.T) {
	isVector := func(path string) bool { return testVector.MatchString(path) }
	for _, path := range sharedFiles(t, isVector, "onnx-backend-tests") {
		typ := vectorType(t, path)
		if _, err := ReadValue(path, typ); err != nil {
			t.Errorf("%v: %v", typ, err)
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
