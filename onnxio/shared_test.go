package onnxio

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// debianTests is where Debian's package libonnx-testdata puts ONNX's tests.
const debianTests = "/usr/share/libonnx-testdata/data"

// sharedFiles returns the files that keep says yes to in a folder of
// ONNXPACK_SHARED, or in debianTests if that is installed. Without the
// variable the test is skipped.
func sharedFiles(t testing.TB, keep func(path string) bool, dir string) []string {
	t.Helper()
	root := os.Getenv("ONNXPACK_SHARED")
	if root == "" {
		t.Skip("ONNXPACK_SHARED is not set: no models to read")
	}
	if dir == debianTests {
		if _, err := os.Stat(dir); err != nil {
			t.Logf("%s: not installed", dir)
			return nil
		}
	} else {
		dir = filepath.Join(root, dir)
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && keep(path) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func isModel(path string) bool { return strings.HasSuffix(path, ".onnx") }
