//go:build !purego

#include "textflag.h"
#include "go_asm.h"
#include "neon_arm64.h"

// Locals: 256 bytes of sums, then rows of 32 bytes for panels that are not
// whole.
#define SUMS $sums-256(SP)
#define BIAS $bias-288(SP)
#define SCALE $scale-320(SP)
#define ADDEND $addend-352(SP)
#define WORK $work-384(SP)

// COPY moves R15 words, fewer than eight and at least one, between the
// addresses in two registers.
#define COPY(from, to, loop) \
	MOVD R15, R25        \
loop:                        \
	MOVWU.P 4(from), R26 \
	MOVW.P  R26, 4(to)   \
	SUBS $1, R25         \
	BNE  loop

// COLUMNS loads the values of the panel's columns from a slice that may be nil,
// for which they are zero; local has room for a panel that is not whole.
#define COLUMNS(field, a, b, local, loop, whole, none) \
	VEOR a.B16, a.B16, a.B16 \
	VEOR b.B16, b.B16, b.B16 \
	MOVD field(R0), R21      \
	CBZ  R21, none           \
	ADD  R20<<2, R21, R21    \
	CMP  $8, R15             \
	BGE  whole               \
	MOVD local, R22          \
	VST1 [a.S4, b.S4], (R22) \
	COPY(R21, R22, loop)     \
	MOVD local, R21          \
whole:                           \
	VLD1 (R21), [a.S4, b.S4] \
none:

// FLIP makes signed bytes of unsigned ones by taking 128 from them; the sums
// start from 128 times the sums of the columns, which gives that back.
#define FLIP \
	VMOVI $0x80, V10.B16           \
	VEOR V10.B16, V0.B16, V0.B16   \
	VEOR V10.B16, V1.B16, V1.B16   \
	VEOR V10.B16, V2.B16, V2.B16   \
	VEOR V10.B16, V3.B16, V3.B16   \
	VEOR V10.B16, V4.B16, V4.B16   \
	VEOR V10.B16, V5.B16, V5.B16   \
	VEOR V10.B16, V6.B16, V6.B16   \
	VEOR V10.B16, V7.B16, V7.B16

#define FLIPPED \
	VLD1 (R14), [V8.S4, V9.S4] \
	SHL4S(8, 8, 7)             \
	SHL4S(9, 9, 7)             \
	SET

#define NOTHING

// DOT16 and DOT4 are the products of 16 and 4 bytes of every row.
#define DOT16(mac, prepare) \
	LOAD_ROWS(FMOVQ.P, 16)                           \
	prepare                                          \
	VLD1.P 64(R1), [V8.S4, V9.S4, V10.S4, V11.S4]    \
	VLD1.P 64(R1), [V12.S4, V13.S4, V14.S4, V15.S4]  \
	STEP(mac, 8, 0)                                  \
	STEP(mac, 10, 1)                                 \
	STEP(mac, 12, 2)                                 \
	STEP(mac, 14, 3)

#define DOT4(mac, prepare) \
	prepare                       \
	VLD1.P 32(R1), [V8.S4, V9.S4] \
	STEP(mac, 8, 0)

// WIDE8 is the products of 8 bytes of every row, widened to 16 bits, and WIDE1
// those of one, which is in the low half of the row's register already.
#define WIDE8(extend) \
	LOAD_ROWS(FMOVD.P, 8)                            \
	extend(0, 0)                                     \
	extend(1, 1)                                     \
	extend(2, 2)                                     \
	extend(3, 3)                                     \
	extend(4, 4)                                     \
	extend(5, 5)                                     \
	extend(6, 6)                                     \
	extend(7, 7)                                     \
	VLD1.P 64(R1), [V8.H8, V9.H8, V10.H8, V11.H8]    \
	VLD1.P 64(R1), [V12.H8, V13.H8, V14.H8, V15.H8]  \
	WIDE_STEP(8, 0)                                  \
	WIDE_STEP(9, 1)                                  \
	WIDE_STEP(10, 2)                                 \
	WIDE_STEP(11, 3)                                 \
	WIDE_STEP(12, 4)                                 \
	WIDE_STEP(13, 5)                                 \
	WIDE_STEP(14, 6)                                 \
	WIDE_STEP(15, 7)

#define WIDE_ROW(n, i, r) \
	SMLAL(16+2*r, n, r, i)  \
	SMLAL2(17+2*r, n, r, i)

#define WIDE_STEP(n, i) \
	WIDE_ROW(n, i, 0) \
	WIDE_ROW(n, i, 1) \
	WIDE_ROW(n, i, 2) \
	WIDE_ROW(n, i, 3) \
	WIDE_ROW(n, i, 4) \
	WIDE_ROW(n, i, 5) \
	WIDE_ROW(n, i, 6) \
	WIDE_ROW(n, i, 7)

#define WIDE1 \
	VLD1.P 16(R1), [V8.H8] \
	WIDE_STEP(8, 0)

#define LOAD_BYTE(move, r, f) \
	move.P 1(r), R21 \
	FMOVS R21, f

#define LOAD_BYTES(move) \
	LOAD_BYTE(move, R2, F0) \
	LOAD_BYTE(move, R3, F1) \
	LOAD_BYTE(move, R4, F2) \
	LOAD_BYTE(move, R5, F3) \
	LOAD_BYTE(move, R6, F4) \
	LOAD_BYTE(move, R7, F5) \
	LOAD_BYTE(move, R8, F6) \
	LOAD_BYTE(move, R9, F7)

// GATHER puts one to three bytes of every row where four belong. R22 and R23
// are the offsets of the second and third, or of the last if there are fewer:
// the panel has zeros there.
#define GATHER_ROW(r, f) \
	MOVBU (r), R21            \
	MOVBU (r)(R22), R24       \
	ORR   R24<<8, R21, R21    \
	MOVBU (r)(R23), R24       \
	ORR   R24<<16, R21, R21   \
	FMOVS R21, f

#define GATHER \
	SUB  $1, R10, R21        \
	CMP  $1, R21             \
	CSET GE, R22             \
	MOVD R21, R23            \
	GATHER_ROW(R2, F0)       \
	GATHER_ROW(R3, F1)       \
	GATHER_ROW(R4, F2)       \
	GATHER_ROW(R5, F3)       \
	GATHER_ROW(R6, F4)       \
	GATHER_ROW(R7, F5)       \
	GATHER_ROW(R8, F6)       \
	GATHER_ROW(R9, F7)

// The kernels differ in these macros, which gemm_i8_arm64.h refers to: START
// sets the sums, MAIN bytes of a row at a time are the work of STEP_MAIN, and
// GROUP bytes that of LOAD_GROUP and STEP_GROUP.

// func gemm_u8s8_8x8_neon(t *kernel.TileI8)
TEXT ·gemm_u8s8_8x8_neon(SB), 0, $464-8
#define START ZERO
#define MAIN 8
#define STEP_MAIN WIDE8(UXTL8H)
#define GROUP 1
#define LOAD_GROUP LOAD_BYTES(MOVBU)
#define STEP_GROUP WIDE1
#include "gemm_i8_arm64.h"
#undef START
#undef MAIN
#undef STEP_MAIN
#undef GROUP
#undef LOAD_GROUP
#undef STEP_GROUP
	RET

// func gemm_s8s8_8x8_neon(t *kernel.TileI8)
TEXT ·gemm_s8s8_8x8_neon(SB), 0, $464-8
#define START ZERO
#define MAIN 8
#define STEP_MAIN WIDE8(SXTL8H)
#define GROUP 1
#define LOAD_GROUP LOAD_BYTES(MOVB)
#define STEP_GROUP WIDE1
#include "gemm_i8_arm64.h"
#undef START
#undef MAIN
#undef STEP_MAIN
#undef GROUP
#undef LOAD_GROUP
#undef STEP_GROUP
	RET

// func gemm_u8s8_8x8_dotprod(t *kernel.TileI8)
TEXT ·gemm_u8s8_8x8_dotprod(SB), 0, $464-8
#define START FLIPPED
#define MAIN 16
#define STEP_MAIN DOT16(SDOT, FLIP)
#define GROUP 4
#define LOAD_GROUP LOAD_ROWS(FMOVS.P, 4)
#define STEP_GROUP DOT4(SDOT, FLIP)
#include "gemm_i8_arm64.h"
#undef START
#undef MAIN
#undef STEP_MAIN
#undef GROUP
#undef LOAD_GROUP
#undef STEP_GROUP
	RET

// func gemm_s8s8_8x8_dotprod(t *kernel.TileI8)
TEXT ·gemm_s8s8_8x8_dotprod(SB), 0, $464-8
#define START ZERO
#define MAIN 16
#define STEP_MAIN DOT16(SDOT, NOTHING)
#define GROUP 4
#define LOAD_GROUP LOAD_ROWS(FMOVS.P, 4)
#define STEP_GROUP DOT4(SDOT, NOTHING)
#include "gemm_i8_arm64.h"
#undef START
#undef MAIN
#undef STEP_MAIN
#undef GROUP
#undef LOAD_GROUP
#undef STEP_GROUP
	RET

// func gemm_u8s8_8x8_i8mm(t *kernel.TileI8)
TEXT ·gemm_u8s8_8x8_i8mm(SB), 0, $464-8
#define START ZERO
#define MAIN 16
#define STEP_MAIN DOT16(SUDOT, NOTHING)
#define GROUP 4
#define LOAD_GROUP LOAD_ROWS(FMOVS.P, 4)
#define STEP_GROUP DOT4(SUDOT, NOTHING)
#include "gemm_i8_arm64.h"
#undef START
#undef MAIN
#undef STEP_MAIN
#undef GROUP
#undef LOAD_GROUP
#undef STEP_GROUP
	RET
