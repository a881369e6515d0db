package onnxio

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sharedFiles returns the files below the given folder of ONNXPACK_SHARED
// that keep says yes to; without the variable the test is skipped.
func sharedFiles(t testing.TB, keep func(path string) bool, dirs ...string) []string {
	t.Helper()
	root := os.Getenv("ONNXPACK_SHARED")
	if root == "" {
		t.Skip("ONNXPACK_SHARED is not set: no models to read")
	}
	var files []string
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && keep(path) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func isModel(path string) bool { return strings.HasSuffix(path, ".onnx") }

func TestOpenShared(t *testing.T) {
	n := 0
	for _, path := range sharedFiles(t, isModel, "models", "onnx-backend-tests", "ort-testdata") {
		f, err := Open(path, OpenOptions{})
		if err != nil {
			t.Log(err)
			continue
		}
		n++
		f.Close()
	}
	t.Logf("%d opened", n)
}
