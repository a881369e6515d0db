//go:build !purego

#include "textflag.h"
#include "go_asm.h"
#include "neon_arm64.h"
#include "tile_i8_arm64.h"

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

// The kernels differ in these macros, which gemm_i8_arm64.h refers to: START
// sets the sums, MAIN bytes of a row at a time are the work of STEP_MAIN, GROUP
// bytes that of LOAD_GROUP and STEP_GROUP, and GATHER puts what is less than a
// group where a group belongs. PANEL is the bytes of a row of sums; ROWS_I8 and
// SPILL_I8 are ROWS and SPILL for the rows of the kernel.

#define PANEL 32
#define ROWS_I8 ROWS
#define SPILL_I8 SPILL
#define GATHER NOTHING
#define NOTHING

// func gemm_u8s8_8x8_neon(t *kernel.TileI8)
TEXT ·gemm_u8s8_8x8_neon(SB), 0, $592-8
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
TEXT ·gemm_s8s8_8x8_neon(SB), 0, $592-8
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
