package benchmark

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// peakResident returns the kernel's high-water mark of this process.
func peakResident() int64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(data), "VmHWM:")
	if !ok {
		return 0
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}

// resetPeak frees what earlier work left and lowers the mark to what is
// resident now.
func resetPeak() {
	debug.FreeOSMemory()
	// Without the right to write it the mark only stays too high.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}
