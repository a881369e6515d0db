//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

#define FSUB4(d, n, m) THREE(0x4EA0D400, d, n, m)
#define FDIV4(d, n, m) THREE(0x6E20FC00, d, n, m)
#define FADDP4(d, n, m) THREE(0x6E20D400, d, n, m)
#define FMLA4(d, n, m) THREE(0x4E20CC00, d, n, m)
#define FMLS4(d, n, m) THREE(0x4EA0CC00, d, n, m)
#define FABS4(d, n) TWO(0x4EA0F800, d, n)
#define FNEG4(d, n) TWO(0x6EA0F800, d, n)
#define FRINTN4(d, n) TWO(0x4E218800, d, n)
#define FSQRT4(d, n) TWO(0x6EA1F800, d, n)
#define FLTZ4(d, n) TWO(0x4EA0E800, d, n) // d = n < 0
#define SSHR4(d, n, s) WORD $(0x4F000400 | (64-(s))<<16 | (n)<<5 | (d))

// The kernels take whole vectors of four; the callers see to the rest of a row.

// ZIP is dst[i] = op(a[i], b[i]): R0 is dst, R1 its length, R2 a and R3 b.
#define ZIP(op) \
many:                                            \
	SUBS $16, R1                             \
	BLT  rest                                \
	VLD1.P 64(R2), [V0.S4, V1.S4, V2.S4, V3.S4] \
	VLD1.P 64(R3), [V4.S4, V5.S4, V6.S4, V7.S4] \
	op(0, 0, 4)                              \
	op(1, 1, 5)                              \
	op(2, 2, 6)                              \
	op(3, 3, 7)                              \
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0) \
	B    many                                \
rest:                                            \
	ADD  $16, R1                             \
one:                                             \
	SUBS $4, R1                              \
	BLT  done                                \
	VLD1.P 16(R2), [V0.S4]                   \
	VLD1.P 16(R3), [V4.S4]                   \
	op(0, 0, 4)                              \
	VST1.P [V0.S4], 16(R0)                   \
	B    one                                 \
done:                                            \
	RET

// MAP is dst[i] = body(src[i]), where body turns V0: R0 is dst, R1 its length
// and R2 src.
#define MAP(body) \
loop:                          \
	SUBS $4, R1            \
	BLT  done              \
	VLD1.P 16(R2), [V0.S4] \
	body                   \
	VST1.P [V0.S4], 16(R0) \
	B    loop              \
done:                          \
	RET

// func add_f32_neon(dst, a, b []float32)
TEXT ·add_f32_neon(SB), 0, $136-72
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD a_base+24(FP), R2
	MOVD b_base+48(FP), R3
	ZIP(FADD4)

// func sub_f32_neon(dst, a, b []float32)
TEXT ·sub_f32_neon(SB), 0, $136-72
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD a_base+24(FP), R2
	MOVD b_base+48(FP), R3
	ZIP(FSUB4)

// func mul_f32_neon(dst, a, b []float32)
TEXT ·mul_f32_neon(SB), 0, $136-72
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD a_base+24(FP), R2
	MOVD b_base+48(FP), R3
	ZIP(FMUL4)

// func div_f32_neon(dst, a, b []float32)
TEXT ·div_f32_neon(SB), 0, $136-72
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD a_base+24(FP), R2
	MOVD b_base+48(FP), R3
	ZIP(FDIV4)

// func max_f32_neon(dst, a, b []float32)
TEXT ·max_f32_neon(SB), 0, $136-72
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD a_base+24(FP), R2
	MOVD b_base+48(FP), R3
	ZIP(FMAX4)

// func min_f32_neon(dst, a, b []float32)
TEXT ·min_f32_neon(SB), 0, $136-72
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD a_base+24(FP), R2
	MOVD b_base+48(FP), R3
	ZIP(FMIN4)

#define CLAMP \
	FMAX4(0, 0, 4) \
	FMIN4(0, 0, 5)

// func clamp_f32_neon(dst, src []float32, lo, hi float32)
TEXT ·clamp_f32_neon(SB), 0, $136-56
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVWU lo+48(FP), R3
	VDUP R3, V4.S4
	MOVWU hi+52(FP), R3
	VDUP R3, V5.S4
	MAP(CLAMP)

#define ADD_SCALAR FADD4(0, 0, 4)

// func addscalar_f32_neon(dst, src []float32, c float32)
TEXT ·addscalar_f32_neon(SB), 0, $136-52
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVWU c+48(FP), R3
	VDUP R3, V4.S4
	MAP(ADD_SCALAR)

#define MUL_SCALAR FMUL4(0, 0, 4)

// func mulscalar_f32_neon(dst, src []float32, c float32)
TEXT ·mulscalar_f32_neon(SB), 0, $136-52
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVWU c+48(FP), R3
	VDUP R3, V4.S4
	MAP(MUL_SCALAR)

#define SQRT FSQRT4(0, 0)

// func sqrt_f32_neon(dst, src []float32)
TEXT ·sqrt_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MAP(SQRT)

// func axpy_f32_neon(dst, x []float32, a float32)
TEXT ·axpy_f32_neon(SB), 0, $136-52
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD x_base+24(FP), R2
	MOVWU a+48(FP), R3
	VDUP R3, V4.S4

axpy:
	SUBS $4, R1
	BLT  axpied
	VLD1.P 16(R2), [V0.S4]
	VLD1 (R0), [V1.S4]
	FMLA4(1, 0, 4)
	VST1.P [V1.S4], 16(R0)
	B    axpy

axpied:
	RET

// func sum_f32_neon(src []float32) (r float32)
TEXT ·sum_f32_neon(SB), 0, $136-28
	MOVD src_base+0(FP), R2
	MOVD src_len+8(FP), R1
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16

sum16:
	SUBS $16, R1
	BLT  sumrest
	VLD1.P 64(R2), [V0.S4, V1.S4, V2.S4, V3.S4]
	FADD4(4, 4, 0)
	FADD4(5, 5, 1)
	FADD4(6, 6, 2)
	FADD4(7, 7, 3)
	B    sum16

sumrest:
	ADD  $16, R1

sum4:
	SUBS $4, R1
	BLT  summed
	VLD1.P 16(R2), [V0.S4]
	FADD4(4, 4, 0)
	B    sum4

summed:
	FADD4(4, 4, 5)
	FADD4(6, 6, 7)
	FADD4(4, 4, 6)
	FADDP4(4, 4, 4)
	FADDP4(4, 4, 4)
	FMOVS F4, r+24(FP)
	RET

// Constants of the exponential, in the order of V16 to V27: the ends of its
// range, log2 e, ln 2 in two parts, the coefficients of q, 1, and 127.
DATA expTable<>+0(SB)/4, $89.0
DATA expTable<>+4(SB)/4, $-104.0
DATA expTable<>+8(SB)/4, $1.44269504
DATA expTable<>+12(SB)/4, $0.693359375
DATA expTable<>+16(SB)/4, $-2.12194440e-4
DATA expTable<>+20(SB)/4, $0.0013813142431899905
DATA expTable<>+24(SB)/4, $0.008369418792426586
DATA expTable<>+28(SB)/4, $0.04166845604777336
DATA expTable<>+32(SB)/4, $0.16666515171527863
DATA expTable<>+36(SB)/4, $0.4999999403953552
DATA expTable<>+40(SB)/4, $1.0
DATA expTable<>+44(SB)/4, $127
GLOBL expTable<>(SB), RODATA|NOPTR, $48

#define EXP_CONSTANTS \
	MOVD $expTable<>(SB), R3 \
	VLD1R.P 4(R3), [V16.S4]  \
	VLD1R.P 4(R3), [V17.S4]  \
	VLD1R.P 4(R3), [V18.S4]  \
	VLD1R.P 4(R3), [V19.S4]  \
	VLD1R.P 4(R3), [V20.S4]  \
	VLD1R.P 4(R3), [V21.S4]  \
	VLD1R.P 4(R3), [V22.S4]  \
	VLD1R.P 4(R3), [V23.S4]  \
	VLD1R.P 4(R3), [V24.S4]  \
	VLD1R.P 4(R3), [V25.S4]  \
	VLD1R.P 4(R3), [V26.S4]  \
	VLD1R.P 4(R3), [V27.S4]

#define COPY16(from, to) VORR from, from, to

// EXP is V0 = e^V0: n = round(x/ln 2) and r = x - n ln 2 give 2^n * e^r, with
// e^r = 1 + r + r^2 q(r). 2^n is applied in two halves, so that results beyond
// the normal numbers come out right. V1 to V5 are its own.
#define EXP \
	FMIN4(0, 0, 16)            \
	FMAX4(0, 0, 17)            \
	FMUL4(1, 0, 18)            \
	FRINTN4(1, 1)              \
	FMLS4(0, 1, 19)            \
	FMLS4(0, 1, 20)            \
	COPY16(V22.B16, V2.B16)    \
	FMLA4(2, 21, 0)            \
	COPY16(V23.B16, V3.B16)    \
	FMLA4(3, 2, 0)             \
	COPY16(V24.B16, V2.B16)    \
	FMLA4(2, 3, 0)             \
	COPY16(V25.B16, V3.B16)    \
	FMLA4(3, 2, 0)             \
	FMUL4(5, 0, 0)             \
	FMLA4(0, 3, 5)             \
	FADD4(0, 0, 26)            \
	FCVTNS4(1, 1)              \
	SSHR4(2, 1, 1)             \
	VSUB V2.S4, V1.S4, V3.S4   \
	VADD V27.S4, V2.S4, V2.S4  \
	VADD V27.S4, V3.S4, V3.S4  \
	SHL4S(2, 2, 23)            \
	SHL4S(3, 3, 23)            \
	FMUL4(0, 0, 2)             \
	FMUL4(0, 0, 3)

// func exp_f32_neon(dst, src []float32)
TEXT ·exp_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EXP_CONSTANTS
	MAP(EXP)

// SIGMOID is V0 = e/(1+e) where V0 is negative and 1/(1+e) elsewhere, with
// e = e^-|V0|; it keeps the argument in V6.
#define SIGMOID \
	COPY16(V0.B16, V6.B16)           \
	FABS4(0, 0)                      \
	FNEG4(0, 0)                      \
	EXP                              \
	FADD4(1, 0, 26)                  \
	FLTZ4(7, 6)                      \
	VBSL V26.B16, V0.B16, V7.B16     \
	FDIV4(0, 7, 1)

// func sigmoid_f32_neon(dst, src []float32)
TEXT ·sigmoid_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EXP_CONSTANTS
	MAP(SIGMOID)

#define SILU \
	SIGMOID \
	FMUL4(0, 0, 6)

// func silu_f32_neon(dst, src []float32)
TEXT ·silu_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EXP_CONSTANTS
	MAP(SILU)
