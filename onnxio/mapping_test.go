package onnxio

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Elements that are given back are read again from the file when they are
// needed; until then they take no memory.
func TestEvict(t *testing.T) {
	const n = 8 << 20
	m := smallModel()
	want := bytes.Repeat([]byte("evict me"), n/8)
	m.Graph.AddInit("big", tensor.Of(tensor.Shape{n}, want))
	path := saved(t, m, SaveOptions{})
	f, err := Open(path, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	big := f.Model.Graph.Value("big").Init.Tensor
	check := func(when string) {
		if !bytes.Equal(big.Bytes(), want) {
			t.Fatalf("%s the elements are others", when)
		}
	}
	check("at first")
	before := residentFile()
	big.Evict()
	if after := residentFile(); before > 0 && before-after < n*3/4 {
		t.Errorf("%d bytes of files were resident, %d are when %d are given back", before, after, n)
	}
	check("when they were given back")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	big.Evict() // finds no file
}

// residentFile returns how many bytes of mapped files are resident, 0 where the
// system does not tell.
func residentFile() int {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "RssFile:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, _ := strconv.Atoi(fields[0])
	return kb << 10
}
