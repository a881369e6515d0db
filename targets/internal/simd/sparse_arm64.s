//go:build !purego

#include "textflag.h"
#include "go_asm.h"
#include "neon_arm64.h"

#define FMLA4(d, n, m) THREE(0x4E20CC00, d, n, m)
#define CLEAR(v) VEOR v, v, v

// Products with sparse weights take the pixels in blocks, and within one all the
// rows, or rows of blocks. R0 is the argument, R1 the first row, R2 the rows, R3
// and R4 the operand and the first row of the result at the block, R5 the pixels
// left, R6 and R7 the distances of rows in bytes. In a block R8 counts rows, R9
// is the cursor in Start, R10 in Values, R11 in Columns, R12 counts entries, R13
// is the result and R14 the bias, or 0. V4 and V5 are the bounds.

#define ARGUMENT(height) \
	MOVD t+0(FP), R0               \
	MOVD lo+8(FP), R1              \
	MOVD hi+16(FP), R2             \
	SUB  R1, R2                    \
	MOVD sparseF_LDX(R0), R6       \
	LSL  $2, R6                    \
	MOVD sparseF_LDO(R0), R7       \
	LSL  $2, R7                    \
	MOVD sparseF_Out(R0), R4       \
	LSL  $height, R1, R19          \
	MADD R19, R4, R7, R4           \
	MOVD sparseF_X(R0), R3         \
	MOVD sparseF_Pixels(R0), R5    \
	ADD  $sparseF_Lo, R0, R19      \
	VLD1R (R19), [V4.S4]           \
	ADD  $sparseF_Hi, R0, R19      \
	VLD1R (R19), [V5.S4]

// ROWS_OF is the loop over rows for one block of pixels: begin clears the sums,
// entry adds the products of an entry, which moves R10, at the pixels at R19, and
// end stores a row, or four, and moves R13 and R14 to the next.
#define ROWS_OF(height, size, row, loop, store, over, begin, entry, end) \
	MOVD R2, R8                    \
	MOVD sparseF_Start(R0), R9     \
	ADD  R1<<2, R9                 \
	MOVW.P 4(R9), R20              \
	MOVD sparseF_Columns(R0), R11  \
	ADD  R20<<2, R11               \
	MOVD sparseF_Values(R0), R10   \
	LSL  $height, R20, R21         \
	ADD  R21<<2, R10               \
	MOVD R4, R13                   \
	MOVD sparseF_Bias(R0), R14     \
	CBZ  R14, row                  \
	LSL  $height, R1, R21          \
	ADD  R21<<2, R14               \
row:                                   \
	SUBS $1, R8                    \
	BLT  over                      \
	begin                          \
	MOVW.P 4(R9), R12              \
	SUB  R20, R12, R21             \
	MOVD R12, R20                  \
	CBZ  R21, store                \
loop:                                  \
	MOVW.P 4(R11), R19             \
	MADD R6, R3, R19, R19          \
	entry                          \
	SUBS $1, R21                   \
	BNE  loop                      \
store:                                 \
	end                            \
	B    row                       \
over:                                  \
	ADD  $size, R3                 \
	ADD  $size, R4

#define BOUND(a) \
	FMAX4(a, a, 4) \
	FMIN4(a, a, 5)

#define BEGIN_1x32 \
	CLEAR(V16.B16) \
	CLEAR(V17.B16) \
	CLEAR(V18.B16) \
	CLEAR(V19.B16) \
	CLEAR(V20.B16) \
	CLEAR(V21.B16) \
	CLEAR(V22.B16) \
	CLEAR(V23.B16)

#define ENTRY_1x32 \
	VLD1R.P 4(R10), [V0.S4]                          \
	VLD1.P 64(R19), [V24.S4, V25.S4, V26.S4, V27.S4] \
	VLD1 (R19), [V28.S4, V29.S4, V30.S4, V31.S4]     \
	FMLA4(16, 24, 0)                                 \
	FMLA4(17, 25, 0)                                 \
	FMLA4(18, 26, 0)                                 \
	FMLA4(19, 27, 0)                                 \
	FMLA4(20, 28, 0)                                 \
	FMLA4(21, 29, 0)                                 \
	FMLA4(22, 30, 0)                                 \
	FMLA4(23, 31, 0)

#define END_1x32(nobias) \
	CLEAR(V0.B16)          \
	CBZ R14, nobias        \
	VLD1R.P 4(R14), [V0.S4] \
nobias:                        \
	FADD4(16, 16, 0)       \
	FADD4(17, 17, 0)       \
	FADD4(18, 18, 0)       \
	FADD4(19, 19, 0)       \
	FADD4(20, 20, 0)       \
	FADD4(21, 21, 0)       \
	FADD4(22, 22, 0)       \
	FADD4(23, 23, 0)       \
	BOUND(16)              \
	BOUND(17)              \
	BOUND(18)              \
	BOUND(19)              \
	BOUND(20)              \
	BOUND(21)              \
	BOUND(22)              \
	BOUND(23)              \
	MOVD R13, R19          \
	VST1.P [V16.S4, V17.S4, V18.S4, V19.S4], 64(R19) \
	VST1 [V20.S4, V21.S4, V22.S4, V23.S4], (R19)     \
	ADD  R7, R13

#define BEGIN_1 CLEAR(V16.B16)

#define ENTRY_1x4 \
	VLD1R.P 4(R10), [V0.S4] \
	FMOVQ (R19), F24        \
	FMLA4(16, 24, 0)

#define ENTRY_1x1 \
	VLD1R.P 4(R10), [V0.S4] \
	FMOVS (R19), F24        \
	FMLA4(16, 24, 0)

#define END_1(store, nobias) \
	CBZ R14, nobias         \
	VLD1R.P 4(R14), [V0.S4] \
	FADD4(16, 16, 0)        \
nobias:                         \
	BOUND(16)               \
	store F16, (R13)        \
	ADD  R7, R13

#define END_1x4 END_1(FMOVQ, nobias4)
#define END_1x1 END_1(FMOVS, nobias1)

// func sparse_csr_f32_neon(t *kernel.SparseF32, lo, hi int)
TEXT ·sparse_csr_f32_neon(SB), 0, $136-24
	ARGUMENT(0)

many:
	SUBS $32, R5
	BLT  few
	ROWS_OF(0, 128, row32, loop32, store32, over32, BEGIN_1x32, ENTRY_1x32, END_1x32(nobias32))
	B    many

few:
	ADD  $32, R5

four:
	SUBS $4, R5
	BLT  rest
	ROWS_OF(0, 16, row4, loop4, store4, over4, BEGIN_1, ENTRY_1x4, END_1x4)
	B    four

rest:
	ADD  $4, R5

one:
	SUBS $1, R5
	BLT  done
	ROWS_OF(0, 4, row1, loop1, store1, over1, BEGIN_1, ENTRY_1x1, END_1x1)
	B    one

done:
	RET

// Of blocks of four rows: row i is summed in V(8+4i) to V(11+4i).
#define BEGIN_4x16 \
	CLEAR(V9.B16)  \
	CLEAR(V10.B16) \
	CLEAR(V11.B16) \
	CLEAR(V13.B16) \
	CLEAR(V14.B16) \
	CLEAR(V15.B16) \
	CLEAR(V17.B16) \
	CLEAR(V18.B16) \
	CLEAR(V19.B16) \
	CLEAR(V21.B16) \
	CLEAR(V22.B16) \
	CLEAR(V23.B16) \
	BEGIN_4x4

#define BEGIN_4x4 \
	CLEAR(V8.B16)  \
	CLEAR(V12.B16) \
	CLEAR(V16.B16) \
	CLEAR(V20.B16)

#define FOUR_ROWS(a, n) \
	FMLA(a, n, 28, 0)    \
	FMLA(a+4, n, 28, 1)  \
	FMLA(a+8, n, 28, 2)  \
	FMLA(a+12, n, 28, 3)

#define ENTRY_4x16 \
	FMOVQ.P 16(R10), F28                          \
	VLD1 (R19), [V24.S4, V25.S4, V26.S4, V27.S4]  \
	FOUR_ROWS(8, 24)  \
	FOUR_ROWS(9, 25)  \
	FOUR_ROWS(10, 26) \
	FOUR_ROWS(11, 27)

#define ENTRY_4x4 \
	FMOVQ.P 16(R10), F28 \
	FMOVQ (R19), F24     \
	FOUR_ROWS(8, 24)

// One pixel is summed in the lanes of V8.
#define ENTRY_4x1 \
	FMOVQ.P 16(R10), F28 \
	VLD1R (R19), [V24.S4] \
	FMLA4(8, 28, 24)

#define STORE_16(a, b0, b1, b2, b3, nobias) \
	CBZ R14, nobias         \
	VLD1R.P 4(R14), [V0.S4] \
	FADD4(a, a, 0)          \
	FADD4(a+1, a+1, 0)      \
	FADD4(a+2, a+2, 0)      \
	FADD4(a+3, a+3, 0)      \
nobias:                         \
	BOUND(a)                \
	BOUND(a+1)              \
	BOUND(a+2)              \
	BOUND(a+3)              \
	VST1 [b0, b1, b2, b3], (R13) \
	ADD  R7, R13

#define END_4x16 \
	STORE_16(8, V8.S4, V9.S4, V10.S4, V11.S4, nobias0)    \
	STORE_16(12, V12.S4, V13.S4, V14.S4, V15.S4, nobias1) \
	STORE_16(16, V16.S4, V17.S4, V18.S4, V19.S4, nobias2) \
	STORE_16(20, V20.S4, V21.S4, V22.S4, V23.S4, nobias3)

#define STORE_4(a, f, nobias) \
	CBZ R14, nobias         \
	VLD1R.P 4(R14), [V0.S4] \
	FADD4(a, a, 0)          \
nobias:                         \
	BOUND(a)                \
	FMOVQ f, (R13)          \
	ADD  R7, R13

#define END_4x4 \
	STORE_4(8, F8, nobias4)   \
	STORE_4(12, F12, nobias5) \
	STORE_4(16, F16, nobias6) \
	STORE_4(20, F20, nobias7)

#define END_4x1 \
	CBZ R14, nobias8          \
	VLD1.P 16(R14), [V0.S4]   \
	FADD4(8, 8, 0)            \
nobias8:                          \
	BOUND(8)                  \
	VST1 V8.S[0], (R13)       \
	ADD  R7, R13              \
	VST1 V8.S[1], (R13)       \
	ADD  R7, R13              \
	VST1 V8.S[2], (R13)       \
	ADD  R7, R13              \
	VST1 V8.S[3], (R13)       \
	ADD  R7, R13

// func sparse_4x1_f32_neon(t *kernel.SparseF32, lo, hi int)
TEXT ·sparse_4x1_f32_neon(SB), 0, $136-24
	ARGUMENT(2)

many:
	SUBS $16, R5
	BLT  few
	ROWS_OF(2, 64, row16, loop16, store16, over16, BEGIN_4x16, ENTRY_4x16, END_4x16)
	B    many

few:
	ADD  $16, R5

four:
	SUBS $4, R5
	BLT  rest
	ROWS_OF(2, 16, row4, loop4, store4, over4, BEGIN_4x4, ENTRY_4x4, END_4x4)
	B    four

rest:
	ADD  $4, R5

one:
	SUBS $1, R5
	BLT  done
	ROWS_OF(2, 4, row1, loop1, store1, over1, BEGIN_4x4, ENTRY_4x1, END_4x1)
	B    one

done:
	RET
