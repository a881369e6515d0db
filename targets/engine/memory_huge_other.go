//go:build !linux

package engine

// adviseHuge does nothing where the system decides by itself.
func adviseHuge([]byte) {}
