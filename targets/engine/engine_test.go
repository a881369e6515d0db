package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/onnxpack/onnxpack/onnxio"
)

// sharedModel opens a model of the shared folder, or skips.
func sharedModel(t testing.TB, name string) *onnxio.File {
	t.Helper()
	shared := os.Getenv("ONNXPACK_SHARED")
	if shared == "" {
		t.Skip("ONNXPACK_SHARED names no folder of models")
	}
	f, err := onnxio.Open(filepath.Join(shared, "models", name), onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
