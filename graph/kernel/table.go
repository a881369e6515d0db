package kernel

// Table holds the kernels of one target. Unless its comment says so, a kernel
// gives the same bits wherever its data lies and however the data is divided
// into calls, except that reductions depend on the length of the row.
type Table struct {
	// Name is the target for which the table was made.
	Name string

	// GemmF32 is the float32 matrix product, used through its Block method.
	GemmF32 GemmF32
	// GemmU8S8 and GemmS8S8 are exact int8 products.
	GemmU8S8, GemmS8S8 GemmI8
	// GemmU8S8Fit and GemmS8S8Fit are the fastest products for weights of which
	// few pairs are so large that they saturate, and the exact ones themselves
	// where nothing does.
	GemmU8S8Fit, GemmS8S8Fit GemmI8

	// Gemv is dst[i] = sum over k of w[i*ldw+k] * x[k], for len(dst) rows.
	Gemv func(dst, w, x []float32, ldw int)
	// GemvF16 and GemvBF16 are the same for weights of 16 bits, which are widened
	// in registers; len(x) is a multiple of 16.
	GemvF16, GemvBF16 func(dst []float32, w []uint16, x []float32, ldw int)
	// Axpy is dst[i] += a * x[i].
	Axpy func(dst, x []float32, a float32)
	// Transpose is dst[c*ldd+r] = src[r*lds+c] for rows x cols elements. dst
	// and src are distinct.
	Transpose func(dst []float32, ldd int, src []float32, lds, rows, cols int)

	// GemvQ4 and GemvQ8 are dst[i] = sum over k of w(row+i,k) * x[k] for weights
	// of 4 and 8 bits, dequantized in registers; x holds w.K values. DequantQ4
	// and DequantQ8 dequantize one row to w.K values.
	GemvQ4, GemvQ8       func(dst, x []float32, w *Quantized, row int)
	DequantQ4, DequantQ8 func(dst []float32, w *Quantized, row int)

	// SparseRows and SparseBlocks compute a range of rows, or of blocks of four
	// rows, of a product with sparse weights.
	SparseRows, SparseBlocks func(*SparseF32, Range)

	// SparseRowsI8 and SparseBlocksI8 are the same over bytes, for ranges of rows
	// and of blocks of [SparseI8]. SparseI8Cost says how long an entry of a block
	// takes there where a multiply-accumulate of GemmU8S8Fit takes 1.
	SparseRowsI8, SparseBlocksI8 func(*SparseI8, Range)
	SparseI8Cost                 float64
	// GatherU8 is dst[c*ldd+i] = src[at[i]+c] ^ flip, and ScatterU8 is
	// dst[at[i]+c] = src[c*lds+i], for c < n and each i of at: they turn rows of
	// bytes, which may lie anywhere, into columns and back.
	GatherU8  func(dst []uint8, ldd int, src []uint8, at []int32, n int, flip uint8)
	ScatterU8 func(dst []uint8, at []int32, src []uint8, lds, n int)

	// WinogradInput and WinogradOutput transform one tile.
	WinogradInput  func(*WinogradInput)
	WinogradOutput func(*WinogradOutput)

	// DepthwiseF32 and DepthwiseU8S8 convolve each channel by itself.
	DepthwiseF32  func(*DepthwiseF32)
	DepthwiseU8S8 func(*DepthwiseU8S8)
	// DepthwisePlanes is the same over planes, with windows of 3x3.
	DepthwisePlanes func(*DepthwisePlanes)
	// PoolMax and PoolSum reduce the taps of a window, channel by channel.
	PoolMax, PoolSum func(*Pool)

	// Add, Sub, Mul, Div, Max and Min are dst[i] = a[i] op b[i]. Max and Min
	// give NaN where either operand is.
	Add, Sub, Mul, Div, Max, Min func(dst, a, b []float32)
	// CopyRows copies n elements of each of so many rows, which begin dstStep
	// and aStep apart; AddRows adds those of b to them. dst may be a or b, if
	// the steps are equal.
	CopyRows func(dst []float32, dstStep int, a []float32, aStep, rows, n int)
	AddRows  func(dst []float32, dstStep int, a []float32, aStep int, b []float32, bStep, rows, n int)
	// AddScalar and MulScalar are dst[i] = a[i] op c.
	AddScalar, MulScalar func(dst, a []float32, c float32)

	// Clamp is min(max(src[i], lo), hi), keeping NaN: Relu, Relu6 and Clip.
	Clamp func(dst, src []float32, lo, hi float32)
	// LeakyRelu is src[i], times slope where negative.
	LeakyRelu func(dst, src []float32, slope float32)
	// HardSigmoid is min(max(alpha*src[i]+beta, 0), 1).
	HardSigmoid func(dst, src []float32, alpha, beta float32)
	// HardSwish is x * min(max(x/6+1/2, 0), 1).
	HardSwish func(dst, src []float32)
	// Exp, Log, Tanh, Sigmoid and Erf are within 4 units in the last place of
	// the true value, or 1e-7 of it where that is more.
	Exp, Log, Tanh, Sigmoid, Erf func(dst, src []float32)
	// Gelu is x/2 * (1 + erf(x/sqrt 2)); GeluTanh is its approximation
	// x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
	Gelu, GeluTanh func(dst, src []float32)
	// Silu is x * sigmoid(x).
	Silu func(dst, src []float32)
	// Sqrt is the square root.
	Sqrt func(dst, src []float32)

	// Sum, SumSquares, RowMax and RowMin reduce a row to one value; the last
	// two give NaN if the row has one, and -Inf or +Inf for an empty row.
	Sum, SumSquares, RowMax, RowMin func(src []float32) float32
	// Softmax is exp(src[i]-max) / sum of the same over the row.
	Softmax func(dst, src []float32)
	// LayerNorm is (x-mean)/sqrt(variance+eps) * gamma[i] + beta[i] over the
	// row; gamma and beta may be nil.
	LayerNorm func(dst, src, gamma, beta []float32, eps float32)
	// RMSNorm is x/sqrt(mean of x*x + eps) * gamma[i]; gamma may be nil.
	RMSNorm func(dst, src, gamma []float32, eps float32)

	// QuantizeU8 and QuantizeS8 are round(src[i]/scale) + zero, rounding half
	// to even, saturated to the type. NaN gives the least value of the type.
	QuantizeU8 func(dst []uint8, src []float32, scale float32, zero uint8)
	QuantizeS8 func(dst []int8, src []float32, scale float32, zero int8)
	// DequantizeU8 and DequantizeS8 are float32(src[i]-zero) * scale.
	DequantizeU8 func(dst []float32, src []uint8, scale float32, zero uint8)
	DequantizeS8 func(dst []float32, src []int8, scale float32, zero int8)

	// Lookup is dst[i] = table[src[i]]: any function of one byte.
	Lookup func(dst, src []uint8, table *[256]uint8)
	// MaxU8 is dst[i] = max(a[i], b[i]); MaxS8 is that of bytes that hold int8.
	MaxU8, MaxS8 func(dst, a, b []uint8)
	// CountU8 is dst[i] += src[i].
	CountU8 func(dst []int32, src []uint8)

	// F16ToF32, F32ToF16, BF16ToF32 and F32ToBF16 convert half floats, given
	// as bits, rounding half to even.
	F16ToF32  func(dst []float32, src []uint16)
	F32ToF16  func(dst []uint16, src []float32)
	BF16ToF32 func(dst []float32, src []uint16)
	F32ToBF16 func(dst []uint16, src []float32)

	// PeakF32 does nothing but independent float32 multiply-accumulates in
	// registers, and returns how many: the measure of all other kernels.
	PeakF32 func(rounds int) int
	// PeakI8 is the same for the products of bytes that the table is best at.
	PeakI8 func(rounds int) int
}

// Generic returns the portable table.
func Generic() *Table {
	const mr, nr = 4, 8
	return &Table{
		Name: "generic",
		GemmF32: GemmF32{
			Name: "gemm_f32_4x8_go", MR: mr, NR: nr,
			Tile: func(t *TileF32) { gemmF32Tile(t, nr) },
		},
		GemmU8S8:    portableI8("gemm_u8s8_4x8_go", Quad, false, false),
		GemmS8S8:    portableI8("gemm_s8s8_4x8_go", Quad, true, false),
		GemmU8S8Fit: portableI8("gemm_u8s8_4x8_go", Quad, false, false),
		GemmS8S8Fit: portableI8("gemm_s8s8_4x8_go", Quad, true, false),

		GemvF16: gemvHalves(fromF16), GemvBF16: gemvHalves(fromBF16),
		Gemv: gemv, Axpy: axpy, Transpose: transpose,
		GemvQ4: gemvQ4, GemvQ8: gemvQ8, DequantQ4: dequantQ4, DequantQ8: dequantQ8,
		SparseRows: sparseRows, SparseBlocks: sparseBlocks,
		SparseRowsI8: sparseI8(1), SparseBlocksI8: sparseI8(4), SparseI8Cost: 4,
		GatherU8: gatherU8, ScatterU8: scatterU8,
		WinogradInput: winogradInput, WinogradOutput: winogradOutput,
		DepthwiseF32: depthwiseF32, DepthwiseU8S8: depthwiseU8S8, DepthwisePlanes: depthwisePlanes,
		PoolMax: poolMax, PoolSum: poolSum,

		Add: add, Sub: sub, Mul: mul, Div: div, Max: maxOf, Min: minOf,
		CopyRows: copyRows, AddRows: addRows,
		AddScalar: addScalar, MulScalar: mulScalar,

		Clamp: clampAll, LeakyRelu: leakyRelu, HardSigmoid: hardSigmoid, HardSwish: hardSwish,
		Exp: mapping(exp), Log: mapping(log), Tanh: mapping(tanh), Sigmoid: mapping(sigmoid), Erf: mapping(erf),
		Gelu: mapping(gelu), GeluTanh: mapping(geluTanh), Silu: mapping(silu), Sqrt: mapping(sqrt),

		Sum: sum, SumSquares: sumSquares, RowMax: rowMax, RowMin: rowMin,
		Softmax: softmax, LayerNorm: layerNorm, RMSNorm: rmsNorm,

		QuantizeU8: quantizeU8, QuantizeS8: quantizeS8,
		DequantizeU8: dequantizeU8, DequantizeS8: dequantizeS8,
		Lookup: lookup, MaxU8: maxU8, MaxS8: maxS8, CountU8: countU8,
		F16ToF32: f16ToF32, F32ToF16: f32ToF16, BF16ToF32: bf16ToF32, F32ToBF16: f32ToBF16,
		PeakF32: peakF32, PeakI8: peakI8,
	}
}

// Saturating returns the portable table with the uint8 by int8 products of a
// CPU that adds pairs of them with saturation (AVX2 without VNNI), so that
// what such a CPU computes can be seen on any other.
func Saturating() *Table {
	t := Generic()
	t.Name = "generic-saturating"
	t.GemmU8S8 = portableI8("gemm_u8s8_4x8_saturating_go", Quad, false, true)
	t.GemmU8S8Fit = t.GemmU8S8
	return t
}
