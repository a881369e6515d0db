package main

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// apiVersion is the oldest version of the C interface that has all we call;
// a library of ONNX Runtime 1.16 or later answers to it.
const apiVersion = 16

// slot is the index of a function in the OrtApi table (onnxruntime_c_api.h).
type slot int

const (
	getErrorMessage                  slot = 2
	createEnv                        slot = 3
	createSession                    slot = 7
	createSessionFromArray           slot = 8
	runSession                       slot = 9
	createSessionOptions             slot = 10
	setOptimizationLevel             slot = 23
	setIntraOpNumThreads             slot = 24
	setInterOpNumThreads             slot = 25
	sessionGetInputCount             slot = 30
	sessionGetOutputCount            slot = 31
	sessionGetInputName              slot = 36
	sessionGetOutputName             slot = 37
	createTensorAsOrtValue           slot = 48
	createTensorWithDataAsOrtValue   slot = 49
	getTensorMutableData             slot = 51
	fillStringTensor                 slot = 52
	getStringTensorDataLength        slot = 53
	getStringTensorContent           slot = 54
	getTensorElementType             slot = 60
	getDimensionsCount               slot = 61
	getDimensions                    slot = 62
	getTensorTypeAndShape            slot = 65
	getValueType                     slot = 67
	createCPUMemoryInfo              slot = 69
	allocatorFree                    slot = 76
	getAllocatorWithDefaultOptions   slot = 78
	getValue                         slot = 80
	getValueCount                    slot = 81
	createValue                      slot = 82
	releaseStatus                    slot = 93
	releaseSession                   slot = 95
	releaseValue                     slot = 96
	releaseTensorTypeAndShapeInfo    slot = 99
	releaseSessionOptions            slot = 100
	logError                              = 3
	onnxTypeTensor, onnxTypeSequence      = 1, 2
)

// runtime is a loaded library with the objects that all sessions share.
// Handles are addresses of the library's objects.
type runtime struct {
	version   string
	table     *[128]uintptr
	env       uintptr
	memory    uintptr // describes memory of the CPU
	allocator uintptr
}

func open(library string) (*runtime, error) {
	base, err := symbol(library, "OrtGetApiBase")
	if err != nil {
		return nil, err
	}
	r, _, _ := purego.SyscallN(base)
	// OrtApiBase is {const OrtApi* (*GetApi)(uint32_t); const char* (*GetVersionString)()}.
	fns := (*[2]uintptr)(pointer(r))
	name, _, _ := purego.SyscallN(fns[1])
	rt := &runtime{version: goString(name)}
	table, _, _ := purego.SyscallN(fns[0], apiVersion)
	if table == 0 {
		return nil, fmt.Errorf("ONNX Runtime %s lacks version %d of its interface (want 1.16 or later)", rt.version, apiVersion)
	}
	rt.table = (*[128]uintptr)(pointer(table))
	id := cString("onnxpack")
	if err := rt.call(createEnv, logError, address(id), address(&rt.env)); err != nil {
		return nil, err
	}
	const arenaAllocator, defaultMemory = 1, 0
	if err := rt.call(createCPUMemoryInfo, arenaAllocator, defaultMemory, address(&rt.memory)); err != nil {
		return nil, err
	}
	err = rt.call(getAllocatorWithDefaultOptions, address(&rt.allocator))
	goruntime.KeepAlive(id)
	return rt, err
}

// call calls a function that returns an OrtStatus*, and turns that into an
// error.
func (rt *runtime) call(s slot, args ...uintptr) error {
	status, _, _ := purego.SyscallN(rt.table[s], args...)
	if status == 0 {
		return nil
	}
	message, _, _ := purego.SyscallN(rt.table[getErrorMessage], status)
	err := errors.New(goString(message))
	purego.SyscallN(rt.table[releaseStatus], status)
	return err
}

// release calls a function that frees an object.
func (rt *runtime) release(s slot, handle uintptr) {
	if handle != 0 {
		purego.SyscallN(rt.table[s], handle)
	}
}

// pointer views an address outside Go's heap as a pointer.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// address returns where p points; the caller keeps it alive during the call.
// That p may be stored in heap makes what it points to live outside the stack,
// which moves when it grows.
func address[T any](p *T) uintptr {
	if toHeap {
		heap = p
	}
	return uintptr(unsafe.Pointer(p))
}

var (
	toHeap bool // never set
	heap   any
)

// cString returns the first byte of a NUL-terminated copy of s.
func cString(s string) *byte { return &append([]byte(s), 0)[0] }

func goString(addr uintptr) string {
	if addr == 0 {
		return ""
	}
	n := 0
	for *(*byte)(pointer(addr + uintptr(n))) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(pointer(addr)), n))
}
