//go:build !purego

#include "textflag.h"
#include "go_asm.h"
#include "neon_arm64.h"

#define FMLA4(d, n, m) THREE(0x4E20CC00, d, n, m)
#define FMLS4(d, n, m) THREE(0x4EA0CC00, d, n, m)
#define FADDP4(d, n, m) THREE(0x6E20D400, d, n, m)
#define FSUB4(d, n, m) THREE(0x4EA0D400, d, n, m)
#define SXTL28H(d, n) TWO(0x4F08A400, d, n)
#define SXTL4S(d, n) TWO(0x0F10A400, d, n)
#define SXTL24S(d, n) TWO(0x4F10A400, d, n)

#define CLEAR(v) VEOR v, v, v

// FOLD adds the lanes of a vector and stores the sum; R0 is the result's place.
#define FOLD(a, f) \
	FADDP4(a, a, a) \
	FADDP4(a, a, a) \
	FMOVS.P f, 4(R0)

// GEMV_ROW is four elements of a row, GEMV_LAST one.
#define GEMV_ROW(at, a) \
	VLD1.P 16(at), [V1.S4] \
	FMLA4(a, 1, 0)

#define GEMV_LAST(at, a) \
	FMOVS.P 4(at), F1 \
	FMLA4(a, 1, 0)

// func gemv_f32_neon(dst, w, x []float32, ldw int)
TEXT ·gemv_f32_neon(SB), 0, $136-80
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD w_base+24(FP), R2
	MOVD x_base+48(FP), R3
	MOVD x_len+56(FP), R4
	MOVD ldw+72(FP), R5
	LSL  $2, R5

four:
	SUBS $4, R1
	BLT  few
	MOVD R2, R6
	ADD  R5, R6, R7
	ADD  R5, R7, R8
	ADD  R5, R8, R9
	ADD  R5, R9, R2
	MOVD R3, R10
	MOVD R4, R11
	CLEAR(V16.B16)
	CLEAR(V17.B16)
	CLEAR(V18.B16)
	CLEAR(V19.B16)

along4:
	SUBS $4, R11
	BLT  rest4
	VLD1.P 16(R10), [V0.S4]
	GEMV_ROW(R6, 16)
	GEMV_ROW(R7, 17)
	GEMV_ROW(R8, 18)
	GEMV_ROW(R9, 19)
	B    along4

rest4:
	ADDS $4, R11
	BEQ  fold4

last4:
	FMOVS.P 4(R10), F0
	GEMV_LAST(R6, 16)
	GEMV_LAST(R7, 17)
	GEMV_LAST(R8, 18)
	GEMV_LAST(R9, 19)
	SUBS $1, R11
	BNE  last4

fold4:
	FOLD(16, F16)
	FOLD(17, F17)
	FOLD(18, F18)
	FOLD(19, F19)
	B    four

few:
	ADD  $4, R1

one:
	SUBS $1, R1
	BLT  done
	MOVD R2, R6
	ADD  R5, R2, R2
	MOVD R3, R10
	MOVD R4, R11
	CLEAR(V16.B16)

along1:
	SUBS $4, R11
	BLT  rest1
	VLD1.P 16(R10), [V0.S4]
	GEMV_ROW(R6, 16)
	B    along1

rest1:
	ADDS $4, R11
	BEQ  fold1

last1:
	FMOVS.P 4(R10), F0
	GEMV_LAST(R6, 16)
	SUBS $1, R11
	BNE  last1

fold1:
	FOLD(16, F16)
	B    one

done:
	RET

// The products of quantized weights take four rows at a time. A block of a row
// contributes
//
//	scale * (sum of q*x - zero * sum of x)
//
// so that weights are only widened, and the sum of x is shared by the rows. R0 is
// the result, R1 the rows left, R2 the argument, R3 to R6 the rows, R7 their
// distance, R8 to R11 the scales, R12 the bytes of scales in a row, R13 from
// scales to zeros, 0 if there are none, R14 the cursor in x, R15 the bytes of
// scales left, R19 the weights left in a block, R21 those of a block, R22 the
// first row and R24 the beginning of x. V0 to V3 hold x, V24 to V27 the sums of
// rows and V20 to V23 those of a block, V19 the sum of x, V28 and V29 the places
// from which bytes are widened.

#define Q4_X \
	VLD2.P 32(R14), [V0.S4, V1.S4] \
	VLD2.P 32(R14), [V2.S4, V3.S4] \
	FADD4(4, 0, 1)                 \
	FADD4(5, 2, 3)                 \
	FADD4(19, 19, 4)               \
	FADD4(19, 19, 5)

// Q4_ROW is sixteen weights: those in the lower halves of bytes meet the even
// elements of x, the others the odd.
#define Q4_ROW(at, a) \
	FMOVD.P 8(at), F6                   \
	VUSHR $4, V6.B16, V7.B16            \
	VAND  V18.B16, V6.B16, V6.B16       \
	VTBL  V28.B16, [V6.B16], V8.B16     \
	VTBL  V29.B16, [V6.B16], V9.B16     \
	VTBL  V28.B16, [V7.B16], V10.B16    \
	VTBL  V29.B16, [V7.B16], V11.B16    \
	SCVTF4(8, 8)                        \
	SCVTF4(9, 9)                        \
	SCVTF4(10, 10)                      \
	SCVTF4(11, 11)                      \
	FMLA4(a, 8, 0)                      \
	FMLA4(a, 10, 1)                     \
	FMLA4(a, 9, 2)                      \
	FMLA4(a, 11, 3)

#define Q8_X \
	VLD1.P 64(R14), [V0.S4, V1.S4, V2.S4, V3.S4] \
	FADD4(4, 0, 1)                               \
	FADD4(5, 2, 3)                               \
	FADD4(19, 19, 4)                             \
	FADD4(19, 19, 5)

#define Q8_ROW(at, a) \
	FMOVQ.P 16(at), F6 \
	SXTL8H(7, 6)       \
	SXTL28H(6, 6)      \
	SXTL4S(8, 7)       \
	SXTL24S(9, 7)      \
	SXTL4S(10, 6)      \
	SXTL24S(11, 6)     \
	SCVTF4(8, 8)       \
	SCVTF4(9, 9)       \
	SCVTF4(10, 10)     \
	SCVTF4(11, 11)     \
	FMLA4(a, 8, 0)     \
	FMLA4(a, 9, 1)     \
	FMLA4(a, 10, 2)    \
	FMLA4(a, 11, 3)

// SCALED adds the sums of a block, of which zero times the sum of x is taken, to
// those of its row.
#define SCALED(scales, block, row) \
	FMLS4(block, 19, 7)        \
	VLD1R.P 4(scales), [V6.S4] \
	FMLA4(row, block, 6)

#define PLAIN(scales, block, row) \
	VLD1R.P 4(scales), [V6.S4] \
	FMLA4(row, block, 6)

#define ZEROS(scales) \
	ADD R13, scales, R20   \
	VLD1R (R20), [V7.S4]

#define Q_BLOCKS \
	MOVD R24, R14 \
	MOVD R12, R15

// GEMV_Q is the whole product: x loads sixteen elements and row multiplies as
// many weights, of which a byte holds 1<<shift. Where there are no zeros, none
// sets what stands for them and scaled is SCALED or PLAIN.
#define GEMV_Q(x, row, shift, none, scaled) \
	MOVD quantized_Q(R2), R3                \
	MOVD quantized_K(R2), R7                \
	MOVD quantized_Block(R2), R21           \
	UDIV R21, R7, R12                       \
	LSL  $2, R12                            \
	LSR  $shift, R7                         \
	MADD R22, R3, R7, R3                    \
	MOVD quantized_Scale(R2), R8            \
	MUL  R12, R22                           \
	ADD  R22, R8                            \
	MOVD quantized_Zero(R2), R13            \
	CBZ  R13, four                          \
	MOVD quantized_Scale(R2), R23           \
	SUB  R23, R13, R13                      \
four:                                           \
	SUBS $4, R1                             \
	BLT  few                                \
	ADD  R7, R3, R4                         \
	ADD  R7, R4, R5                         \
	ADD  R7, R5, R6                         \
	ADD  R12, R8, R9                        \
	ADD  R12, R9, R10                       \
	ADD  R12, R10, R11                      \
	CLEAR(V24.B16)                          \
	CLEAR(V25.B16)                          \
	CLEAR(V26.B16)                          \
	CLEAR(V27.B16)                          \
	Q_BLOCKS                                \
block4:                                         \
	SUBS $4, R15                            \
	BLT  over4                              \
	CLEAR(V19.B16)                          \
	CLEAR(V20.B16)                          \
	CLEAR(V21.B16)                          \
	CLEAR(V22.B16)                          \
	CLEAR(V23.B16)                          \
	MOVD R21, R19                           \
unit4:                                          \
	x                                       \
	row(R3, 20)                             \
	row(R4, 21)                             \
	row(R5, 22)                             \
	row(R6, 23)                             \
	SUBS $16, R19                           \
	BGT  unit4                              \
	CBZ  R13, whole4                        \
	ZEROS(R8)                               \
	SCALED(R8, 20, 24)                      \
	ZEROS(R9)                               \
	SCALED(R9, 21, 25)                      \
	ZEROS(R10)                              \
	SCALED(R10, 22, 26)                     \
	ZEROS(R11)                              \
	SCALED(R11, 23, 27)                     \
	B    block4                             \
whole4:                                         \
	none                                    \
	scaled(R8, 20, 24)                      \
	scaled(R9, 21, 25)                      \
	scaled(R10, 22, 26)                     \
	scaled(R11, 23, 27)                     \
	B    block4                             \
over4:                                          \
	FOLD(24, F24)                           \
	FOLD(25, F25)                           \
	FOLD(26, F26)                           \
	FOLD(27, F27)                           \
	MOVD R6, R3                             \
	MOVD R11, R8                            \
	B    four                               \
few:                                            \
	ADD  $4, R1                             \
one:                                            \
	SUBS $1, R1                             \
	BLT  done                               \
	CLEAR(V24.B16)                          \
	Q_BLOCKS                                \
block1:                                         \
	SUBS $4, R15                            \
	BLT  over1                              \
	CLEAR(V19.B16)                          \
	CLEAR(V20.B16)                          \
	MOVD R21, R19                           \
unit1:                                          \
	x                                       \
	row(R3, 20)                             \
	SUBS $16, R19                           \
	BGT  unit1                              \
	CBZ  R13, whole1                        \
	ZEROS(R8)                               \
	SCALED(R8, 20, 24)                      \
	B    block1                             \
whole1:                                         \
	none                                    \
	scaled(R8, 20, 24)                      \
	B    block1                             \
over1:                                          \
	FOLD(24, F24)                           \
	B    one                                \
done:                                           \
	RET

// Places of the bytes 0 to 3 and 4 to 7, each to become four; what is beyond the
// register that is looked up in gives zero.
DATA widen<>+0(SB)/8, $0xffffff01ffffff00
DATA widen<>+8(SB)/8, $0xffffff03ffffff02
DATA widen<>+16(SB)/8, $0xffffff05ffffff04
DATA widen<>+24(SB)/8, $0xffffff07ffffff06
GLOBL widen<>(SB), RODATA|NOPTR, $32

#define WIDEN_TABLE \
	MOVD  $widen<>(SB), R23          \
	VLD1  (R23), [V28.B16, V29.B16]  \
	VMOVI $15, V18.B16

#define EIGHTS WORD $0x4F01F407 // V7 is 8 in all lanes
#define NOTHING

// func gemv_q4_neon(dst, x []float32, w *kernel.Quantized, row int)
TEXT ·gemv_q4_neon(SB), 0, $136-64
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD w+48(FP), R2
	MOVD row+56(FP), R22
	MOVD x_base+24(FP), R24
	WIDEN_TABLE
	GEMV_Q(Q4_X, Q4_ROW, 1, EIGHTS, SCALED)

// func gemv_q8_neon(dst, x []float32, w *kernel.Quantized, row int)
TEXT ·gemv_q8_neon(SB), 0, $136-64
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD w+48(FP), R2
	MOVD row+56(FP), R22
	MOVD x_base+24(FP), R24
	GEMV_Q(Q8_X, Q8_ROW, 0, NOTHING, PLAIN)

#define DEQUANT(a) \
	SCVTF4(a, a)   \
	FSUB4(a, a, 4) \
	FMUL4(a, a, 5)

// func dequant_q4_neon(dst []float32, q []uint8, zero, scale float32)
TEXT ·dequant_q4_neon(SB), 0, $136-56
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD q_base+24(FP), R2
	MOVWU zero+48(FP), R3
	VDUP R3, V4.S4
	MOVWU scale+52(FP), R3
	VDUP R3, V5.S4
	WIDEN_TABLE

loop:
	SUBS $16, R1
	BLT  done
	FMOVD.P 8(R2), F6
	VUSHR $4, V6.B16, V7.B16
	VAND  V18.B16, V6.B16, V6.B16
	VTBL  V28.B16, [V6.B16], V0.B16
	VTBL  V28.B16, [V7.B16], V1.B16
	VTBL  V29.B16, [V6.B16], V2.B16
	VTBL  V29.B16, [V7.B16], V3.B16
	DEQUANT(0)
	DEQUANT(1)
	DEQUANT(2)
	DEQUANT(3)
	VST2.P [V0.S4, V1.S4], 32(R0)
	VST2.P [V2.S4, V3.S4], 32(R0)
	B    loop

done:
	RET
