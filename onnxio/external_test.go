package onnxio

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// outsideModel returns a model with a big and two middling tensors.
func outsideModel() *graph.Model {
	m := smallModel()
	for name, n := range map[string]int{"a": 500, "b": 600, "big": 50_000} {
		data := make([]float32, n)
		for i := range data {
			data[i] = float32(i * len(name))
		}
		m.Graph.AddInit(name, tensor.Vector(data...))
	}
	return m
}

func TestExternalThreshold(t *testing.T) {
	want := outsideModel()
	path := saved(t, want, SaveOptions{External: 2200, Checksum: true})
	if got := folderFiles(t, filepath.Dir(path)); !slices.Equal(got, []string{"model.onnx", "model.onnx.data"}) {
		t.Errorf("files are %v", got)
	}
	got := opened(t, path)
	sameModel(t, want, got)
	for name, outside := range map[string]bool{"a": false, "b": true, "big": true, "w": false} {
		l := got.Graph.Value(name).Init
		if (l.External != nil) != outside {
			t.Errorf("%s: outside is %v, want %v", name, l.External != nil, outside)
		}
	}
	big := got.Graph.Value("big").Init.External
	if big.Offset%pageSize != 0 || big.Length != 200_000 || len(big.Checksum) != 40 {
		t.Errorf("external data is %+v, want a whole page, length 200000 and a checksum", big)
	}
}

func TestExternalPerTensor(t *testing.T) {
	want := outsideModel()
	want.Graph.AddInit("layer/1:w", tensor.New(tensor.Float32, tensor.Shape{1000}))
	want.Graph.AddInit("layer.1/w", tensor.New(tensor.Float32, tensor.Shape{1000}))
	path := saved(t, want, SaveOptions{External: 4000, PerTensor: true})
	files := folderFiles(t, filepath.Dir(path))
	if len(files) != 4 || !slices.Contains(files, "model.onnx.layer_1_w.data") {
		t.Errorf("files are %v", files)
	}
	sameModel(t, want, opened(t, path))
}

func TestExternalCarried(t *testing.T) {
	path := saved(t, outsideModel(), SaveOptions{External: 1000})
	m := opened(t, path)
	there := filepath.Join(t.TempDir(), "copy.onnx")
	save(t, there, m, SaveOptions{})
	if !sameFiles(t, path, there) || !sameFiles(t, path+".data", filepath.Join(filepath.Dir(there), "model.onnx.data")) {
		t.Error("a model that was not changed was saved with other bytes")
	}
	save(t, there, m, SaveOptions{}) // the same again
	sameModel(t, m, opened(t, there))

	inside := filepath.Join(t.TempDir(), "inside.onnx")
	save(t, inside, m, SaveOptions{External: -1})
	if files := folderFiles(t, filepath.Dir(inside)); len(files) != 1 {
		t.Errorf("files are %v, want the model only", files)
	}
	sameModel(t, m, opened(t, inside))
}

// TestExternalClash saves to a folder where another file has the location's
// name: that file stays.
func TestExternalClash(t *testing.T) {
	m := opened(t, saved(t, outsideModel(), SaveOptions{External: 1000}))
	there := filepath.Join(t.TempDir(), "copy.onnx")
	other := filepath.Join(filepath.Dir(there), "model.onnx.data")
	if err := os.WriteFile(other, []byte("another model's"), 0o666); err != nil {
		t.Fatal(err)
	}
	save(t, there, m, SaveOptions{})
	sameModel(t, m, opened(t, there))
	if b, err := os.ReadFile(other); err != nil || string(b) != "another model's" {
		t.Errorf("the other file is %q, %v", b, err)
	}
}

// TestExternalChanged changes a tensor that was outside, in place, and saves
// over the opened files.
func TestExternalChanged(t *testing.T) {
	path := saved(t, outsideModel(), SaveOptions{External: 1000})
	m := opened(t, path)
	l := m.Graph.Value("a").Init
	l.Tensor = tensor.New(tensor.Float32, tensor.Shape{500})
	save(t, path, m, SaveOptions{})
	got := opened(t, path)
	sameModel(t, m, got)
	if e := got.Graph.Value("a").Init.External; e != nil {
		t.Errorf("the changed tensor is still read from %+v", e)
	}
	save(t, path, m, SaveOptions{External: 1000})
	sameModel(t, m, opened(t, path))
}

// TestExternalDropped uses little of an external file: the file stays behind.
func TestExternalDropped(t *testing.T) {
	m := opened(t, saved(t, outsideModel(), SaveOptions{External: 1000}))
	m.Graph.DropInit(m.Graph.Value("big"))
	there := filepath.Join(t.TempDir(), "copy.onnx")
	save(t, there, m, SaveOptions{})
	if files := folderFiles(t, filepath.Dir(there)); !slices.Equal(files, []string{"copy.onnx", "copy.onnx.data"}) {
		t.Errorf("files are %v", files)
	}
	sameModel(t, m, opened(t, there))
}

// TestLargeModelGoesOutside plans a changed model of 2 GB.
func TestLargeModelGoesOutside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.onnx")
	writeLarge(t, path, 2, 1<<30)
	m := opened(t, path)
	p, err := plan(path, m, SaveOptions{})
	if err != nil || len(p.data) != 0 {
		t.Errorf("the model as it was is planned with %d data files, %v; want none", len(p.data), err)
	}
	m.Graph.Doc = "changed"
	if p, err = plan(path, m, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(p.data) != 1 || len(p.data[0].literals) != 2 {
		t.Errorf("data files are %+v, want one with two tensors", p.data)
	}
}

func TestChecksum(t *testing.T) {
	path := saved(t, outsideModel(), SaveOptions{External: 1000, Checksum: true})
	f, err := os.OpenFile(path+".data", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1}, 5); err != nil {
		t.Fatal(err)
	}
	f.Close()
	opens(t, path, OpenOptions{}, "")
	opens(t, path, OpenOptions{Checksum: true}, "checksum is")
}

// opens opens a model and wants an error that holds want, or none if that is
// empty.
func opens(t *testing.T, path string, o OpenOptions, want string) {
	t.Helper()
	f, err := Open(path, o)
	if err == nil {
		f.Close()
	}
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	}
}

// TestSandbox gives locations that lead out of the model's folder.
func TestSandbox(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	inside := filepath.Join(dir, "models")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Skipf("this system cannot make the files: %v", err)
		}
	}
	must(os.WriteFile(secret, make([]byte, 4000), 0o666))
	must(os.MkdirAll(filepath.Join(inside, "sub"), 0o777))
	must(os.WriteFile(filepath.Join(inside, "sub", "plain"), make([]byte, 4000), 0o666))
	must(os.WriteFile(filepath.Join(inside, "short"), make([]byte, 10), 0o666))
	must(os.Symlink(secret, filepath.Join(inside, "link")))
	must(os.Symlink(dir, filepath.Join(inside, "dirlink")))
	must(os.Symlink("sub/plain", filepath.Join(inside, "inner")))
	must(os.WriteFile(filepath.Join(inside, "hard"), make([]byte, 4000), 0o666))
	must(os.Link(filepath.Join(inside, "hard"), filepath.Join(dir, "hard2")))
	for location, want := range map[string]string{
		"sub/plain":           "",
		"./sub/plain":         "",
		secret:                "absolute path",
		`\\host\share\x`:      "absolute path",
		"../secret":           "leads out of",
		"sub/../../secret":    "leads out of",
		"sub/../sub/plain":    `holds ".."`,
		`sub\..\..\secret`:    `holds ".."`,
		"link":                "symbolic link",
		"dirlink/secret":      "symbolic link",
		"inner":               "symbolic link",
		"hard":                "hard links",
		"sub":                 "is a folder",
		"sub/":                "is a folder",
		".":                   "is a folder",
		"missing":             "no such file",
		"a\x00b":              "zero byte",
		"short":               "has 10 bytes, want 4000 at offset 0",
		"":                    "there is no location",
		"sub/plain/deeper":    "not a directory",
		"*/_ORT_MEM_ADDR_/*":  "no such file",
		"sub/plain\nsub/more": "no such file",
	} {
		m := graph.New("g")
		path := filepath.Join(inside, "model.onnx")
		l := &graph.Literal{
			Tensor:   tensor.New(tensor.Float32, tensor.Shape{1000}),
			External: &graph.External{Location: location, Length: -1},
		}
		m.SetInit(m.Define("w"), l)
		data := encodeModel(&graph.Model{IRVersion: 9, Graph: m}).all()
		must(os.WriteFile(path, slices.Concat(data...), 0o666))
		opens(t, path, OpenOptions{}, want)
		if _, err := Decode(slices.Concat(data...), OpenOptions{Dir: inside}); (err == nil) != (want == "") {
			t.Errorf("%q: Decode gives %v, want %q", location, err, want)
		}
		if _, err := Decode(slices.Concat(data...), OpenOptions{}); err == nil {
			t.Errorf("%q: Decode without a folder gives no error", location)
		}
	}
}

func TestSaveLeavesNothingBehind(t *testing.T) {
	m := outsideModel()
	path := saved(t, m, SaveOptions{})
	dir := filepath.Dir(path)
	before, _ := os.ReadFile(path)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Save(ctx, path, smallModel(), SaveOptions{External: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that of the context", err)
	}
	if err := Save(context.Background(), filepath.Join(dir, "missing", "x.onnx"), m, SaveOptions{}); err == nil {
		t.Error("saved to a folder that does not exist")
	}
	if err := Save(context.Background(), dir, m, SaveOptions{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("saving over a folder: error is %v", err)
	}
	if files := folderFiles(t, dir); len(files) != 1 {
		t.Errorf("files are %v, want the model only", files)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the file was changed")
	}
}
