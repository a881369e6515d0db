package onnxio

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
)

// maxTextModel is the size of the files that are taken through their text,
// which is several times as long.
const maxTextModel = 8 << 20

// TestTextRoundTrip writes the models of shared as text: what is read from it
// is equal. A model may be refused only if names are read in it that no one
// makes.
func TestTextRoundTrip(t *testing.T) {
	equal, large, broken := 0, 0, 0
	eachShared(t, func(t *testing.T, path string, f *File) {
		if info, err := os.Stat(path); err != nil || info.Size() > maxTextModel {
			large++
			return
		}
		again, err := graph.ParseModel(graph.Format(f.Model))
		switch checked := graph.Check(f.Model); {
		case err != nil && checked == nil:
			t.Errorf("%s: %v", path, err)
		case err != nil:
			broken++
			t.Logf("%s: %v, as the model is broken: %v", path, err, checked)
		default:
			equal++
			if d := graph.DiffModels(f.Model, again); d != "" {
				t.Errorf("%s: %s", path, d)
			}
		}
	})
	t.Logf("%d models are equal after their text, %d read what no one makes, %d are too large", equal, broken, large)
}

// unrepaired are models of shared that no one mends: they import no version
// of ONNX's own operators, version 0, or two.
var unrepaired = map[string]bool{
	"abs_0d_input.onnx":               true,
	"custom_op_string_lower.onnx":     true,
	"fuse_select_filter.onnx":         true,
	"fuse_select_filter_opset_8.onnx": true,
	"mul_1.noopset.onnx":              true,
	"multinomial_float16.onnx":        true,
}

// TestCheckAndCloneShared holds the models of shared to be valid once they
// are repaired, and a clone of any to be equal.
func TestCheckAndCloneShared(t *testing.T) {
	valid, repaired := 0, 0
	eachShared(t, func(t *testing.T, path string, f *File) {
		if d := graph.DiffModels(f.Model, f.Model.Clone()); d != "" {
			t.Errorf("%s: clone: %s", path, d)
		}
		if graph.Check(f.Model) == nil {
			valid++
			return
		}
		repaired++
		graph.Repair(f.Model)
		if err := graph.Check(f.Model); (err != nil) != unrepaired[filepath.Base(path)] {
			t.Errorf("%s: after repair: %v", path, err)
		}
	})
	t.Logf("%d models are valid, %d more were repaired", valid, repaired)
}
