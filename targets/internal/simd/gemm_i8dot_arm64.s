//go:build !purego

#include "textflag.h"
#include "go_asm.h"
#include "neon_arm64.h"
#include "tile_i8_arm64.h"

// The kernels from dot products of four bytes, of six rows by sixteen columns.
// V0..V5 hold sixteen bytes of each row, V6 and V7 four rows of eight columns of
// the panel, and the columns 4c of row r are summed in V(8+4r+c).

#define ROWS6(arow, shift) \
	MOVD arow(R0), R2            \
	ADD  R2<<shift, R13, R2      \
	ROW(1, R3, R2, arow, shift)  \
	ROW(2, R4, R3, arow, shift)  \
	ROW(3, R5, R4, arow, shift)  \
	ROW(4, R6, R5, arow, shift)  \
	ROW(5, R7, R6, arow, shift)

#define LOAD_ROWS6(move, size) \
	move size(R2), F0 \
	move size(R3), F1 \
	move size(R4), F2 \
	move size(R5), F3 \
	move size(R6), F4 \
	move size(R7), F5

#define SET_ROW16(a, b, c, d) \
	VORR V0.B16, V0.B16, a \
	VORR V1.B16, V1.B16, b \
	VORR V2.B16, V2.B16, c \
	VORR V3.B16, V3.B16, d

#define SET16 \
	SET_ROW16(V8.B16, V9.B16, V10.B16, V11.B16)   \
	SET_ROW16(V12.B16, V13.B16, V14.B16, V15.B16) \
	SET_ROW16(V16.B16, V17.B16, V18.B16, V19.B16) \
	SET_ROW16(V20.B16, V21.B16, V22.B16, V23.B16) \
	SET_ROW16(V24.B16, V25.B16, V26.B16, V27.B16) \
	SET_ROW16(V28.B16, V29.B16, V30.B16, V31.B16)

#define ZERO16 \
	VEOR V0.B16, V0.B16, V0.B16 \
	VEOR V1.B16, V1.B16, V1.B16 \
	VEOR V2.B16, V2.B16, V2.B16 \
	VEOR V3.B16, V3.B16, V3.B16 \
	SET16

#define SPILL16(to) \
	VST1.P [V8.S4, V9.S4, V10.S4, V11.S4], 64(to)   \
	VST1.P [V12.S4, V13.S4, V14.S4, V15.S4], 64(to) \
	VST1.P [V16.S4, V17.S4, V18.S4, V19.S4], 64(to) \
	VST1.P [V20.S4, V21.S4, V22.S4, V23.S4], 64(to) \
	VST1.P [V24.S4, V25.S4, V26.S4, V27.S4], 64(to) \
	VST1.P [V28.S4, V29.S4, V30.S4, V31.S4], 64(to)

// FLIP makes signed bytes of unsigned ones by taking 128 from them; the sums
// start from 128 times the sums of the columns, which gives that back.
#define FLIP \
	VMOVI $0x80, V6.B16        \
	VEOR V6.B16, V0.B16, V0.B16 \
	VEOR V6.B16, V1.B16, V1.B16 \
	VEOR V6.B16, V2.B16, V2.B16 \
	VEOR V6.B16, V3.B16, V3.B16 \
	VEOR V6.B16, V4.B16, V4.B16 \
	VEOR V6.B16, V5.B16, V5.B16

#define FLIPPED \
	VLD1 (R14), [V0.S4, V1.S4, V2.S4, V3.S4] \
	SHL4S(0, 0, 7)                           \
	SHL4S(1, 1, 7)                           \
	SHL4S(2, 2, 7)                           \
	SHL4S(3, 3, 7)                           \
	SET16

// COLUMNS8 multiplies group i of every row by eight columns, the sums of which
// in row 0 begin at register c; STEP16 does so with the sixteen of a panel.
#define COLUMNS8(mac, c, i) \
	VLD1.P 32(R1), [V6.S4, V7.S4] \
	mac(c, 6, 0, i)    \
	mac(c+1, 7, 0, i)  \
	mac(c+4, 6, 1, i)  \
	mac(c+5, 7, 1, i)  \
	mac(c+8, 6, 2, i)  \
	mac(c+9, 7, 2, i)  \
	mac(c+12, 6, 3, i) \
	mac(c+13, 7, 3, i) \
	mac(c+16, 6, 4, i) \
	mac(c+17, 7, 4, i) \
	mac(c+20, 6, 5, i) \
	mac(c+21, 7, 5, i)

#define STEP16(mac, i) \
	COLUMNS8(mac, 8, i)  \
	COLUMNS8(mac, 10, i)

// DOT16 and DOT4 are the products of 16 and 4 bytes of every row.
#define DOT16(mac, prepare) \
	LOAD_ROWS6(FMOVQ.P, 16) \
	prepare                 \
	STEP16(mac, 0)          \
	STEP16(mac, 1)          \
	STEP16(mac, 2)          \
	STEP16(mac, 3)

#define DOT4(mac, prepare) \
	prepare        \
	STEP16(mac, 0)

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
	GATHER_ROW(R7, F5)

#define NOTHING

// What gemm_i8_arm64.h refers to; see gemm_i8_arm64.s.
#define PANEL 64
#define ROWS_I8 ROWS6
#define SPILL_I8 SPILL16
#define MAIN 16
#define GROUP 4
#define LOAD_GROUP LOAD_ROWS6(FMOVS.P, 4)

// func gemm_u8s8_6x16_dotprod(t *kernel.TileI8)
TEXT ·gemm_u8s8_6x16_dotprod(SB), 0, $592-8
#define START FLIPPED
#define STEP_MAIN DOT16(SDOT, FLIP)
#define STEP_GROUP DOT4(SDOT, FLIP)
#include "gemm_i8_arm64.h"
#undef START
#undef STEP_MAIN
#undef STEP_GROUP
	RET

// func gemm_s8s8_6x16_dotprod(t *kernel.TileI8)
TEXT ·gemm_s8s8_6x16_dotprod(SB), 0, $592-8
#define START ZERO16
#define STEP_MAIN DOT16(SDOT, NOTHING)
#define STEP_GROUP DOT4(SDOT, NOTHING)
#include "gemm_i8_arm64.h"
#undef START
#undef STEP_MAIN
#undef STEP_GROUP
	RET

// func gemm_u8s8_6x16_i8mm(t *kernel.TileI8)
TEXT ·gemm_u8s8_6x16_i8mm(SB), 0, $592-8
#define START ZERO16
#define STEP_MAIN DOT16(SUDOT, NOTHING)
#define STEP_GROUP DOT4(SUDOT, NOTHING)
#include "gemm_i8_arm64.h"
#undef START
#undef STEP_MAIN
#undef STEP_GROUP
	RET
