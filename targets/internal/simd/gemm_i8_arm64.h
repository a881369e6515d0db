// The body of an int8 tile kernel; see gemm_i8_arm64.s for its macros. The sums
// of a panel are finished eight columns at a time.
	MOVD t+0(FP), R0
	MOVD tileI8_B(R0), R14
	MOVD tileI8_N(R0), R15
	MOVD tileI8_M(R0), R19
	MOVD $0, R20

panel:
	CMP  $0, R15
	BLE  done
	START
	ADD  $PANEL, R14, R1
	MOVD tileI8_Taps(R0), R12
	MOVD (tileI8_Taps+8)(R0), R11

tap:
	SUBS $1, R11
	BLT  extra
	MOVW.P 4(R12), R21

found:
	MOVD tileI8_A(R0), R13
	ADD  R21, R13, R13
	ROWS_I8(tileI8_ARow, 0)
	MOVD tileI8_K(R0), R10
	TBZ  $63, R11, run
	CMP  $4, R10
	BLE  run
	MOVD $4, R10

run:
	SUBS $MAIN, R10
	BLT  groups

main:
	STEP_MAIN
	SUBS $MAIN, R10
	BGE  main

groups:
	ADD  $(MAIN-GROUP), R10
	CMP  $0, R10
	BLT  rest

group:
	LOAD_GROUP
	STEP_GROUP
	SUBS $GROUP, R10
	BGE  group

rest:
	ADDS $GROUP, R10
	BEQ  tap
	GATHER
	STEP_GROUP
	B    tap

// An extra group is a tap of four bytes, for which R11 is negative.
extra:
	MOVD tileI8_Extra(R0), R21
	CBZ  R21, finish
	ADD  R14, R21, R21
	MOVW (R21), R13
	MVN  R11, R16
	CMP  R13, R16
	BGE  finish
	ADD  R16<<3, R21, R21
	MOVW 8(R21), R13
	MOVW 12(R21), R16
	MOVD tileI8_Taps(R0), R21
	ADD  R13<<2, R21, R21
	MOVW (R21), R21
	ADD  R16, R21, R21
	B    found

finish:
	MOVD SUMS, R21
	SPILL_I8(R21)
	MOVD $0, R16

eight:
	COLUMNS(tileI8_Bias, V2, V3, BIAS, biasword, biaswhole, biasnone)
	COLUMNS(tileI8_Scale, V6, V7, SCALE, scaleword, scalewhole, scalenone)
	COLUMNS(tileI8_Add, V8, V9, ADDEND, addword, addwhole, addnone)
	ADD  $tileI8_Lo, R0, R21
	VLD1R (R21), [V4.S4]
	ADD  $tileI8_Hi, R0, R21
	VLD1R (R21), [V5.S4]
	ADD  $tileI8_Zero, R0, R21
	VLD1R (R21), [V10.S4]
	MOVD SUMS, R1
	ADD  R16, R1, R1
	ADD  $tileI8_CRow, R0, R2
	MOVBU tileI8_Out(R0), R3
	MOVD R19, R6

row:
	VLD1 (R1), [V0.S4, V1.S4]
	ADD  $PANEL, R1
	MOVD.P 8(R2), R7
	ADD  R20, R7, R7
	VADD V2.S4, V0.S4, V0.S4
	VADD V3.S4, V1.S4, V1.S4
	MOVD tileI8_C32(R0), R4
	CBZ  R3, words
	SCVTF4(0, 0)
	SCVTF4(1, 1)
	FMUL4(0, 0, 6)
	FMUL4(1, 1, 7)
	CMP  $const_outQ8, R3
	BEQ  quantize
	FADD4(0, 0, 8)
	FADD4(1, 1, 9)
	FMAX4(0, 0, 4)
	FMAX4(1, 1, 4)
	FMIN4(0, 0, 5)
	FMIN4(1, 1, 5)
	MOVD tileI8_CF(R0), R4

words:
	ADD  R7<<2, R4, R7
	CMP  $8, R15
	BGE  wholewords
	MOVD WORK, R21
	VST1 [V0.S4, V1.S4], (R21)
	COPY(R21, R7, outword)
	B    stored

wholewords:
	VST1 [V0.S4, V1.S4], (R7)
	B    stored

quantize:
	FMAX4(0, 0, 4)
	FMAX4(1, 1, 4)
	FMIN4(0, 0, 5)
	FMIN4(1, 1, 5)
	FCVTNS4(0, 0)
	FCVTNS4(1, 1)
	VADD V10.S4, V0.S4, V0.S4
	VADD V10.S4, V1.S4, V1.S4
	XTN4H(0, 0)
	XTN24H(0, 1)
	XTN8B(0, 0)
	MOVD tileI8_C8(R0), R4
	ADD  R7, R4, R7
	CMP  $8, R15
	BGE  wholebytes
	FMOVD F0, R21
	MOVD R15, R25

outbyte:
	MOVB.P R21, 1(R7)
	LSR  $8, R21
	SUBS $1, R25
	BNE  outbyte
	B    stored

wholebytes:
	FMOVD F0, (R7)

stored:
	SUBS $1, R6
	BNE  row
	SUB  $8, R15
	ADD  $8, R20
	ADD  $32, R16
	CMP  $PANEL, R16
	BGE  next
	CMP  $0, R15
	BGT  eight

next:
	MOVD tileI8_PanelStride(R0), R21
	ADD  R21, R14, R14
	B    panel

done:
