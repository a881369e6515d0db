package engine

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

const (
	// align is where buffers begin: a cache line, and the widest vector.
	align = 64
	// hugePage is the size of a large page where there are such. Memory that
	// spans some of them costs fewer misses of the page table.
	hugePage = 2 << 20
)

// alignedBytes returns n zeroed bytes, n > 0, that start at a cache line, or
// at a large page if there are enough.
func alignedBytes(n int) []byte {
	to := align
	if n >= hugePage {
		to = hugePage
	}
	data := alignedTo(n, to)
	if n >= hugePage {
		adviseHuge(data[:n/hugePage*hugePage])
	}
	return data
}

// alignedTo returns n zeroed bytes, n > 0, that start at a multiple of to, a
// power of 2.
func alignedTo(n, to int) []byte { return alignedIn(make([]byte, n+to), n, to) }

// alignedIn returns the first n bytes of raw, which has to more of them, from a
// multiple of to on.
func alignedIn(raw []byte, n, to int) []byte {
	skip := int(-uintptr(unsafe.Pointer(&raw[0])) & uintptr(to-1))
	return raw[skip : skip+n : skip+n]
}

// uncleared returns n > 0 bytes that hold anything, without the time that
// clearing memory takes which was in use before. A [strings.Builder] takes
// such for what is going to be written to it.
func uncleared(n int) []byte {
	var b strings.Builder
	b.Grow(n)
	b.WriteByte(0)
	return unsafe.Slice(unsafe.StringData(b.String()), n)
}

// slab hands out memory for packed weights, which stays in use together.
type slab struct {
	free  [][]byte // what is left of chunks
	chunk int      // bytes to take next
}

// The sizes of the chunks that a slab takes, each twice as large as the one
// before: large ones lie on large pages.
const (
	firstChunk = 128 << 10
	largeChunk = 4 * hugePage
)

// bytes returns n zeroed bytes at the start of a cache line.
func (s *slab) bytes(n int) []byte {
	if n == 0 {
		return nil
	}
	size := roundUp(n, align)
	i := slices.IndexFunc(s.free, func(b []byte) bool { return len(b) >= size })
	if i < 0 {
		s.chunk = min(max(2*s.chunk, firstChunk), largeChunk)
		i, s.free = len(s.free), append(s.free, alignedBytes(max(size, s.chunk)))
	}
	b := s.free[i][:n:n]
	if s.free[i] = s.free[i][size:]; len(s.free[i]) == 0 {
		s.free = slices.Delete(s.free, i, i+1)
	}
	return b
}

// floats returns n zeroed floats at the start of a cache line.
func (s *slab) floats(n int) []float32 { return slabOf[float32](s, tensor.Float32, n) }

// ints returns n zeroed 8-bit integers at the start of a cache line.
func (s *slab) ints(n int) []int8 { return slabOf[int8](s, tensor.Int8, n) }

func slabOf[T tensor.Elem](s *slab, d tensor.DType, n int) []T {
	t, err := tensor.FromBytes(d, tensor.Shape{n}, s.bytes(d.Bytes(n)))
	if err != nil {
		panic("engine: " + err.Error()) // the length was made to fit
	}
	return tensor.Data[T](t)
}
