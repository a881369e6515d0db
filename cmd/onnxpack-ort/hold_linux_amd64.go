package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// cpuid executes the instruction of that name.
func cpuid(leaf, sub uint32) (a, b, c, d uint32)

// mask has the bits of CPUID's leaf 7, sub-leaf 0, that are hidden, and those of
// EAX of sub-leaf 1 that are not (Intel SDM, volume 2A, CPUID).
type mask struct{ b, c, d, later uint32 }

// hidden are, by profile, the instructions that a CPU of it does not have.
var hidden = map[string]mask{
	"amd64-avx2":        {avx512b, avx512c, avx512d, 0},
	"amd64-avxvnni":     {avx512b, avx512c, avx512d, avxVNNI},
	"amd64-avx512":      {0, vnni, avx512d, 0},
	"amd64-avx512-vnni": {0, 0, avx512d, avxVNNI},
}

const (
	avx512b = 1<<16 | 1<<17 | 1<<21 | 1<<26 | 1<<27 | 1<<28 | 1<<30 | 1<<31 // F, DQ, IFMA, PF, ER, CD, BW, VL
	avx512c = 1<<1 | 1<<6 | vnni | 1<<12 | 1<<14                            // VBMI, VBMI2, BITALG, VPOPCNTDQ
	avx512d = 1<<2 | 1<<3 | 1<<8 | 1<<22 | 1<<23 | 1<<24 | 1<<25            // 4VNNIW, 4FMAPS, VP2INTERSECT, FP16, AMX
	vnni    = 1 << 11
	avxVNNI = 1 << 4
)

// hold runs this program on library as on a CPU of the given profile: in a
// process that is traced, with a copy of the library whose CPUID instructions
// are invalid ones, each of which is answered here. They are executed when the
// library loads, so that nothing is slower afterwards.
func hold(profile, library string) error {
	bits, known := hidden[profile]
	if !known {
		return fmt.Errorf("-hold: no profile %q, want one of %q", profile, slices.Sorted(maps.Keys(hidden)))
	}
	patched, err := withoutCPUID(library)
	if err != nil {
		return err
	}
	goruntime.LockOSThread() // a process is traced by one thread
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, patched)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	return trace(cmd.Process.Pid, bits)
}

// trace follows the threads of a process until it ends, and answers CPUID.
func trace(main int, hide mask) error {
	const exitKill = 0x100000 // PTRACE_O_EXITKILL
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(main, &status, syscall.WALL, nil); err != nil {
		return err
	}
	if err := syscall.PtraceSetOptions(main, syscall.PTRACE_O_TRACECLONE|exitKill); err != nil {
		return err
	}
	thread, signal := main, 0
	for {
		if err := syscall.PtraceCont(thread, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		for {
			var err error
			if thread, err = syscall.Wait4(-1, &status, syscall.WALL, nil); err != nil {
				return err
			}
			if thread == main && (status.Exited() || status.Signaled()) {
				return ended(status)
			}
			if status.Stopped() {
				break
			}
		}
		switch stop := status.StopSignal(); {
		case stop == syscall.SIGILL && answer(thread, hide), stop == syscall.SIGTRAP, stop == syscall.SIGSTOP: // the latter two are of tracing
			signal = 0
		default:
			signal = int(stop)
		}
	}
}

func ended(status syscall.WaitStatus) error {
	if status.Exited() && status.ExitStatus() == 0 {
		return nil
	}
	return fmt.Errorf("the held process ended with exit code %d, signal %d", status.ExitStatus(), status.Signal())
}

// invalid is UD2, which is as long as CPUID.
var invalid, instruction = []byte{0x0f, 0x0b}, []byte{0x0f, 0xa2}

// answer executes CPUID for a thread that stopped at the invalid instruction in
// its place, and reports whether it did.
func answer(thread int, hide mask) bool {
	var r syscall.PtraceRegs
	code := make([]byte, len(invalid))
	if syscall.PtraceGetRegs(thread, &r) != nil {
		return false
	}
	if _, err := syscall.PtracePeekText(thread, uintptr(r.Rip), code); err != nil || !bytes.Equal(code, invalid) {
		return false
	}
	leaf, sub := uint32(r.Rax), uint32(r.Rcx)
	a, b, c, d := cpuid(leaf, sub)
	switch {
	case leaf == 7 && sub == 0:
		b, c, d = b&^hide.b, c&^hide.c, d&^hide.d
	case leaf == 7:
		a, b, c, d = a&hide.later, 0, 0, 0
	}
	r.Rax, r.Rbx, r.Rcx, r.Rdx = uint64(a), uint64(b), uint64(c), uint64(d)
	r.Rip += uint64(len(invalid))
	return syscall.PtraceSetRegs(thread, &r) == nil
}

// withoutCPUID returns the path of a copy of library with invalid instructions
// in the places of CPUID, which binutils' disassembler finds. The copy is kept
// in the user's cache.
func withoutCPUID(library string) (string, error) {
	code, err := os.ReadFile(library)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(code)
	path := filepath.Join(cache, "onnxpack", "held", hex.EncodeToString(sum[:8]), filepath.Base(library))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	places, err := findCPUID(library)
	if err != nil {
		return "", err
	}
	for _, at := range places {
		if at+2 > len(code) || !bytes.Equal(code[at:at+2], instruction) {
			return "", fmt.Errorf("%s: no CPUID at offset %d: its segments are not where they are loaded", library, at)
		}
		copy(code[at:], invalid)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	part := path + "." + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(part, code, 0o644); err != nil {
		os.Remove(part)
		return "", err
	}
	return path, os.Rename(part, path)
}

// findCPUID returns the addresses of the CPUID instructions in a library.
func findCPUID(library string) ([]int, error) {
	text, err := exec.Command("objdump", "-d", "--no-show-raw-insn", library).Output()
	if err != nil {
		return nil, fmt.Errorf("objdump, of binutils, finds the CPUID instructions of %s: %w", library, err)
	}
	var places []int
	for line := range strings.Lines(string(text)) {
		address, code, _ := strings.Cut(line, ":")
		if strings.TrimSpace(code) != "cpuid" {
			continue
		}
		at, err := strconv.ParseInt(strings.TrimSpace(address), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("objdump: %q is no address", address)
		}
		places = append(places, int(at))
	}
	if len(places) == 0 {
		return nil, fmt.Errorf("%s: no CPUID instruction", library)
	}
	return places, nil
}
