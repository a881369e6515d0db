//go:build unix

package onnxio

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	normalAccess = unix.MADV_NORMAL
	randomAccess = unix.MADV_RANDOM
)

func newMapping(f *os.File, size int64) (*mapping, error) {
	if size == 0 {
		return &mapping{file: f}, nil
	}
	if size > math.MaxInt {
		return nil, fmt.Errorf("is too large (%d bytes) for this computer's addresses", size)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot be mapped: %w", err)
	}
	return &mapping{file: f, data: data}, nil
}

func (m *mapping) release() error {
	var err error
	if m.data != nil {
		err = unix.Munmap(m.data)
		m.data = nil
	}
	return errors.Join(err, m.file.Close())
}

// advise tells the kernel how the contents will be read. While an index is
// built, reading ahead would bring in weights that nobody asked for.
func (m *mapping) advise(how int) {
	if m.data != nil {
		_ = unix.Madvise(m.data, how) // advice only: nothing depends on it
	}
}

// evict gives the memory back that holds the bytes lo to hi-1, whole pages.
// They are read from the file again when they are needed: nobody writes to
// them.
func (m *mapping) evict(lo, hi int) {
	_ = unix.Madvise(m.data[lo:hi], unix.MADV_DONTNEED)
}

// linkCount returns how many names a file has.
func linkCount(info os.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink)
	}
	return 1
}
