// Instructions that Go's assembler lacks, and the matrix product that all NEON
// tile kernels share.

// Multiply-accumulate by element. fmla: d.4s += n.4s * m.s[i]. sdot: each lane
// of d gets four products of signed bytes with m.4b[i]; sudot takes the bytes
// of m as unsigned.
#define BY_ELEMENT(op, d, n, m, i) WORD $((op) | ((i)&1)<<21 | (m)<<16 | ((i)>>1)<<11 | (n)<<5 | (d))
#define FMLA(d, n, m, i) BY_ELEMENT(0x4F801000, d, n, m, i)
#define SDOT(d, n, m, i) BY_ELEMENT(0x4F80E000, d, n, m, i)
#define SUDOT(d, n, m, i) BY_ELEMENT(0x4F00F000, d, n, m, i)

// smlal, smlal2: d.4s += n.4h (low or high half) * m.h[i], widening.
#define BY_HALF(op, d, n, m, i) WORD $((op) | (((i)>>1)&1)<<21 | ((i)&1)<<20 | (m)<<16 | ((i)>>2)<<11 | (n)<<5 | (d))
#define SMLAL(d, n, m, i) BY_HALF(0x0F402000, d, n, m, i)
#define SMLAL2(d, n, m, i) BY_HALF(0x4F402000, d, n, m, i)

// Vector arithmetic on four lanes.
#define THREE(op, d, n, m) WORD $((op) | (m)<<16 | (n)<<5 | (d))
#define TWO(op, d, n) WORD $((op) | (n)<<5 | (d))
#define FADD4(d, n, m) THREE(0x4E20D400, d, n, m)
#define FMUL4(d, n, m) THREE(0x6E20DC00, d, n, m)
#define FMAX4(d, n, m) THREE(0x4E20F400, d, n, m)
#define FMIN4(d, n, m) THREE(0x4EA0F400, d, n, m)
#define SCVTF4(d, n) TWO(0x4E21D800, d, n)
#define FCVTNS4(d, n) TWO(0x4E21A800, d, n) // rounds half to even
#define XTN4H(d, n) TWO(0x0E612800, d, n)
#define XTN24H(d, n) TWO(0x4E612800, d, n)
#define XTN8B(d, n) TWO(0x0E212800, d, n)
#define SXTL8H(d, n) TWO(0x0F08A400, d, n)
#define UXTL8H(d, n) TWO(0x2F08A400, d, n)
#define SHL4S(d, n, s) WORD $(0x4F005400 | (32+(s))<<16 | (n)<<5 | (d))

// Registers of a tile kernel: R0 the argument, R1 the cursor in B, R2..R9 the
// rows of A, R10 what is left along K, R11 and R12 the taps, R13 the base of A,
// R14 the panel, R15 the columns left, R19 the rows, R20 the panel's first
// column. V0..V7 hold elements of the rows, V8..V15 a part of the panel, and
// row r is summed in V(16+2r) and V(17+2r).

// COPY moves R15 words, fewer than eight and at least one, between the
// addresses in two registers.
#define COPY(from, to, loop) \
	MOVD R15, R25        \
loop:                        \
	MOVWU.P 4(from), R26 \
	MOVW.P  R26, 4(to)   \
	SUBS $1, R25         \
	BNE  loop

// ROW sets a register to the address of row r, or of the row before it when
// there is no row r.
#define ROW(r, reg, before, arow, shift) \
	MOVD arow+8*r(R0), R21     \
	ADD  R21<<shift, R13, R21  \
	CMP  $r, R19               \
	CSEL GT, R21, before, reg

#define ROWS(arow, shift) \
	MOVD arow(R0), R2            \
	ADD  R2<<shift, R13, R2      \
	ROW(1, R3, R2, arow, shift)  \
	ROW(2, R4, R3, arow, shift)  \
	ROW(3, R5, R4, arow, shift)  \
	ROW(4, R6, R5, arow, shift)  \
	ROW(5, R7, R6, arow, shift)  \
	ROW(6, R8, R7, arow, shift)  \
	ROW(7, R9, R8, arow, shift)

// LOAD_ROWS reads the next bytes of every row with a move of that size.
#define LOAD_ROWS(move, size) \
	move size(R2), F0 \
	move size(R3), F1 \
	move size(R4), F2 \
	move size(R5), F3 \
	move size(R6), F4 \
	move size(R7), F5 \
	move size(R8), F6 \
	move size(R9), F7

// STEP multiplies element i of every row by the panel's vectors n and n+1.
#define STEP(mac, n, i) \
	mac(16, n, 0, i)   \
	mac(17, n+1, 0, i) \
	mac(18, n, 1, i)   \
	mac(19, n+1, 1, i) \
	mac(20, n, 2, i)   \
	mac(21, n+1, 2, i) \
	mac(22, n, 3, i)   \
	mac(23, n+1, 3, i) \
	mac(24, n, 4, i)   \
	mac(25, n+1, 4, i) \
	mac(26, n, 5, i)   \
	mac(27, n+1, 5, i) \
	mac(28, n, 6, i)   \
	mac(29, n+1, 6, i) \
	mac(30, n, 7, i)   \
	mac(31, n+1, 7, i)

// ZERO clears the sums, SET fills them from V8 and V9.
#define ZERO \
	VEOR V8.B16, V8.B16, V8.B16 \
	VEOR V9.B16, V9.B16, V9.B16 \
	SET

#define SET_ROW(a, b) \
	VORR V8.B16, V8.B16, a \
	VORR V9.B16, V9.B16, b

#define SET \
	SET_ROW(V16.B16, V17.B16) \
	SET_ROW(V18.B16, V19.B16) \
	SET_ROW(V20.B16, V21.B16) \
	SET_ROW(V22.B16, V23.B16) \
	SET_ROW(V24.B16, V25.B16) \
	SET_ROW(V26.B16, V27.B16) \
	SET_ROW(V28.B16, V29.B16) \
	SET_ROW(V30.B16, V31.B16)

// SPILL writes the sums, row by row, to the 256 bytes at the register.
#define SPILL(to) \
	VST1.P [V16.S4, V17.S4, V18.S4, V19.S4], 64(to) \
	VST1.P [V20.S4, V21.S4, V22.S4, V23.S4], 64(to) \
	VST1.P [V24.S4, V25.S4, V26.S4, V27.S4], 64(to) \
	VST1.P [V28.S4, V29.S4, V30.S4, V31.S4], 64(to)
