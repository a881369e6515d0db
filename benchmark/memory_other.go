//go:build !linux

package benchmark

// peakResident returns 0: the mark is not read here.
func peakResident() int64 { return 0 }

func resetPeak() {}
