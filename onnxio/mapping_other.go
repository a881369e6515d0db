//go:build !unix

package onnxio

import (
	"io"
	"os"
)

const (
	normalAccess = iota
	randomAccess
)

// newMapping reads the file: there is no portable way to map it. The file is
// closed, so that it can be replaced while the model is in use.
func newMapping(f *os.File, size int64) (*mapping, error) {
	defer f.Close()
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, err
	}
	return &mapping{data: data}, nil
}

func (m *mapping) release() error { return nil }

func (m *mapping) advise(int) {}

func linkCount(os.FileInfo) uint64 { return 1 }

func (m *mapping) evict(int, int) {}
