package onnxio

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"unsafe"
)

// mapping is a file in memory. Its contents are read through data, or, where
// they need not become resident, from the file at the same offset.
type mapping struct {
	file   *os.File // nil if the contents are a copy
	data   []byte
	folder *folder // of a model's file: where its external data lies

	location string // of external data: its place in the folder
	seek     sync.Mutex
}

func (m *mapping) base() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(m.data))) }

// mapped lists the mappings in use, by address, so that a writer that is
// given bytes finds the file that they lie in.
var mapped struct {
	sync.Mutex
	list []*mapping
}

// mapFile brings a regular file into memory.
func mapFile(path string) (*mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	return mapOpened(f)
}

// mapOpened brings an opened file into memory, and closes it in the end.
func mapOpened(f *os.File) (*mapping, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("is not a regular file (%v)", info.Mode().Type())
	}
	if err != nil {
		f.Close()
		return nil, bare(err)
	}
	m, err := newMapping(f, info.Size())
	if err != nil {
		f.Close()
		return nil, bare(err)
	}
	mapped.Lock()
	defer mapped.Unlock()
	i, _ := slices.BinarySearchFunc(mapped.list, m.base(), compareBase)
	mapped.list = slices.Insert(mapped.list, i, m)
	return m, nil
}

func compareBase(m *mapping, addr uintptr) int { return cmp.Compare(m.base(), addr) }

// reader reads n bytes from off on, without making them resident where that
// can be.
func (m *mapping) reader(off, n int64) io.Reader {
	if m.file == nil {
		return bytes.NewReader(m.data[off : off+n])
	}
	return io.NewSectionReader(m.file, off, n)
}

// close forgets the mapping and frees what it holds.
func (m *mapping) close() error {
	mapped.Lock()
	mapped.list = slices.DeleteFunc(mapped.list, func(x *mapping) bool { return x == m })
	mapped.Unlock()
	return m.release()
}

// findMapping returns the mapping that b lies in and where it begins there,
// nil if there is none.
func findMapping(b []byte) (*mapping, int64) {
	if len(b) == 0 {
		return nil, 0
	}
	mapped.Lock()
	defer mapped.Unlock()
	return findLocked(b)
}

// findLocked is findMapping of some bytes for who holds the lock.
func findLocked(b []byte) (*mapping, int64) {
	addr := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	i, found := slices.BinarySearchFunc(mapped.list, addr, compareBase)
	if !found {
		i--
	}
	for ; i >= 0; i-- {
		m := mapped.list[i]
		if off := addr - m.base(); off+uintptr(len(b)) <= uintptr(len(m.data)) {
			return m, int64(off)
		}
		if len(m.data) > 0 {
			break
		}
	}
	return nil, 0
}

// evict gives the memory back that holds b where b lies in a mapped file, until
// it is read again. Pages that b shares with others stay.
func evict(b []byte) {
	page := os.Getpagesize()
	if len(b) < page {
		return
	}
	mapped.Lock()
	defer mapped.Unlock()
	m, off := findLocked(b)
	if m == nil {
		return
	}
	// A mapping begins with a page.
	lo, hi := (int(off)+page-1)/page*page, (int(off)+len(b))/page*page
	if lo < hi {
		m.evict(lo, hi)
	}
}

// guard runs read, which touches mapped memory, and turns the fault of a file
// that has become shorter meanwhile into an error.
func guard(read func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		switch e := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = fmt.Errorf("file became unreadable at address %#x: it was cut off or its disk failed", e.Addr())
		default:
			panic(e)
		}
	}()
	return read()
}

// bare strips the operation and path from a file error: callers name the
// object themselves.
func bare(err error) error {
	if e, ok := err.(*os.PathError); ok {
		return e.Err
	}
	return err
}
