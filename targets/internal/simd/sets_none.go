//go:build purego || !(amd64 || arm64)

package simd

// Sets is empty: the portable kernels do all the work.
func Sets() []Set { return nil }
