// What the kernels over rows of float32 share: vector arithmetic, the loop over a
// row, and the exponential.

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
#define FCMEQ4(d, n, m) THREE(0x4E20E400, d, n, m)
#define FCMGT4(d, n, m) THREE(0x6EA0E400, d, n, m) // d = n > m

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
