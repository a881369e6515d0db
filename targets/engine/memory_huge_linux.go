package engine

import "golang.org/x/sys/unix"

// adviseHuge asks for large pages. Without them all works, more slowly.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
