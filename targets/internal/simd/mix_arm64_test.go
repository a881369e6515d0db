//go:build !purego

package simd

import (
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// TestInstructionMix decodes the inner loop of every product kernel: most of it
// has to be multiply-accumulates, with few loads for each.
func TestInstructionMix(t *testing.T) {
	const share, loadsEach = 0.8, 0.2
	for name, kernel := range map[string]any{
		"gemm_f32_8x8_neon":      gemm_f32_8x8_neon,
		"gemm_u8s8_8x8_neon":     gemm_u8s8_8x8_neon,
		"gemm_s8s8_8x8_neon":     gemm_s8s8_8x8_neon,
		"gemm_s8s8_6x16_dotprod": gemm_s8s8_6x16_dotprod,
		"gemm_u8s8_6x16_dotprod": gemm_u8s8_6x16_dotprod,
		"gemm_u8s8_6x16_i8mm":    gemm_u8s8_6x16_i8mm,
	} {
		macs, loads, all := innerLoop(t, name, kernel)
		t.Logf("%s: %d multiply-accumulates and %d loads of %d instructions", name, macs, loads, all)
		if float64(macs) < share*float64(all) || float64(loads) > loadsEach*float64(macs) {
			t.Errorf("%s: %d multiply-accumulates and %d loads of %d instructions, want %v of them and %v loads each", name, macs, loads, all, share, loadsEach)
		}
	}
}

// innerLoop counts the instructions of the innermost loop that has most
// multiply-accumulates.
func innerLoop(t *testing.T, name string, f any) (macs, loads, all int) {
	code := instructions(t, name, reflect.ValueOf(f).Pointer())
	last := -1 // where the loop before ends
	for i, w := range code {
		from := i + branch(w)
		if from >= i || from < 0 {
			continue
		}
		if from <= last { // around the loop before
			continue
		}
		last = i
		m, l := 0, 0
		for _, w := range code[from : i+1] {
			if accumulates(w) {
				m++
			}
			if isLoad(w) {
				l++
			}
		}
		if m > macs {
			macs, loads, all = m, l, i+1-from
		}
	}
	return macs, loads, all
}

// instructions returns the code of an assembly function. pc is that of the
// wrapper through which Go calls it.
func instructions(t *testing.T, name string, pc uintptr) []uint32 {
	word := func(pc uintptr) uint32 { return *(*uint32)(unsafe.Add(unsafe.Pointer(nil), pc)) }
	is := func(pc uintptr) bool {
		f := runtime.FuncForPC(pc)
		return f != nil && strings.HasSuffix(f.Name(), "."+name)
	}
	const far = 64
	for i := range uintptr(far) {
		w := word(pc + 4*i)
		if w>>26 != 0x25 && w>>26 != 5 { // BL, B
			continue
		}
		to := pc + 4*i + uintptr(int64(int32(w<<6)>>6)*4)
		if f := runtime.FuncForPC(to); is(to) && f.Entry() == to && to != pc {
			pc = to
			break
		}
	}
	var code []uint32
	entry := runtime.FuncForPC(pc).Entry()
	for ; runtime.FuncForPC(pc) != nil && runtime.FuncForPC(pc).Entry() == entry; pc += 4 {
		code = append(code, word(pc))
	}
	if len(code) < 100 {
		t.Fatalf("%s: %d instructions found", name, len(code))
	}
	return code
}

// branch is how far a conditional branch goes, 0 for other instructions.
func branch(w uint32) int {
	if w&0xff000010 != 0x54000000 {
		return 0
	}
	return int(int32(w<<8) >> 13)
}

// accumulates reports whether w is FMLA, SDOT, UDOT, USDOT, SMLAL or UMLAL by
// element, or SMMLA or USMMLA.
func accumulates(w uint32) bool {
	switch w & 0xffc0f400 {
	case 0x4f801000, 0x4f80e000, 0x6f80e000, 0x4f80f000, 0x0f402000, 0x4f402000, 0x2f402000, 0x6f402000, 0x4f00f000:
		return true
	}
	switch w & 0xffe0fc00 {
	case 0x4e80a400, 0x4e80ac00, 0x6e80a400:
		return true
	}
	return false
}

// isLoad reports whether w loads one register or several.
func isLoad(w uint32) bool {
	return w&0xbf400000 == 0x0c400000 || w&0xbf400000 == 0x0d400000 || w&0x3b400000 == 0x38400000 || w&0x3b400000 == 0x39400000
}
