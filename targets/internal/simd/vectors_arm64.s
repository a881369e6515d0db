//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"
#include "exp_arm64.h"

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

#define LEAKY_RELU \
	FLTZ4(7, 0)                   \
	FMUL4(1, 0, 4)                \
	VBSL V0.B16, V1.B16, V7.B16   \
	COPY16(V7.B16, V0.B16)

// func leakyrelu_f32_neon(dst, src []float32, slope float32)
TEXT ·leakyrelu_f32_neon(SB), 0, $136-52
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVWU slope+48(FP), R3
	VDUP R3, V4.S4
	MAP(LEAKY_RELU)

// UNIT is V1 = alpha*V0 + beta within 0 and 1, where V4 and V5 are alpha and
// beta, V6 is 0 and V7 is 1.
#define UNIT \
	COPY16(V5.B16, V1.B16) \
	FMLA4(1, 0, 4)         \
	FMAX4(1, 1, 6)         \
	FMIN4(1, 1, 7)

#define UNIT_CONSTANTS \
	VEOR V6.B16, V6.B16, V6.B16 \
	FMOVS $1.0, F7              \
	VDUP V7.S[0], V7.S4

#define HARD_SIGMOID \
	UNIT                   \
	COPY16(V1.B16, V0.B16)

// func hardsigmoid_f32_neon(dst, src []float32, alpha, beta float32)
TEXT ·hardsigmoid_f32_neon(SB), 0, $136-56
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVWU alpha+48(FP), R3
	VDUP R3, V4.S4
	MOVWU beta+52(FP), R3
	VDUP R3, V5.S4
	UNIT_CONSTANTS
	MAP(HARD_SIGMOID)

#define HARD_SWISH \
	UNIT           \
	FMUL4(0, 0, 1)

// func hardswish_f32_neon(dst, src []float32)
TEXT ·hardswish_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVD $0x3e2aaaab, R3 // 1/6
	VDUP R3, V4.S4
	FMOVS $0.5, F5
	VDUP V5.S[0], V5.S4
	UNIT_CONSTANTS
	MAP(HARD_SWISH)

#define NORMALIZE \
	FSUB4(0, 0, 4) \
	FMUL4(0, 0, 5)

#define NORMALIZE_SCALED \
	NORMALIZE              \
	VLD1.P 16(R4), [V1.S4] \
	FMUL4(0, 0, 1)

#define NORMALIZE_AFFINE \
	NORMALIZE              \
	VLD1.P 16(R4), [V1.S4] \
	VLD1.P 16(R5), [V2.S4] \
	FMLA4(2, 0, 1)         \
	COPY16(V2.B16, V0.B16)

// func normalize_f32_neon(dst, src []float32, mean, inv float32)
TEXT ·normalize_f32_neon(SB), 0, $136-56
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVWU mean+48(FP), R3
	VDUP R3, V4.S4
	MOVWU inv+52(FP), R3
	VDUP R3, V5.S4
	MAP(NORMALIZE)

// func normalizescaled_f32_neon(dst, src, gamma []float32, mean, inv float32)
TEXT ·normalizescaled_f32_neon(SB), 0, $136-80
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVD gamma_base+48(FP), R4
	MOVWU mean+72(FP), R3
	VDUP R3, V4.S4
	MOVWU inv+76(FP), R3
	VDUP R3, V5.S4
	MAP(NORMALIZE_SCALED)

// func normalizeaffine_f32_neon(dst, src, gamma, beta []float32, mean, inv float32)
TEXT ·normalizeaffine_f32_neon(SB), 0, $136-104
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	MOVD gamma_base+48(FP), R4
	MOVD beta_base+72(FP), R5
	MOVWU mean+96(FP), R3
	VDUP R3, V4.S4
	MOVWU inv+100(FP), R3
	VDUP R3, V5.S4
	MAP(NORMALIZE_AFFINE)

// FOLD16 joins the vectors of R2 with V4 to V7: first is what is done with V0 to
// V3 of sixteen elements, rest with V0 of four.
#define FOLD16(first, rest) \
many:                                                   \
	SUBS $16, R1                                    \
	BLT  few                                        \
	VLD1.P 64(R2), [V0.S4, V1.S4, V2.S4, V3.S4]     \
	first                                           \
	B    many                                       \
few:                                                    \
	ADD  $16, R1                                    \
one:                                                    \
	SUBS $4, R1                                     \
	BLT  folded                                     \
	VLD1.P 16(R2), [V0.S4]                          \
	rest                                            \
	B    one                                        \
folded:

#define FMAXP4(d, n, m) THREE(0x6E20F400, d, n, m)
#define FMINP4(d, n, m) THREE(0x6EA0F400, d, n, m)

// JOIN makes one number of V4 to V7.
#define JOIN(op, pairs) \
	op(4, 4, 5)    \
	op(6, 6, 7)    \
	op(4, 4, 6)    \
	pairs(4, 4, 4) \
	pairs(4, 4, 4)

#define FROM(v) \
	COPY16(v, V4.B16) \
	COPY16(v, V5.B16) \
	COPY16(v, V6.B16) \
	COPY16(v, V7.B16)

#define MAX1 FMAX4(4, 4, 0)
#define MAX4 \
	MAX1           \
	FMAX4(5, 5, 1) \
	FMAX4(6, 6, 2) \
	FMAX4(7, 7, 3)

// func rowmax_f32_neon(src []float32) (r float32)
TEXT ·rowmax_f32_neon(SB), 0, $136-28
	MOVD src_base+0(FP), R2
	MOVD src_len+8(FP), R1
	MOVD $0xff800000, R3
	VDUP R3, V16.S4
	FROM(V16.B16)
	FOLD16(MAX4, MAX1)
	JOIN(FMAX4, FMAXP4)
	FMOVS F4, r+24(FP)
	RET

#define MIN1 FMIN4(4, 4, 0)
#define MIN4 \
	MIN1           \
	FMIN4(5, 5, 1) \
	FMIN4(6, 6, 2) \
	FMIN4(7, 7, 3)

// func rowmin_f32_neon(src []float32) (r float32)
TEXT ·rowmin_f32_neon(SB), 0, $136-28
	MOVD src_base+0(FP), R2
	MOVD src_len+8(FP), R1
	MOVD $0x7f800000, R3
	VDUP R3, V16.S4
	FROM(V16.B16)
	FOLD16(MIN4, MIN1)
	JOIN(FMIN4, FMINP4)
	FMOVS F4, r+24(FP)
	RET

#define SQUARE(x, a) \
	FSUB4(x, x, 16) \
	FMLA4(a, x, x)

#define SQUARE1 SQUARE(0, 4)
#define SQUARE4 \
	SQUARE1      \
	SQUARE(1, 5) \
	SQUARE(2, 6) \
	SQUARE(3, 7)

// func sumsquares_f32_neon(src []float32, mean float32) (r float32)
TEXT ·sumsquares_f32_neon(SB), 0, $136-36
	MOVD src_base+0(FP), R2
	MOVD src_len+8(FP), R1
	MOVWU mean+24(FP), R3
	VDUP R3, V16.S4
	VEOR V17.B16, V17.B16, V17.B16
	FROM(V17.B16)
	FOLD16(SQUARE4, SQUARE1)
	JOIN(FADD4, FADDP4)
	FMOVS F4, r+32(FP)
	RET

// func softmaxexp_f32_neon(dst, src []float32, max float32) (r float32)
TEXT ·softmaxexp_f32_neon(SB), 0, $136-60
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EXP_CONSTANTS
	MOVWU max+48(FP), R3
	VDUP R3, V28.S4
	VEOR V29.B16, V29.B16, V29.B16

numerator:
	SUBS $4, R1
	BLT  total
	VLD1.P 16(R2), [V0.S4]
	FSUB4(0, 0, 28)
	EXP
	VST1.P [V0.S4], 16(R0)
	FADD4(29, 29, 0)
	B    numerator

total:
	FADDP4(29, 29, 29)
	FADDP4(29, 29, 29)
	FMOVS F29, r+56(FP)
	RET
