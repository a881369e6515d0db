//go:build unix

package main

import (
	"fmt"
	goruntime "runtime"
	"time"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"github.com/onnxpack/onnxpack/targets/ort/wire"
)

// symbol loads a library and returns the address of one of its functions.
func symbol(library, name string) (uintptr, error) {
	h, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", library, err)
	}
	addr, err := purego.Dlsym(h, name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", library, err)
	}
	return addr, nil
}

// cPath returns a path as the library takes it.
func cPath(path string) *byte { return cString(path) }

// peakResident returns the most bytes the process has had in memory.
func peakResident() int64 {
	if n := wire.PeakResident(); n > 0 {
		return n
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	if goruntime.GOOS == "darwin" {
		return int64(u.Maxrss)
	}
	return int64(u.Maxrss) << 10
}

// processorTime returns how long the process has run, on all processors.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
