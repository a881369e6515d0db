//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"
#include "exp_arm64.h"

// The functions read their constants from a table, in the order of their use,
// through R4; R3 is its beginning. The kernels take whole vectors of four; the
// callers see to the rest of a row.

// NEXT sets a register to the next constant, TERM is d = next + a*x.
#define NEXT(d) WORD $(0x4DDFC800 | 4<<5 | (d))
#define TERM(d, a, x) \
	NEXT(d)        \
	FMLA4(d, a, x)

#define BEGIN MOVD R3, R4

// ERF is V0 = erf(V0): an odd polynomial below 1 and 1 - e^-q(|x|) above. V6 to
// V11 and what EXP uses are its own.
#define ERF \
	COPY16(V0.B16, V6.B16)         \
	FMUL4(1, 0, 0)                 \
	NEXT(2)                        \
	TERM(3, 2, 1)                  \
	TERM(2, 3, 1)                  \
	TERM(3, 2, 1)                  \
	TERM(2, 3, 1)                  \
	TERM(3, 2, 1)                  \
	TERM(2, 3, 1)                  \
	COPY16(V6.B16, V8.B16)         \
	FMLA4(8, 2, 6)                 \
	FABS4(9, 6)                    \
	NEXT(3)                        \
	FMIN4(9, 9, 3)                 \
	NEXT(2)                        \
	TERM(3, 2, 9)                  \
	TERM(2, 3, 9)                  \
	TERM(3, 2, 9)                  \
	TERM(2, 3, 9)                  \
	TERM(3, 2, 9)                  \
	TERM(2, 3, 9)                  \
	FNEG4(0, 2)                    \
	EXP                            \
	FSUB4(0, 26, 0)                \
	NEXT(10)                       \
	VAND V6.B16, V10.B16, V10.B16  \
	VORR V10.B16, V0.B16, V0.B16   \
	FCMGT4(11, 26, 9)              \
	VBIT V11.B16, V8.B16, V0.B16

#define ERF_ALONE \
	BEGIN \
	ERF

DATA erfTable<>+0(SB)/4, $7.854008435970172e-05
DATA erfTable<>+4(SB)/4, $-0.0008010242017917335
DATA erfTable<>+8(SB)/4, $0.005188333801925182
DATA erfTable<>+12(SB)/4, $-0.026853814721107483
DATA erfTable<>+16(SB)/4, $0.1128358542919159
DATA erfTable<>+20(SB)/4, $-0.3761262595653534
DATA erfTable<>+24(SB)/4, $0.12837916612625122
DATA erfTable<>+28(SB)/4, $4.1
DATA erfTable<>+32(SB)/4, $-0.0001863801444415003
DATA erfTable<>+36(SB)/4, $0.0029476673807948828
DATA erfTable<>+40(SB)/4, $-0.021838098764419556
DATA erfTable<>+44(SB)/4, $0.10310682654380798
DATA erfTable<>+48(SB)/4, $0.6381447315216064
DATA erfTable<>+52(SB)/4, $1.127089262008667
DATA erfTable<>+56(SB)/4, $0.00034151188447140157
DATA erfTable<>+60(SB)/4, $0x80000000
GLOBL erfTable<>(SB), RODATA|NOPTR, $64

// func erf_f32_neon(dst, src []float32)
TEXT ·erf_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EXP_CONSTANTS
	MOVD $erfTable<>(SB), R3
	MAP(ERF_ALONE)

#define GELU \
	BEGIN                   \
	COPY16(V0.B16, V12.B16) \
	NEXT(1)                 \
	FMUL4(0, 0, 1)          \
	ERF                     \
	NEXT(1)                 \
	FMUL4(12, 12, 1)        \
	FMUL4(0, 0, 12)         \
	FADD4(0, 0, 12)

DATA geluTable<>+0(SB)/4, $0.70710678118654752
DATA geluTable<>+4(SB)/4, $7.854008435970172e-05
DATA geluTable<>+8(SB)/4, $-0.0008010242017917335
DATA geluTable<>+12(SB)/4, $0.005188333801925182
DATA geluTable<>+16(SB)/4, $-0.026853814721107483
DATA geluTable<>+20(SB)/4, $0.1128358542919159
DATA geluTable<>+24(SB)/4, $-0.3761262595653534
DATA geluTable<>+28(SB)/4, $0.12837916612625122
DATA geluTable<>+32(SB)/4, $4.1
DATA geluTable<>+36(SB)/4, $-0.0001863801444415003
DATA geluTable<>+40(SB)/4, $0.0029476673807948828
DATA geluTable<>+44(SB)/4, $-0.021838098764419556
DATA geluTable<>+48(SB)/4, $0.10310682654380798
DATA geluTable<>+52(SB)/4, $0.6381447315216064
DATA geluTable<>+56(SB)/4, $1.127089262008667
DATA geluTable<>+60(SB)/4, $0.00034151188447140157
DATA geluTable<>+64(SB)/4, $0x80000000
DATA geluTable<>+68(SB)/4, $0.5
GLOBL geluTable<>(SB), RODATA|NOPTR, $72

// func gelu_f32_neon(dst, src []float32)
TEXT ·gelu_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EXP_CONSTANTS
	MOVD $geluTable<>(SB), R3
	MAP(GELU)

// GELU_TANH is x*sigmoid(2u), which equals x/2*(1+tanh u).
#define GELU_TANH \
	COPY16(V0.B16, V6.B16)  \
	FMUL4(1, 0, 0)          \
	COPY16(V28.B16, V2.B16) \
	FMLA4(2, 1, 29)         \
	FMUL4(0, 0, 2)          \
	FNEG4(0, 0)             \
	EXP                     \
	FADD4(0, 0, 26)         \
	FDIV4(0, 6, 0)

DATA geluTanhTable<>+0(SB)/4, $1.5957691216057308
DATA geluTanhTable<>+4(SB)/4, $0.07135481627260025
GLOBL geluTanhTable<>(SB), RODATA|NOPTR, $8

// func gelutanh_f32_neon(dst, src []float32)
TEXT ·gelutanh_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EXP_CONSTANTS
	MOVD $geluTanhTable<>(SB), R3
	VLD1R.P 4(R3), [V28.S4]
	VLD1R (R3), [V29.S4]
	MAP(GELU_TANH)

// TANH is an odd polynomial below 0.6 and 1 - 2/(e^2x + 1) above.
#define TANH \
	BEGIN                          \
	COPY16(V0.B16, V6.B16)         \
	FABS4(9, 0)                    \
	FMUL4(1, 0, 0)                 \
	NEXT(2)                        \
	TERM(3, 2, 1)                  \
	TERM(2, 3, 1)                  \
	TERM(3, 2, 1)                  \
	TERM(2, 3, 1)                  \
	FMUL4(2, 2, 1)                 \
	COPY16(V6.B16, V8.B16)         \
	FMLA4(8, 2, 6)                 \
	FADD4(0, 9, 9)                 \
	EXP                            \
	FADD4(0, 0, 26)                \
	NEXT(1)                        \
	FDIV4(0, 1, 0)                 \
	FSUB4(0, 26, 0)                \
	NEXT(11)                       \
	FCMGT4(11, 11, 9)              \
	NEXT(10)                       \
	VAND V6.B16, V10.B16, V10.B16  \
	VORR V10.B16, V0.B16, V0.B16   \
	VBIT V11.B16, V8.B16, V0.B16

DATA tanhTable<>+0(SB)/4, $-0.005515167023986578
DATA tanhTable<>+4(SB)/4, $0.02046942338347435
DATA tanhTable<>+8(SB)/4, $-0.05368802323937416
DATA tanhTable<>+12(SB)/4, $0.1333083063364029
DATA tanhTable<>+16(SB)/4, $-0.3333325982093811
DATA tanhTable<>+20(SB)/4, $2.0
DATA tanhTable<>+24(SB)/4, $0.6
DATA tanhTable<>+28(SB)/4, $0x80000000
GLOBL tanhTable<>(SB), RODATA|NOPTR, $32

// func tanh_f32_neon(dst, src []float32)
TEXT ·tanh_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	EXP_CONSTANTS
	MOVD $tanhTable<>(SB), R3
	MAP(TANH)

// LOG is ln x: x = 2^e * (1+r) with 1+r in [sqrt(1/2), sqrt 2), and
// ln(1+r) = r - r^2/2 + r^3 q(r). Subnormal x is scaled up first.
#define LOG \
	BEGIN                         \
	COPY16(V0.B16, V6.B16)        \
	NEXT(1)                       \
	FCMGT4(1, 1, 0)               \
	NEXT(2)                       \
	FMUL4(2, 0, 2)                \
	VBIT V1.B16, V2.B16, V0.B16   \
	NEXT(7)                       \
	VAND V1.B16, V7.B16, V7.B16   \
	NEXT(3)                       \
	VADD V3.S4, V0.S4, V0.S4      \
	SSHR4(4, 0, 23)               \
	NEXT(3)                       \
	VSUB V3.S4, V4.S4, V4.S4      \
	SCVTF4(4, 4)                  \
	FADD4(4, 4, 7)                \
	NEXT(3)                       \
	VAND V3.B16, V0.B16, V0.B16   \
	NEXT(3)                       \
	VADD V3.S4, V0.S4, V0.S4      \
	FSUB4(0, 0, 26)               \
	NEXT(2)                       \
	TERM(3, 2, 0)                 \
	TERM(2, 3, 0)                 \
	TERM(3, 2, 0)                 \
	TERM(2, 3, 0)                 \
	TERM(3, 2, 0)                 \
	TERM(2, 3, 0)                 \
	TERM(3, 2, 0)                 \
	FMUL4(5, 0, 0)                \
	FMUL4(3, 3, 0)                \
	FMUL4(3, 3, 5)                \
	NEXT(1)                       \
	FMLA4(3, 4, 1)                \
	NEXT(1)                       \
	FMLA4(3, 5, 1)                \
	FADD4(0, 0, 3)                \
	NEXT(1)                       \
	FMLA4(0, 4, 1)                \
	NEXT(1)                       \
	FCMGT4(1, 1, 6)               \
	VBIF V1.B16, V6.B16, V0.B16   \
	NEXT(1)                       \
	VEOR V2.B16, V2.B16, V2.B16   \
	FCMGT4(3, 6, 2)               \
	VBIF V3.B16, V1.B16, V0.B16   \
	NEXT(1)                       \
	FCMGT4(3, 2, 6)               \
	VBIT V3.B16, V1.B16, V0.B16   \
	FCMEQ4(3, 6, 6)               \
	VBIF V3.B16, V6.B16, V0.B16

DATA logTable<>+0(SB)/4, $0x00800000
DATA logTable<>+4(SB)/4, $0x4c000000
DATA logTable<>+8(SB)/4, $-25.0
DATA logTable<>+12(SB)/4, $0x4afb0d
DATA logTable<>+16(SB)/4, $127
DATA logTable<>+20(SB)/4, $0x7fffff
DATA logTable<>+24(SB)/4, $0x3f3504f3
DATA logTable<>+28(SB)/4, $-0.07634429633617401
DATA logTable<>+32(SB)/4, $0.12761549651622772
DATA logTable<>+36(SB)/4, $-0.131601944565773
DATA logTable<>+40(SB)/4, $0.14201761782169342
DATA logTable<>+44(SB)/4, $-0.16623356938362122
DATA logTable<>+48(SB)/4, $0.20001226663589478
DATA logTable<>+52(SB)/4, $-0.250008225440979
DATA logTable<>+56(SB)/4, $0.3333333134651184
DATA logTable<>+60(SB)/4, $-2.12194440e-4
DATA logTable<>+64(SB)/4, $-0.5
DATA logTable<>+68(SB)/4, $0.693359375
DATA logTable<>+72(SB)/4, $0x7f800000
DATA logTable<>+76(SB)/4, $0xff800000
DATA logTable<>+80(SB)/4, $0x7fc00000
GLOBL logTable<>(SB), RODATA|NOPTR, $84

// func log_f32_neon(dst, src []float32)
TEXT ·log_f32_neon(SB), 0, $136-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R1
	MOVD src_base+24(FP), R2
	FMOVS $1.0, F26
	VDUP V26.S[0], V26.S4
	MOVD $logTable<>(SB), R3
	MAP(LOG)
