package main

import (
	"bytes"
	"os"
	"testing"
)

// The matrix of what is known of every operator stands in the repository, so
// that what is missing, or goes, is seen in review.
func TestOpsMatrix(t *testing.T) {
	const golden = "testdata/ops.golden"
	var got bytes.Buffer
	writeOps(&got, opRows(nil))
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the rules of operators differ from %s: go test ./cmd/onnxpack -run OpsMatrix -update rewrites it", golden)
	}
}
