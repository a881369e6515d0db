// What the int8 tile kernels share beside their body, gemm_i8_arm64.h.

// Locals: 384 bytes of sums, then rows of 32 bytes for columns that are fewer
// than eight.
#define SUMS $sums-384(SP)
#define BIAS $bias-416(SP)
#define SCALE $scale-448(SP)
#define ADDEND $addend-480(SP)
#define WORK $work-512(SP)

// COLUMNS loads the values of eight of the panel's columns from a slice that may
// be nil, for which they are zero; local has room for fewer than eight.
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
