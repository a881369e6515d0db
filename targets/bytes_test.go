package targets

import (
	"bytes"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// bytesOf returns n random bytes at the end of the address space.
func bytesOf(t *testing.T, n int, seed ...int) []uint8 {
	s, r := guarded[uint8](t, n), newRand(seed...)
	for i := range s {
		s[i] = uint8(r.Uint32())
	}
	return s
}

func TestByteRows(t *testing.T) {
	oracle := kernel.Generic()
	table := (*[256]uint8)(bytesOf(t, 256, 1))
	eachTable(t, func(t *testing.T, k *kernel.Table) {
		for _, n := range append(rowSizes, 256) {
			a, b := bytesOf(t, n, n, 2), bytesOf(t, n, n, 3)
			if n == 256 {
				for i := range a {
					a[i] = uint8(i)
				}
			}
			want, got := make([]uint8, n), guarded[uint8](t, n)
			oracle.Lookup(want, a, table)
			if k.Lookup(got, a, table); !bytes.Equal(got, want) {
				t.Errorf("lookup of %d: got %v, want %v", n, got, want)
			}
			oracle.MaxU8(want, a, b)
			if k.MaxU8(got, a, b); !bytes.Equal(got, want) {
				t.Errorf("max of %d: got %v, want %v", n, got, want)
			}
			oracle.MaxS8(want, a, b)
			if k.MaxS8(got, a, b); !bytes.Equal(got, want) {
				t.Errorf("signed max of %d: got %v, want %v", n, got, want)
			}
			counts, expected := guarded[int32](t, n), make([]int32, n)
			for i := range counts {
				counts[i] = int32(i)
			}
			copy(expected, counts)
			oracle.CountU8(expected, a)
			if k.CountU8(counts, a); !slices.Equal(counts, expected) {
				t.Errorf("count of %d: got %v, want %v", n, counts, expected)
			}
		}
	})
}
