package main

import (
	"bytes"
	"os"
	"strconv"
)

// availableMemory returns how many bytes this process may still take: what
// the kernel says is available, or what is left of the control group's limit.
// 0 means that it is not known.
func availableMemory() int64 {
	free := memInfo("MemAvailable:")
	limit := fileNumber("/sys/fs/cgroup/memory.max")
	if limit > 0 {
		if left := limit - fileNumber("/sys/fs/cgroup/memory.current"); free == 0 || left < free {
			free = max(left, 1)
		}
	}
	return free
}

// memInfo returns an entry of /proc/meminfo in bytes.
func memInfo(key string) int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(data) {
		if fields := bytes.Fields(line); len(fields) >= 2 && string(fields[0]) == key {
			n, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			return n << 10
		}
	}
	return 0
}

// fileNumber reads a file that holds one number, 0 if it holds none.
func fileNumber(path string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	return n
}
