package onnxio

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
)

// refused are models of shared that are not valid: their external data is
// missing, or lies where no model may reach.
var refused = map[string]string{
	"model_with_external_initializer_come_from_user.onnx": "no such file",
	"test_arbitrary_external_file.onnx":                   "leads out of the model's folder",
	"test_evil_weights.onnx":                              "no such file",
}

// eachShared opens every model of shared and gives it to check.
func eachShared(t *testing.T, check func(t *testing.T, path string, f *File)) {
	for _, dir := range []string{"models", "onnx-backend-tests", "ort-testdata", debianTests} {
		n := 0
		for _, path := range sharedFiles(t, isModel, dir) {
			f, err := Open(path, OpenOptions{})
			if why := refused[filepath.Base(path)]; why != "" {
				if err == nil || !strings.Contains(err.Error(), why) {
					t.Errorf("%s: error is %v, want %q", path, err, why)
				}
				continue
			}
			if err != nil {
				t.Error(err)
				continue
			}
			check(t, path, f)
			f.Close()
			n++
		}
		t.Logf("%s: %d models", dir, n)
	}
}

func TestSaveIsIdentity(t *testing.T) {
	dir := t.TempDir()
	eachShared(t, func(t *testing.T, path string, f *File) {
		out := filepath.Join(dir, filepath.Base(path))
		if err := Save(context.Background(), out, f.Model, SaveOptions{}); err != nil {
			t.Fatal(err)
		}
		if !sameFiles(t, path, out) {
			t.Errorf("%s: saved with other bytes", path)
		}
		os.RemoveAll(dir)
		os.Mkdir(dir, 0o777)
	})
}

func sameFiles(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// TestEncodeCanonical writes models that do not know what they were read from.
func TestEncodeCanonical(t *testing.T) {
	eachShared(t, func(t *testing.T, path string, f *File) {
		want := f.Model
		got := reencode(t, path, stripped(want))
		if diff := graph.DiffModels(inlined(want), got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	})
}

// TestEncodeParts writes models of which only the outermost message changed:
// their parts are copied. In gpt2_past some names are made twice: there
// readers have to be told apart.
func TestEncodeParts(t *testing.T) {
	eachShared(t, func(t *testing.T, path string, f *File) {
		m := f.Model.Clone()
		m.Doc += "changed"
		m.Graph.Doc += "changed"
		got := reencode(t, path, m)
		if diff := graph.DiffModels(inlined(m), got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		kept := 0
		for n := range got.Graph.Nodes() {
			if bytes.Contains(f.main.data, n.Wire) {
				kept++
			}
		}
		if kept != m.Graph.NumNodes() && !hasOutside(f.Model) && filepath.Base(path) != "gpt2_past.onnx" {
			t.Errorf("%s: %d of %d nodes were copied", path, kept, m.Graph.NumNodes())
		}
	})
}

func hasOutside(m *graph.Model) bool {
	_, outside := denseLiterals(m)
	return outside
}

func reencode(t *testing.T, path string, m *graph.Model) *graph.Model {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, m); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	got, err := Decode(b.Bytes(), OpenOptions{})
	if err != nil {
		t.Fatalf("%s: decoding again: %v", path, err)
	}
	return got
}

// inlined returns a copy of the model with nothing outside.
func inlined(m *graph.Model) *graph.Model {
	m = m.Clone()
	lits, _ := denseLiterals(m)
	for _, l := range lits {
		l.External = nil
	}
	return m
}

// stripped returns a copy of the model without Wire fields.
func stripped(m *graph.Model) *graph.Model {
	m = m.Clone()
	m.Wire = nil
	for _, g := range modelGraphs(m) {
		stripGraph(g)
	}
	for _, f := range m.Functions {
		f.Wire = nil
		for _, a := range f.Defaults {
			stripAttr(a)
		}
	}
	for _, t := range m.Training {
		t.Wire = nil
	}
	return m
}

func stripGraph(g *graph.Graph) {
	g.Wire = nil
	for v := range g.Values() {
		v.Wire = nil
		if v.Init != nil {
			v.Init.Wire = nil
		}
	}
	for n := range g.Nodes() {
		n.Wire = nil
		for _, a := range n.Attrs() {
			stripAttr(a)
		}
	}
}

func stripAttr(a *graph.Attr) {
	a.Wire = nil
	for _, l := range a.Literals {
		l.Wire = nil
	}
	for _, g := range a.Graphs {
		stripGraph(g)
	}
}
