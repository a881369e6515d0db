//go:build !purego

package simd

// Sets lists the groups of kernels in the order in which they overlay a table.
func Sets() []Set { return nil }
