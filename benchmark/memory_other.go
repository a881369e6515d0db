//go:build !linux

package benchmark

func resetPeak() {}
