package engine

import (
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Every part of packed weights is filled once, whoever shares the work, and the
// weights are given back behind the last one.
func TestPackerFillsAllParts(t *testing.T) {
	halves := func(n, _ int, f func(lo, hi int)) {
		f(0, n/2)
		f(n/2, n)
	}
	for _, size := range []int{1, packEach, packMost + 1} {
		for _, n := range []int{1, 2, 7, 1000} {
			var evicted, early atomic.Int32
			filled := make([]atomic.Int32, n)
			from, err := tensor.FromMapped(tensor.Uint8, tensor.Shape{size}, make([]byte, size), func([]byte) {
				evicted.Add(1)
				for i := range filled {
					if filled[i].Load() == 0 {
						early.Add(1)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			p := packer{split: halves}
			p.add(from, n, func(lo, hi int) {
				for i := lo; i < hi; i++ {
					filled[i].Add(1)
				}
			})
			if waits := len(p.pieces) > 0; waits != (size <= packMost) {
				t.Errorf("%d bytes in %d parts: work waits: %t", size, n, waits)
			}
			p.finish(halves)
			p.finish(halves)
			for i := range filled {
				if got := filled[i].Load(); got != 1 {
					t.Fatalf("%d bytes in %d parts: part %d was filled %d times", size, n, i, got)
				}
			}
			if evicted.Load() != 1 || early.Load() != 0 {
				t.Errorf("%d bytes in %d parts: given back %d times, %d parts too early", size, n, evicted.Load(), early.Load())
			}
		}
	}
}

// Memory of a slab is aligned, and no two pieces of it overlap.
func TestSlabPiecesAreApart(t *testing.T) {
	var s slab
	var all [][]byte
	for i := range 300 {
		b := s.bytes(1 + i*i*37%(3<<20))
		if at := addressOf(b); at%align != 0 {
			t.Fatalf("piece %d begins at %#x", i, at)
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b []byte) int { return int(addressOf(a)) - int(addressOf(b)) })
	for i, b := range all[1:] {
		if addressOf(all[i])+uintptr(len(all[i])) > addressOf(b) {
			t.Fatal("two pieces overlap")
		}
	}
}

func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
