//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// PEAK is rounds times 10 multiply-adds of zeros, each of so many products.
#define PEAK(op, products) \
	MOVD rounds+0(FP), R0        \
	MOVD $(10*products), R1      \
	MUL  R0, R1, R1              \
	MOVD R1, r+8(FP)             \
	VEOR V0.B16, V0.B16, V0.B16  \
loop:                                \
	SUBS $1, R0                  \
	BLT  done                    \
	op(16, 0, 0, 0)              \
	op(17, 0, 0, 0)              \
	op(18, 0, 0, 0)              \
	op(19, 0, 0, 0)              \
	op(20, 0, 0, 0)              \
	op(21, 0, 0, 0)              \
	op(22, 0, 0, 0)              \
	op(23, 0, 0, 0)              \
	op(24, 0, 0, 0)              \
	op(25, 0, 0, 0)              \
	B    loop                    \
done:                                \
	RET

// func peak_f32_neon(rounds int) (r int)
TEXT ·peak_f32_neon(SB), 0, $136-16
	PEAK(FMLA, 4)

// func peak_i8_neon(rounds int) (r int)
TEXT ·peak_i8_neon(SB), 0, $136-16
	PEAK(SMLAL, 4)

// func peak_i8_dotprod(rounds int) (r int)
TEXT ·peak_i8_dotprod(SB), 0, $136-16
	PEAK(SDOT, 16)
