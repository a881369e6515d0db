// Package simd holds the assembly kernels and says which CPU features each set
// of them needs.
//
// Floor 1. It knows slices and the rows of kernel.Table, and nothing else; it
// does not ask which CPU it runs on. The amd64 files are printed by the
// generator in the module gen beside it (`make generate`), the arm64 files are
// written by hand. With the build tag purego there are no sets.
//
// A kernel has one stem for its symbol, the name in its table row, its subtest
// and its benchmark. Kernels that may run for long have a frame of more than
// 128 bytes and no NOSPLIT: entering one is then a point where the garbage
// collector can stop the goroutine.
package simd

import "github.com/onnxpack/onnxpack/graph/kernel"

// Set is a group of kernels that need the same CPU features.
type Set struct {
	Name string
	// Needs holds the features in the spelling of Go's cpuid package, in lower
	// case: avx2, fma3, avx512f ...
	Needs []string
	// Overlay replaces the rows of a table for which the set has a kernel.
	Overlay func(*kernel.Table)
}
