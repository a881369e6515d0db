//go:build !purego

#include "textflag.h"
#include "go_asm.h"
#include "neon_arm64.h"

// Locals: 256 bytes of sums, then rows of 32 bytes for panels that are not
// whole.
#define SUMS $sums-256(SP)
#define BIAS $bias-288(SP)
#define WORK $work-320(SP)

// func gemm_f32_8x8_neon(t *kernel.TileF32)
TEXT ·gemm_f32_8x8_neon(SB), 0, $336-8
	MOVD t+0(FP), R0
	MOVD tileF32_B(R0), R14
	MOVD tileF32_N(R0), R15
	MOVD tileF32_M(R0), R19
	MOVD $0, R20

panel:
	CMP  $0, R15
	BLE  done
	MOVD R14, R1
	ZERO
	MOVD tileF32_Taps(R0), R12
	MOVD (tileF32_Taps+8)(R0), R11

tap:
	SUBS $1, R11
	BLT  finish
	MOVW.P 4(R12), R21
	MOVD tileF32_A(R0), R13
	ADD  R21<<2, R13, R13
	ROWS(tileF32_ARow, 2)
	MOVD tileF32_K(R0), R10
	SUBS $4, R10
	BLT  single

four:
	VLD1.P 64(R1), [V8.S4, V9.S4, V10.S4, V11.S4]
	VLD1.P 64(R1), [V12.S4, V13.S4, V14.S4, V15.S4]
	LOAD_ROWS(FMOVQ.P, 16)
	STEP(FMLA, 8, 0)
	STEP(FMLA, 10, 1)
	STEP(FMLA, 12, 2)
	STEP(FMLA, 14, 3)
	SUBS $4, R10
	BGE  four

single:
	ADDS $4, R10
	BEQ  tap

one:
	VLD1.P 32(R1), [V8.S4, V9.S4]
	LOAD_ROWS(FMOVS.P, 4)
	STEP(FMLA, 8, 0)
	SUBS $1, R10
	BNE  one
	B    tap

finish:
	MOVD SUMS, R21
	SPILL(R21)
	ADD  $tileF32_Lo, R0, R21
	VLD1R (R21), [V4.S4]
	ADD  $tileF32_Hi, R0, R21
	VLD1R (R21), [V5.S4]
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	MOVD tileF32_Bias(R0), R21
	CBZ  R21, nobias
	ADD  R20<<2, R21, R21
	CMP  $8, R15
	BGE  wholebias
	MOVD BIAS, R22
	VST1 [V2.S4, V3.S4], (R22)
	COPY(R21, R22, biasword)
	MOVD BIAS, R21

wholebias:
	VLD1 (R21), [V2.S4, V3.S4]

nobias:
	MOVD SUMS, R1
	ADD  $tileF32_CRow, R0, R2
	ADD  $tileF32_RRow, R0, R3
	MOVD tileF32_C(R0), R4
	ADD  R20<<2, R4, R4
	MOVD tileF32_Res(R0), R5
	MOVD R19, R6

row:
	VLD1.P 32(R1), [V0.S4, V1.S4]
	MOVD.P 8(R2), R7
	ADD  R7<<2, R4, R7
	MOVBU tileF32_Accumulate(R0), R21
	CBZ  R21, fresh
	MOVD R7, R21
	CMP  $8, R15
	BGE  wholec
	MOVD WORK, R22
	COPY(R21, R22, cword)
	MOVD WORK, R21

wholec:
	VLD1 (R21), [V6.S4, V7.S4]
	FADD4(0, 0, 6)
	FADD4(1, 1, 7)

fresh:
	FADD4(0, 0, 2)
	FADD4(1, 1, 3)
	CBZ  R5, nores
	MOVD.P 8(R3), R21
	ADD  R20, R21, R21
	ADD  R21<<2, R5, R21
	CMP  $8, R15
	BGE  wholeres
	MOVD WORK, R22
	COPY(R21, R22, resword)
	MOVD WORK, R21

wholeres:
	VLD1 (R21), [V6.S4, V7.S4]
	FADD4(0, 0, 6)
	FADD4(1, 1, 7)

nores:
	FMAX4(0, 0, 4)
	FMAX4(1, 1, 4)
	FMIN4(0, 0, 5)
	FMIN4(1, 1, 5)
	CMP  $8, R15
	BGE  wholerow
	MOVD WORK, R21
	VST1 [V0.S4, V1.S4], (R21)
	COPY(R21, R7, outword)
	B    stored

wholerow:
	VST1 [V0.S4, V1.S4], (R7)

stored:
	SUBS $1, R6
	BNE  row
	MOVD tileF32_PanelStride(R0), R21
	ADD  R21<<2, R14, R14
	SUB  $8, R15
	ADD  $8, R20
	B    panel

done:
	RET
