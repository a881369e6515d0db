package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/windows"
)

// symbol loads a library and returns the address of one of its functions.
func symbol(library, name string) (uintptr, error) {
	h, err := windows.LoadLibrary(library)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", library, err)
	}
	addr, err := windows.GetProcAddress(h, name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", library, err)
	}
	return addr, nil
}

// cPath returns a path as the library takes it: UTF-16 on Windows.
func cPath(path string) *uint16 {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		p = new(uint16) // a path with a NUL names no file
	}
	return p
}

// peakResident returns 0: it is not known here.
func peakResident() int64 { return 0 }

// processorTime returns 0: it is not asked for here.
func processorTime() time.Duration { return 0 }
