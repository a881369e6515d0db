//go:build unix

package targets

import (
	"syscall"
	"testing"
	"unsafe"
)

// guarded returns n elements that end where the address space does: touching
// one element more is a fault.
func guarded[T any](t testing.TB, n int) []T {
	t.Helper()
	var zero T
	size := n * int(unsafe.Sizeof(zero))
	page := syscall.Getpagesize()
	body := (size + page - 1) / page * page
	mapped, err := syscall.Mmap(-1, 0, body+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mapped) })
	if err := syscall.Mprotect(mapped[body:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return []T{}
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&mapped[body-size])), n)
}
