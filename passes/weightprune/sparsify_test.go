package weightprune_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// TestSparseFile writes sparse initializers, reads them back, and expects of the
// engine and of ONNX Runtime what they compute with the dense file.
func TestSparseFile(t *testing.T) {
	m, data := openDigits(t)
	calib, _ := data.Split(1)
	dense, _ := pruned(t, m, calib, 0, "simplify,prune-magnitude=sparsity:0.9")
	sparse, report := pruned(t, dense, calib, 0, "sparsify-initializers")
	if n := report.Steps[0].Changed; n != 4 {
		t.Errorf("%d initializers are sparse, want the 4 weights", n)
	}
	dir := t.TempDir()
	paths := map[string]string{"dense": filepath.Join(dir, "dense.onnx"), "sparse": filepath.Join(dir, "sparse.onnx")}
	if err := errors.Join(
		onnxio.Save(t.Context(), paths["dense"], dense, onnxio.SaveOptions{}),
		onnxio.Save(t.Context(), paths["sparse"], sparse, onnxio.SaveOptions{}),
	); err != nil {
		t.Fatal(err)
	}
	sample, err := data.At(3)
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]map[string]tensor.Value{}
	for name, path := range paths {
		results[name] = runFile(t, path, sample.Feeds)
	}
	same(t, results["sparse"], results["dense"])
	judge := startORT(t)
	for name, path := range paths {
		s, err := judge.Load(t.Context(), ort.Options{Path: path, Threads: 1})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if results[name], err = s.Run(t.Context(), sample.Feeds); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	same(t, results["sparse"], results["dense"])
}

func runFile(t *testing.T, path string, feeds map[string]tensor.Value) map[string]tensor.Value {
	t.Helper()
	f, err := onnxio.Open(path, onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s, err := engine.Compile(context.Background(), f.Model, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(context.Background(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *testing.T, got, want map[string]tensor.Value) {
	t.Helper()
	for name, w := range want {
		if d, err := passes.Compare(w, got[name]); err != nil || d.Max > 1e-6 {
			t.Errorf("output %q: drift %v, %v", name, d, err)
		}
	}
}

func startORT(t *testing.T) *ort.Process {
	t.Helper()
	install, err := ort.Find(t.Context())
	if errors.Is(err, ort.ErrMissing) && os.Getenv(ort.LibraryEnv) == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	judge, err := ort.Start(t.Context(), install)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { judge.Close() })
	return judge
}
