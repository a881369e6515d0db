//go:build !purego

package simd

import "github.com/onnxpack/onnxpack/graph/kernel"

// vectorsAVX2 replaces the kernels over plain rows of float32.
func vectorsAVX2(t *kernel.Table) {
	t.Add = binary(add_f32_avx2)
	t.Sub = binary(sub_f32_avx2)
	t.Mul = binary(mul_f32_avx2)
	t.Div = binary(div_f32_avx2)
	t.Max = binary(max_f32_avx2)
	t.Min = binary(min_f32_avx2)
	t.Exp = unary(exp_f32_avx2)
	t.Log = unary(log_f32_avx2)
	t.Tanh = unary(tanh_f32_avx2)
	t.Sigmoid = unary(sigmoid_f32_avx2)
	t.Erf = unary(erf_f32_avx2)
	t.Gelu = unary(gelu_f32_avx2)
	t.GeluTanh = unary(gelutanh_f32_avx2)
	t.Silu = unary(silu_f32_avx2)
	t.HardSwish = unary(hardswish_f32_avx2)
	t.Sqrt = unary(sqrt_f32_avx2)
	t.AddScalar = unary1(addscalar_f32_avx2)
	t.MulScalar = unary1(mulscalar_f32_avx2)
	t.LeakyRelu = unary1(leakyrelu_f32_avx2)
	t.Axpy = unary1(axpy_f32_avx2)
	t.CopyRows, t.AddRows = copyRows(copyrows_f32_avx2), addRows(addrows_f32_avx2)
	t.Clamp = unary2(clamp_f32_avx2)
	t.HardSigmoid = unary2(hardsigmoid_f32_avx2)
	t.Transpose = transposer(transpose_f32_8x8_avx2, t.Transpose)
	quantizers(t, 8, quantize_8_avx2)
	t.DequantizeU8 = dequantizer(8, dequantize_u8_avx2, t.DequantizeU8)
	t.DequantizeS8 = dequantizer(8, dequantize_s8_avx2, t.DequantizeS8)
	t.Lookup, t.MaxU8 = lookup(32, lookup_u8_avx2, t.Lookup), zipBytes(32, max_u8_avx2, t.MaxU8)
	t.MaxS8 = zipBytes(32, max_s8_avx2, t.MaxS8)
	t.CountU8 = converter(8, count_u8_avx2, t.CountU8)
	t.F16ToF32, t.F32ToF16 = converter(8, f16tof32_avx2, t.F16ToF32), converter(8, f32tof16_avx2, t.F32ToF16)
	t.BF16ToF32, t.F32ToBF16 = converter(8, bf16tof32_avx2, t.BF16ToF32), converter(8, f32tobf16_avx2, t.F32ToBF16)
	t.WinogradInput, t.WinogradOutput = winograd_in_f32_avx2, winograd_out_f32_avx2
	t.SparseRows, t.SparseBlocks = sparse(1, sparse_csr_f32_avx2), sparse(4, sparse_4x1_f32_avx2)
	t.SparseRowsI8, t.SparseBlocksI8 = sparseI8(1, sparse_csr_u8s8_avx2, t.SparseRowsI8), sparseI8(4, sparse_4x1_u8s8_avx2, t.SparseBlocksI8)
	t.GatherU8, t.ScatterU8 = gatherU8(8, 16, gather_u8_avx2, t.GatherU8), scatterU8(16, 8, scatter_u8_avx2, t.ScatterU8)
	t.GemvQ4 = gemvQuantized(16, gemv_q4_avx2, t.GemvQ4)
	t.GemvQ8 = gemvQuantized(8, gemv_q8_avx2, t.GemvQ8)
	t.DequantQ4, t.DequantQ8 = dequantQ4(dequant_q4_avx2), dequantQ8(t)
	t.PeakF32, t.PeakI8 = peak_f32_avx2, peak_i8_avx2
	t.Gemv = gemv(gemv_f32_avx2)
	t.GemvF16, t.GemvBF16 = gemv(gemv_f16_avx2), gemv(gemv_bf16_avx2)
	t.DepthwiseF32 = depthwiseF32(depthwise_f32_avx2, depthwise_f32_3x3_avx2)
	t.DepthwisePlanes = depthwisePlanes(depthwise_planes_s1_avx2, depthwise_planes_s2_avx2)
	t.DepthwiseU8S8 = depthwiseU8S8(8, depthwise_u8s8_avx2, t.DepthwiseU8S8)
	t.DepthwiseU8S8 = upToTaps(32, depthwiseU8S8(32, depthwise_u8s8_pair_avx2, t.DepthwiseU8S8), t.DepthwiseU8S8)
	t.PoolMax, t.PoolSum = pool(poolmax_f32_avx2), pool(poolsum_f32_avx2)
	t.Sum = fold(sum_f32_avx2, plus)
	t.RowMax = fold(rowmax_f32_avx2, greater)
	t.RowMin = fold(rowmin_f32_avx2, lesser)
	r := rows{
		sum: t.Sum, max: t.RowMax, squares: sumsquares_f32_avx2, softmaxExp: softmaxexp_f32_avx2,
		scale: t.MulScalar, normalize: normalize_f32_avx2,
		normalizeScaled: normalizescaled_f32_avx2, normalizeAffine: normalizeaffine_f32_avx2,
	}
	t.SumSquares = func(src []float32) float32 { return r.sumSquares(src, 0) }
	t.Softmax, t.LayerNorm, t.RMSNorm = r.softmax, r.layerNorm, r.rmsNorm
}

// vectorsAVX512 replaces the kernels over plain rows of float32.
func vectorsAVX512(t *kernel.Table) {
	t.Add = binary(add_f32_avx512)
	t.Sub = binary(sub_f32_avx512)
	t.Mul = binary(mul_f32_avx512)
	t.Div = binary(div_f32_avx512)
	t.Max = binary(max_f32_avx512)
	t.Min = binary(min_f32_avx512)
	t.Exp = unary(exp_f32_avx512)
	t.Log = unary(log_f32_avx512)
	t.Tanh = unary(tanh_f32_avx512)
	t.Sigmoid = unary(sigmoid_f32_avx512)
	t.Erf = unary(erf_f32_avx512)
	t.Gelu = unary(gelu_f32_avx512)
	t.GeluTanh = unary(gelutanh_f32_avx512)
	t.Silu = unary(silu_f32_avx512)
	t.HardSwish = unary(hardswish_f32_avx512)
	t.Sqrt = unary(sqrt_f32_avx512)
	t.AddScalar = unary1(addscalar_f32_avx512)
	t.MulScalar = unary1(mulscalar_f32_avx512)
	t.LeakyRelu = unary1(leakyrelu_f32_avx512)
	t.Axpy = unary1(axpy_f32_avx512)
	t.CopyRows, t.AddRows = copyRows(copyrows_f32_avx512), addRows(addrows_f32_avx512)
	t.Clamp = unary2(clamp_f32_avx512)
	t.HardSigmoid = unary2(hardsigmoid_f32_avx512)
	quantizers(t, 16, quantize_8_avx512)
	t.DequantizeU8 = dequantizer(16, dequantize_u8_avx512, t.DequantizeU8)
	t.DequantizeS8 = dequantizer(16, dequantize_s8_avx512, t.DequantizeS8)
	t.Lookup, t.MaxU8 = lookup(64, lookup_u8_avx512, t.Lookup), zipBytes(64, max_u8_avx512, t.MaxU8)
	t.MaxS8 = zipBytes(64, max_s8_avx512, t.MaxS8)
	t.CountU8 = converter(16, count_u8_avx512, t.CountU8)
	t.F16ToF32, t.F32ToF16 = converter(16, f16tof32_avx512, t.F16ToF32), converter(16, f32tof16_avx512, t.F32ToF16)
	t.BF16ToF32, t.F32ToBF16 = converter(16, bf16tof32_avx512, t.BF16ToF32), converter(16, f32tobf16_avx512, t.F32ToBF16)
	t.WinogradInput, t.WinogradOutput = winograd_in_f32_avx512, winograd_out_f32_avx512
	t.SparseRows, t.SparseBlocks = sparse(1, sparse_csr_f32_avx512), sparse(4, sparse_4x1_f32_avx512)
	t.GemvQ4 = gemvQuantized(32, gemv_q4_avx512, t.GemvQ4)
	t.GemvQ8 = gemvQuantized(16, gemv_q8_avx512, t.GemvQ8)
	t.PeakF32, t.PeakI8 = peak_f32_avx512, peak_i8_avx512
	t.Gemv = gemv(gemv_f32_avx512)
	t.DepthwiseF32 = depthwiseF32(depthwise_f32_avx512, depthwise_f32_3x3_avx512)
	t.DepthwiseU8S8 = depthwiseU8S8(16, depthwise_u8s8_avx512, t.DepthwiseU8S8)
	t.DepthwiseU8S8 = upToTaps(32, depthwiseU8S8(64, depthwise_u8s8_pair_avx512, t.DepthwiseU8S8), t.DepthwiseU8S8)
	t.PoolMax, t.PoolSum = pool(poolmax_f32_avx512), pool(poolsum_f32_avx512)
	t.Sum = fold(sum_f32_avx512, plus)
	t.RowMax = fold(rowmax_f32_avx512, greater)
	t.RowMin = fold(rowmin_f32_avx512, lesser)
	r := rows{
		sum: t.Sum, max: t.RowMax, squares: sumsquares_f32_avx512, softmaxExp: softmaxexp_f32_avx512,
		scale: t.MulScalar, normalize: normalize_f32_avx512,
		normalizeScaled: normalizescaled_f32_avx512, normalizeAffine: normalizeaffine_f32_avx512,
	}
	t.SumSquares = func(src []float32) float32 { return r.sumSquares(src, 0) }
	t.Softmax, t.LayerNorm, t.RMSNorm = r.softmax, r.layerNorm, r.rmsNorm
}
