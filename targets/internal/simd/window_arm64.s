//go:build !purego

#include "textflag.h"
#include "go_asm.h"
#include "neon_arm64.h"

#define SMLAL4(d, n, m) THREE(0x0E608000, d, n, m)
#define SMLAL24(d, n, m) THREE(0x4E608000, d, n, m)
#define FMLA4(d, n, m) THREE(0x4E20CC00, d, n, m)

// Kernels over a run of pixels, a vector of channels after the other and within
// that four pixels at a time. R0 is the argument, R1 the channels left, R3, R4
// and R5 the operand, weights and result at the vector's first channel, R6 and R7
// the distances of pixels in bytes, R8 the pixels left, R9 to R12 the first
// elements of four windows, R13 the result, R14 and R15 the taps, R19 and R20 the
// places of a tap in bytes.

// PIXELS points R9 at the run's first pixel.
#define PIXELS(w) \
	MOVD (w+window_W)(R0), R8 \
	MOVD R3, R9             \
	MOVD R5, R13

#define TAPS(w) \
	MOVD (w+window_Taps)(R0), R14   \
	MOVD (w+window_Taps+8)(R0), R15

#define FOUR_PIXELS \
	ADD R6, R9, R10  \
	ADD R6, R10, R11 \
	ADD R6, R11, R12

// WINDOWS is the loop over pixels: begin, tap and end are for four of them,
// begin1, tap1 and end1 for one.
#define WINDOWS(w, begin, tap, end, begin1, tap1, end1) \
	PIXELS(w)                       \
four:                                   \
	SUBS $4, R8                     \
	BLT  few                        \
	FOUR_PIXELS                     \
	begin                           \
	TAPS(w)                         \
	CBZ  R15, finish                \
taps:                                   \
	LDPSW (R14), (R19, R20)         \
	ADD  $8, R14                    \
	tap                             \
	SUBS $1, R15                    \
	BNE  taps                       \
finish:                                 \
	end                             \
	ADD  R6, R12, R9                \
	B    four                       \
few:                                    \
	ADD  $4, R8                     \
one:                                    \
	SUBS $1, R8                     \
	BLT  channels                   \
	begin1                          \
	TAPS(w)                         \
	CBZ  R15, finish1               \
each1:                                  \
	LDPSW (R14), (R19, R20)         \
	ADD  $8, R14                    \
	tap1                            \
	SUBS $1, R15                    \
	BNE  each1                      \
finish1:                                \
	end1                            \
	ADD  R6, R9, R9                 \
	B    one                        \
channels:

// Of bytes: eight channels; V16 to V19 hold biases and scales, V20 and on the
// sums, V4 to V6 the bounds and the zero point.
#define BEGIN_Q(a, b) \
	VORR V16.B16, V16.B16, a \
	VORR V17.B16, V17.B16, b

#define BEGIN_Q1 \
	BEGIN_Q(V20.B16, V21.B16)

#define BEGIN_Q4 \
	BEGIN_Q(V20.B16, V21.B16) \
	BEGIN_Q(V22.B16, V23.B16) \
	BEGIN_Q(V24.B16, V25.B16) \
	BEGIN_Q(V26.B16, V27.B16)

#define WEIGHTS_Q \
	FMOVD (R4)(R20), F0 \
	SXTL8H(0, 0)

#define TAP_Q(at, a) \
	FMOVD (at)(R19), F1 \
	UXTL8H(1, 1)        \
	SMLAL4(a, 1, 0)     \
	SMLAL24(a+1, 1, 0)

#define TAP_Q1 \
	WEIGHTS_Q     \
	TAP_Q(R9, 20)

#define TAP_Q4 \
	WEIGHTS_Q      \
	TAP_Q(R9, 20)  \
	TAP_Q(R10, 22) \
	TAP_Q(R11, 24) \
	TAP_Q(R12, 26)

#define ROUND_Q(a, scale) \
	SCVTF4(a, a)       \
	FMUL4(a, a, scale) \
	FMAX4(a, a, 4)     \
	FMIN4(a, a, 5)     \
	FCVTNS4(a, a)

#define END_Q(n, m, lo, hi) \
	ROUND_Q(n, 18)      \
	ROUND_Q(m, 19)      \
	VADD V6.S4, lo, lo  \
	VADD V6.S4, hi, hi  \
	XTN4H(0, n)         \
	XTN24H(0, m)        \
	XTN8B(0, 0)         \
	FMOVD F0, (R13)     \
	ADD  R7, R13, R13

#define END_Q1 \
	END_Q(20, 21, V20.S4, V21.S4)

#define END_Q4 \
	END_Q(20, 21, V20.S4, V21.S4) \
	END_Q(22, 23, V22.S4, V23.S4) \
	END_Q(24, 25, V24.S4, V25.S4) \
	END_Q(26, 27, V26.S4, V27.S4)

// func depthwise_u8s8_neon(d *kernel.DepthwiseU8S8)
TEXT ·depthwise_u8s8_neon(SB), 0, $136-8
	MOVD d+0(FP), R0
	MOVD (depthwiseQ_Window+window_C)(R0), R1
	MOVD depthwiseQ_In(R0), R3
	MOVD depthwiseQ_Weights(R0), R4
	MOVD depthwiseQ_Out(R0), R5
	MOVD (depthwiseQ_Window+window_InStep)(R0), R6
	MOVD (depthwiseQ_Window+window_OutStep)(R0), R7
	MOVD depthwiseQ_Bias(R0), R21
	MOVD depthwiseQ_Scale(R0), R22
	ADD  $depthwiseQ_Lo, R0, R23
	VLD1R (R23), [V4.S4]
	ADD  $depthwiseQ_Hi, R0, R23
	VLD1R (R23), [V5.S4]
	ADD  $depthwiseQ_Zero, R0, R23
	VLD1R (R23), [V6.S4]
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16

vector:
	SUBS $8, R1
	BLT  done
	CBZ  R21, nobias
	VLD1.P 32(R21), [V16.S4, V17.S4]

nobias:
	VLD1.P 32(R22), [V18.S4, V19.S4]
	WINDOWS(depthwiseQ_Window, BEGIN_Q4, TAP_Q4, END_Q4, BEGIN_Q1, TAP_Q1, END_Q1)
	ADD  $8, R3
	ADD  $8, R4
	ADD  $8, R5
	B    vector

done:
	RET

// Of float32: four channels; V20 to V23 are the sums or maxima, which begin
// with V17.
#define BEGIN_F1 VORR V17.B16, V17.B16, V20.B16

#define BEGIN_F4 \
	BEGIN_F1                     \
	VORR V17.B16, V17.B16, V21.B16 \
	VORR V17.B16, V17.B16, V22.B16 \
	VORR V17.B16, V17.B16, V23.B16

#define PLACE(at, f) \
	ADD   at, R19, R23 \
	FMOVQ (R23), f

#define TAP_F1 \
	LSL   $2, R19                \
	ADD   R20<<2, R4, R23        \
	FMOVQ (R23), F0              \
	PLACE(R9, F1)                \
	FMLA4(20, 1, 0)

#define TAP_F4 \
	TAP_F1          \
	PLACE(R10, F1)  \
	FMLA4(21, 1, 0) \
	PLACE(R11, F1)  \
	FMLA4(22, 1, 0) \
	PLACE(R12, F1)  \
	FMLA4(23, 1, 0)

// END_F adds the bias, V16, and the residual at R24 unless that is nil.
#define END_F(a, f, nores) \
	FADD4(a, a, 16)    \
	CBZ   R24, nores   \
	FMOVQ (R24), F0    \
	ADD   R25, R24     \
	FADD4(a, a, 0)     \
nores:                     \
	FMAX4(a, a, 4)     \
	FMIN4(a, a, 5)     \
	FMOVQ f, (R13)     \
	ADD   R7, R13, R13

#define END_F1 END_F(20, F20, nores)

#define END_F4 \
	END_F(20, F20, nores0) \
	END_F(21, F21, nores1) \
	END_F(22, F22, nores2) \
	END_F(23, F23, nores3)

#define STEPS(w) \
	MOVD (w+window_InStep)(R0), R6  \
	LSL  $2, R6                     \
	MOVD (w+window_OutStep)(R0), R7 \
	LSL  $2, R7

// func depthwise_f32_neon(d *kernel.DepthwiseF32)
TEXT ·depthwise_f32_neon(SB), 0, $136-8
	MOVD d+0(FP), R0
	MOVD (depthwiseF_Window+window_C)(R0), R1
	MOVD depthwiseF_In(R0), R3
	MOVD depthwiseF_Weights(R0), R4
	MOVD depthwiseF_Out(R0), R5
	STEPS(depthwiseF_Window)
	MOVD depthwiseF_Bias(R0), R21
	MOVD depthwiseF_Res(R0), R22
	MOVD depthwiseF_ResStep(R0), R25
	LSL  $2, R25
	ADD  $depthwiseF_Lo, R0, R23
	VLD1R (R23), [V4.S4]
	ADD  $depthwiseF_Hi, R0, R23
	VLD1R (R23), [V5.S4]
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16

vector:
	SUBS $4, R1
	BLT  done
	CBZ  R21, nobias
	VLD1.P 16(R21), [V16.S4]

nobias:
	MOVD R22, R24
	WINDOWS(depthwiseF_Window, BEGIN_F4, TAP_F4, END_F4, BEGIN_F1, TAP_F1, END_F1)
	ADD  $16, R3
	ADD  $16, R4
	ADD  $16, R5
	CBZ  R22, vector
	ADD  $16, R22
	B    vector

done:
	RET

#define TAP_MAX1 \
	LSL   $2, R19  \
	PLACE(R9, F1)  \
	FMAX4(20, 20, 1)

#define TAP_MAX4 \
	TAP_MAX1         \
	PLACE(R10, F1)   \
	FMAX4(21, 21, 1) \
	PLACE(R11, F1)   \
	FMAX4(22, 22, 1) \
	PLACE(R12, F1)   \
	FMAX4(23, 23, 1)

#define TAP_SUM1 \
	LSL   $2, R19  \
	PLACE(R9, F1)  \
	FADD4(20, 20, 1)

#define TAP_SUM4 \
	TAP_SUM1         \
	PLACE(R10, F1)   \
	FADD4(21, 21, 1) \
	PLACE(R11, F1)   \
	FADD4(22, 22, 1) \
	PLACE(R12, F1)   \
	FADD4(23, 23, 1)

#define END_P(a, f) \
	FMUL4(a, a, 4) \
	FMOVQ f, (R13) \
	ADD   R7, R13, R13

#define END_P1 END_P(20, F20)

#define END_P4 \
	END_P(20, F20) \
	END_P(21, F21) \
	END_P(22, F22) \
	END_P(23, F23)

// POOL reduces windows with the given code for taps, of four pixels and of one.
#define POOL(tap4, tap1) \
	MOVD (poolF_Window+window_C)(R0), R1   \
	MOVD poolF_In(R0), R3                  \
	MOVD poolF_Out(R0), R5                 \
	STEPS(poolF_Window)                    \
	ADD  $poolF_Factor, R0, R23            \
	VLD1R (R23), [V4.S4]                   \
vector:                                        \
	SUBS $4, R1                            \
	BLT  done                              \
	WINDOWS(poolF_Window, BEGIN_F4, tap4, END_P4, BEGIN_F1, tap1, END_P1) \
	ADD  $16, R3                           \
	ADD  $16, R5                           \
	B    vector                            \
done:                                          \
	RET

// func poolmax_f32_neon(p *kernel.Pool)
TEXT ·poolmax_f32_neon(SB), 0, $136-8
	MOVD p+0(FP), R0
	MOVD $0xff800000, R23
	VDUP R23, V17.S4
	POOL(TAP_MAX4, TAP_MAX1)

// func poolsum_f32_neon(p *kernel.Pool)
TEXT ·poolsum_f32_neon(SB), 0, $136-8
	MOVD p+0(FP), R0
	VEOR V17.B16, V17.B16, V17.B16
	POOL(TAP_SUM4, TAP_SUM1)
