package wire

import (
	"os"
	"strconv"
	"strings"
)

// PeakResident returns the most bytes that this process has had resident, 0 if
// that is not known. What getrusage tells is no measure: it begins with what
// the parent had when it started the process.
func PeakResident() int64 {
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
