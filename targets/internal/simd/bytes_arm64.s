//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

#define UXTL4S(d, n) TWO(0x2F10A400, d, n)
#define UXTL24S(d, n) TWO(0x6F10A400, d, n)
#define SXTL4S(d, n) TWO(0x0F10A400, d, n)
#define SXTL24S(d, n) TWO(0x4F10A400, d, n)
#define UADDW4(d, n, m) THREE(0x2E601000, d, n, m)
#define UADDW24(d, n, m) THREE(0x6E601000, d, n, m)
#define SMAX16B(d, n, m) THREE(0x4E206400, d, n, m)
#define FMAXNM4(d, n, m) THREE(0x4E20C400, d, n, m) // the number, beside a NaN
#define FMINNM4(d, n, m) THREE(0x4EA0C400, d, n, m)
#define FDIV4(d, n, m) THREE(0x6E20FC00, d, n, m)
#define FCMEQ4(d, n, m) THREE(0x4E20E400, d, n, m)
#define FCVTL(d, n) TWO(0x0E217800, d, n)
#define FCVTL2(d, n) TWO(0x4E217800, d, n)
#define FCVTN(d, n) TWO(0x0E216800, d, n)
#define FCVTN2(d, n) TWO(0x4E216800, d, n)
#define SHLL16(d, n) TWO(0x2E613800, d, n)
#define SHLL216(d, n) TWO(0x6E613800, d, n)
#define SHRN16(d, n) TWO(0x0F108400, d, n)
#define SHRN216(d, n) TWO(0x4F108400, d, n)

// The kernels take whole vectors; the callers see to the rest of a row.

// EACH is body for every n elements: R0 is dst, R1 its length, R2 src.
#define EACH(n, body) \
loop:            \
	SUBS $n, R1  \
	BLT  done    \
	body         \
	B    loop    \
done:                \
	RET

#define QUANTIZE(v) \
	FDIV4(v, v, 4)    \
	FMAXNM4(v, v, 5)  \
	FMINNM4(v, v, 6)  \
	FCVTNS4(v, v)

#define QUANTIZE8 \
	VLD1.P 32(R2), [V0.S4, V1.S4] \
	QUANTIZE(0)                   \
	QUANTIZE(1)                   \
	VADD V7.S4, V0.S4, V0.S4      \
	VADD V7.S4, V1.S4, V1.S4      \
	XTN4H(0, 0)                   \
	XTN24H(0, 1)                  \
	XTN8B(0, 0)                   \
	FMOVD.P F0, 8(R0)

// func quantize_8_neon(dst []uint8, src []float32, scale, lo, hi float32, zero int32)
TEXT ·quantize_8_neon(SB), 0, $136-64
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVWU scale+48(FP), R3
	VDUP R3, V4.S4
	MOVWU lo+52(FP), R3
	VDUP R3, V5.S4
	MOVWU hi+56(FP), R3
	VDUP R3, V6.S4
	MOVWU zero+60(FP), R3
	VDUP R3, V7.S4
	EACH(8, QUANTIZE8)

#define DEQUANTIZE8(extend, low, high) \
	FMOVD.P 8(R2), F0           \
	extend(0, 0)                \
	high(1, 0)                  \
	low(0, 0)                   \
	VSUB V5.S4, V0.S4, V0.S4    \
	VSUB V5.S4, V1.S4, V1.S4    \
	SCVTF4(0, 0)                \
	SCVTF4(1, 1)                \
	FMUL4(0, 0, 4)              \
	FMUL4(1, 1, 4)              \
	VST1.P [V0.S4, V1.S4], 32(R0)

// func dequantize_u8_neon(dst []float32, src []uint8, scale float32, zero int32)
TEXT ·dequantize_u8_neon(SB), 0, $136-56
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVWU scale+48(FP), R3
	VDUP R3, V4.S4
	MOVWU zero+52(FP), R3
	VDUP R3, V5.S4
	EACH(8, DEQUANTIZE8(UXTL8H, UXTL4S, UXTL24S))

// func dequantize_s8_neon(dst []float32, src []int8, scale float32, zero int32)
TEXT ·dequantize_s8_neon(SB), 0, $136-56
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVWU scale+48(FP), R3
	VDUP R3, V4.S4
	MOVWU zero+52(FP), R3
	VDUP R3, V5.S4
	EACH(8, DEQUANTIZE8(SXTL8H, SXTL4S, SXTL24S))

// The table is in V16..V31. An index beyond the four registers that are looked
// up in leaves what is there.
#define LOOKUP16 \
	VLD1.P 16(R2), [V0.B16]                                             \
	VTBL V0.B16, [V16.B16, V17.B16, V18.B16, V19.B16], V1.B16           \
	VSUB V4.B16, V0.B16, V0.B16                                         \
	VTBX V0.B16, [V20.B16, V21.B16, V22.B16, V23.B16], V1.B16           \
	VSUB V4.B16, V0.B16, V0.B16                                         \
	VTBX V0.B16, [V24.B16, V25.B16, V26.B16, V27.B16], V1.B16           \
	VSUB V4.B16, V0.B16, V0.B16                                         \
	VTBX V0.B16, [V28.B16, V29.B16, V30.B16, V31.B16], V1.B16           \
	VST1.P [V1.B16], 16(R0)

// func lookup_u8_neon(dst, src []uint8, table *[256]uint8)
TEXT ·lookup_u8_neon(SB), 0, $136-56
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVD table+48(FP), R3
	VLD1.P 64(R3), [V16.B16, V17.B16, V18.B16, V19.B16]
	VLD1.P 64(R3), [V20.B16, V21.B16, V22.B16, V23.B16]
	VLD1.P 64(R3), [V24.B16, V25.B16, V26.B16, V27.B16]
	VLD1.P 64(R3), [V28.B16, V29.B16, V30.B16, V31.B16]
	VMOVI $64, V4.B16
	EACH(16, LOOKUP16)

#define MAXU16 \
	VLD1.P 16(R2), [V0.B16]     \
	VLD1.P 16(R3), [V1.B16]     \
	VUMAX V1.B16, V0.B16, V0.B16 \
	VST1.P [V0.B16], 16(R0)

// func max_u8_neon(dst, a, b []uint8)
TEXT ·max_u8_neon(SB), 0, $136-72
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD a_base+24(FP), R2
	MOVD b_base+48(FP), R3
	EACH(16, MAXU16)

#define MAXS16 \
	VLD1.P 16(R2), [V0.B16] \
	VLD1.P 16(R3), [V1.B16] \
	SMAX16B(0, 0, 1)        \
	VST1.P [V0.B16], 16(R0)

// func max_s8_neon(dst, a, b []uint8)
TEXT ·max_s8_neon(SB), 0, $136-72
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD a_base+24(FP), R2
	MOVD b_base+48(FP), R3
	EACH(16, MAXS16)

#define COUNT8 \
	FMOVD.P 8(R2), F0           \
	UXTL8H(0, 0)                \
	VLD1 (R0), [V1.S4, V2.S4]   \
	UADDW4(1, 1, 0)             \
	UADDW24(2, 2, 0)            \
	VST1.P [V1.S4, V2.S4], 32(R0)

// func count_u8_neon(dst []int32, src []uint8)
TEXT ·count_u8_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EACH(8, COUNT8)

#define WIDEN8(low, high) \
	VLD1.P 16(R2), [V0.H8] \
	high(2, 0)             \
	low(1, 0)              \
	VST1.P [V1.S4, V2.S4], 32(R0)

// func f16tof32_neon(dst []float32, src []uint16)
TEXT ·f16tof32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EACH(8, WIDEN8(FCVTL, FCVTL2))

// func bf16tof32_neon(dst []float32, src []uint16)
TEXT ·bf16tof32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EACH(8, WIDEN8(SHLL16, SHLL216))

#define NARROW8 \
	VLD1.P 32(R2), [V0.S4, V1.S4] \
	FCVTN(2, 0)                   \
	FCVTN2(2, 1)                  \
	VST1.P [V2.H8], 16(R0)

// func f32tof16_neon(dst []uint16, src []float32)
TEXT ·f32tof16_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EACH(8, NARROW8)

// TO_BRAIN rounds v half to even at its upper 16 bits; a NaN becomes quiet and
// keeps its upper bits. V4 is 1, V5 0x7fff and V6 the bit of quiet NaNs.
#define TO_BRAIN(v, r, q) \
	VUSHR $16, v, V2.S4          \
	VAND V4.B16, V2.B16, V2.B16  \
	VADD V5.S4, V2.S4, V2.S4     \
	VADD v, V2.S4, V2.S4         \
	FCMEQ4(7, r, r)              \
	VORR V6.B16, q, V3.B16       \
	VBSL V3.B16, V2.B16, V7.B16

#define BRAIN8 \
	VLD1.P 32(R2), [V0.S4, V1.S4] \
	TO_BRAIN(V0.S4, 0, V0.B16)    \
	SHRN16(8, 7)                  \
	TO_BRAIN(V1.S4, 1, V1.B16)    \
	SHRN216(8, 7)                 \
	VST1.P [V8.H8], 16(R0)

// func f32tobf16_neon(dst []uint16, src []float32)
TEXT ·f32tobf16_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVD $1, R3
	VDUP R3, V4.S4
	MOVD $0x7fff, R3
	VDUP R3, V5.S4
	MOVD $0x400000, R3
	VDUP R3, V6.S4
	EACH(8, BRAIN8)
