package ort

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// start starts a helper, or skips where ONNX Runtime is not installed.
func start(t *testing.T) *Process {
	t.Helper()
	install, err := Find(t.Context())
	if errors.Is(err, ErrMissing) && os.Getenv(LibraryEnv) == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), install)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestRun(t *testing.T) {
	p := start(t)
	s, err := p.Load(t.Context(), Options{Model: addModel(t), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	feeds := map[string]tensor.Value{"x": tensor.Vector[float32](1, 2), "y": tensor.Vector[float32](10, 20)}
	out, err := s.Run(t.Context(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	want := tensor.Vector[float32](11, 22)
	if got := out["z"].(*tensor.Tensor); !got.Equal(want) {
		t.Errorf("z = %v, want [11 22]", tensor.Float32s(got))
	}
	times, err := s.Time(t.Context(), feeds, 3)
	if err != nil || len(times) != 3 {
		t.Errorf("Time = %v, %v, want 3 times", times, err)
	}
	if p.Version() == "" {
		t.Error("no version")
	}
	feeds["x"] = tensor.Vector[int32](1, 2)
	if _, err := s.Run(t.Context(), feeds); err == nil {
		t.Error("a feed of the wrong type is accepted")
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Run(t.Context(), feeds); err == nil {
		t.Error("a closed session runs")
	}
}

func TestCancelled(t *testing.T) {
	p := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Load(ctx, Options{Model: addModel(t)}); !errors.Is(err, context.Canceled) {
		t.Errorf("Load under a cancelled context gives %v", err)
	}
}

func TestBrokenModel(t *testing.T) {
	p := start(t)
	if _, err := p.Load(t.Context(), Options{Model: []byte("no model")}); err == nil {
		t.Error("bytes that are no model load")
	}
	if _, err := p.Load(t.Context(), Options{Path: filepath.Join(t.TempDir(), "none.onnx")}); err == nil {
		t.Error("a file that is not there loads")
	}
}

// addModel returns the encoded model z = Add(x, y) over float[2].
func addModel(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/add.onnx")
	if err != nil {
		t.Fatal(err)
	}
	return data
}
