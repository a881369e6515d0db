//go:build !purego

package simd

import "github.com/onnxpack/onnxpack/graph/kernel"

// vectorsNEON replaces kernels over plain rows of float32. The assembly takes
// whole vectors; the portable rows do what is left.
func vectorsNEON(t *kernel.Table) {
	t.Add, t.Sub = wholeZip(add_f32_neon, t.Add), wholeZip(sub_f32_neon, t.Sub)
	t.Mul, t.Div = wholeZip(mul_f32_neon, t.Mul), wholeZip(div_f32_neon, t.Div)
	t.Max, t.Min = wholeZip(max_f32_neon, t.Max), wholeZip(min_f32_neon, t.Min)
	t.AddScalar, t.MulScalar = wholeScalar(addscalar_f32_neon, t.AddScalar), wholeScalar(mulscalar_f32_neon, t.MulScalar)
	t.Axpy = wholeScalar(axpy_f32_neon, t.Axpy)
	t.Sqrt, t.Exp = converter(4, sqrt_f32_neon, t.Sqrt), converter(4, exp_f32_neon, t.Exp)
	t.Sigmoid, t.Silu = converter(4, sigmoid_f32_neon, t.Sigmoid), converter(4, silu_f32_neon, t.Silu)
	bytesNEON(t)
	windowsNEON(t)
	t.SparseRows, t.SparseBlocks = sparse(1, sparse_csr_f32_neon), sparse(4, sparse_4x1_f32_neon)
	t.Gemv = gemv(gemv_f32_neon)
	t.GemvQ4, t.GemvQ8 = gemvQuantized(16, gemv_q4_neon, t.GemvQ4), gemvQuantized(16, gemv_q8_neon, t.GemvQ8)
	t.DequantQ4, t.DequantQ8 = dequantQ4(dequant_q4_neon), dequantQ8(t)
	portable := t.Clamp
	t.Clamp = unary2(func(dst, src []float32, lo, hi float32) {
		whole := len(dst) &^ 3
		clamp_f32_neon(dst[:whole], src, lo, hi)
		portable(dst[whole:], src[whole:], lo, hi)
	})
	t.HardSwish, t.Log = converter(4, hardswish_f32_neon, t.HardSwish), converter(4, log_f32_neon, t.Log)
	t.Tanh, t.Erf = converter(4, tanh_f32_neon, t.Tanh), converter(4, erf_f32_neon, t.Erf)
	t.Gelu, t.GeluTanh = converter(4, gelu_f32_neon, t.Gelu), converter(4, gelutanh_f32_neon, t.GeluTanh)
	t.LeakyRelu = wholeScalar(leakyrelu_f32_neon, t.LeakyRelu)
	hardSigmoid := t.HardSigmoid
	t.HardSigmoid = unary2(func(dst, src []float32, alpha, beta float32) {
		whole := len(dst) &^ 3
		hardsigmoid_f32_neon(dst[:whole], src, alpha, beta)
		hardSigmoid(dst[whole:], src[whole:], alpha, beta)
	})
	rowsNEON(t)
}

// rowsNEON replaces the kernels that make one value of a row, and those made of
// them.
func rowsNEON(t *kernel.Table) {
	t.Sum = fold(wholeFold(sum_f32_neon, t.Sum, plus), plus)
	t.RowMax, t.RowMin = fold(wholeFold(rowmax_f32_neon, t.RowMax, greater), greater), fold(wholeFold(rowmin_f32_neon, t.RowMin, lesser), lesser)
	r := rows{sum: t.Sum, max: t.RowMax, scale: t.MulScalar}
	r.squares = func(src []float32, mean float32) float32 {
		whole := len(src) &^ 3
		total := sumsquares_f32_neon(src[:whole], mean)
		for _, v := range src[whole:] {
			total += (v - mean) * (v - mean)
		}
		return total
	}
	exp := t.Exp
	r.softmaxExp = func(dst, src []float32, max float32) float32 {
		const some = 1024 // whose sum in four lanes is exact enough
		total := float64(0)
		for len(dst) > some {
			total += float64(softmaxexp_f32_neon(dst[:some], src, max))
			dst, src = dst[some:], src[some:]
		}
		whole := len(dst) &^ 3
		total += float64(softmaxexp_f32_neon(dst[:whole], src, max))
		for i := whole; i < len(dst); i++ {
			dst[i] = src[i] - max
		}
		exp(dst[whole:], dst[whole:])
		for _, v := range dst[whole:] {
			total += float64(v)
		}
		return float32(total)
	}
	r.normalize = func(dst, src []float32, mean, inv float32) {
		whole := len(dst) &^ 3
		normalize_f32_neon(dst[:whole], src, mean, inv)
		for i := whole; i < len(dst); i++ {
			dst[i] = (src[i] - mean) * inv
		}
	}
	r.normalizeScaled = func(dst, src, gamma []float32, mean, inv float32) {
		whole := len(dst) &^ 3
		normalizescaled_f32_neon(dst[:whole], src, gamma, mean, inv)
		for i := whole; i < len(dst); i++ {
			dst[i] = (src[i] - mean) * inv * gamma[i]
		}
	}
	r.normalizeAffine = func(dst, src, gamma, beta []float32, mean, inv float32) {
		whole := len(dst) &^ 3
		normalizeaffine_f32_neon(dst[:whole], src, gamma, beta, mean, inv)
		for i := whole; i < len(dst); i++ {
			dst[i] = (src[i]-mean)*inv*gamma[i] + beta[i]
		}
	}
	t.SumSquares = func(src []float32) float32 { return r.sumSquares(src, 0) }
	t.Softmax, t.LayerNorm, t.RMSNorm = r.softmax, r.layerNorm, r.rmsNorm
}

func wholeFold(f, rest func(src []float32) float32, join func(a, b float32) float32) func(src []float32) float32 {
	return func(src []float32) float32 {
		whole := len(src) &^ 3
		return join(f(src[:whole]), rest(src[whole:]))
	}
}

func wholeZip(f, rest func(dst, a, b []float32)) func(dst, a, b []float32) {
	return binary(func(dst, a, b []float32) {
		whole := len(dst) &^ 3
		f(dst[:whole], a, b)
		rest(dst[whole:], a[whole:], b[whole:])
	})
}

func wholeScalar(f, rest func(dst, src []float32, c float32)) func(dst, src []float32, c float32) {
	return unary1(func(dst, src []float32, c float32) {
		whole := len(dst) &^ 3
		f(dst[:whole], src, c)
		rest(dst[whole:], src[whole:], c)
	})
}

// bytesNEON replaces kernels over rows of bytes and of half floats.
func bytesNEON(t *kernel.Table) {
	quantizers(t, 8, quantize_8_neon)
	t.DequantizeU8 = dequantizer(8, dequantize_u8_neon, t.DequantizeU8)
	t.DequantizeS8 = dequantizer(8, dequantize_s8_neon, t.DequantizeS8)
	t.Lookup, t.CountU8 = lookup(16, lookup_u8_neon, t.Lookup), converter(8, count_u8_neon, t.CountU8)
	t.MaxU8, t.MaxS8 = zipBytes(16, max_u8_neon, t.MaxU8), zipBytes(16, max_s8_neon, t.MaxS8)
	t.F16ToF32, t.F32ToF16 = converter(8, f16tof32_neon, t.F16ToF32), converter(8, f32tof16_neon, t.F32ToF16)
	t.BF16ToF32, t.F32ToBF16 = converter(8, bf16tof32_neon, t.BF16ToF32), converter(8, f32tobf16_neon, t.F32ToBF16)
}

// windowsNEON replaces kernels over the windows of images.
func windowsNEON(t *kernel.Table) {
	t.DepthwiseU8S8 = depthwiseU8S8(8, depthwise_u8s8_neon, t.DepthwiseU8S8)
	f := wholeDepthwise(depthwise_f32_neon, t.DepthwiseF32)
	t.DepthwiseF32 = depthwiseF32(f, f)
	t.PoolMax, t.PoolSum = pool(wholePool(poolmax_f32_neon, t.PoolMax)), pool(wholePool(poolsum_f32_neon, t.PoolSum))
}

// wholeDepthwise and wholePool leave channels beyond the last whole vector to
// rest.
func wholeDepthwise(f, rest func(*kernel.DepthwiseF32)) func(*kernel.DepthwiseF32) {
	return func(d *kernel.DepthwiseF32) {
		whole := *d
		d.C = whole.C &^ 3
		if f(d); d.C < whole.C {
			done := d.C
			d.C = whole.C - done
			d.In, d.Weights, d.Out = d.In[done:], d.Weights[done:], d.Out[done:]
			if d.Bias != nil {
				d.Bias = d.Bias[done:]
			}
			if d.Res != nil {
				d.Res = d.Res[done:]
			}
			rest(d)
		}
		*d = whole
	}
}

func wholePool(f, rest func(*kernel.Pool)) func(*kernel.Pool) {
	return func(p *kernel.Pool) {
		whole := *p
		p.C = whole.C &^ 3
		if f(p); p.C < whole.C {
			done := p.C
			p.C = whole.C - done
			p.In, p.Out = p.In[done:], p.Out[done:]
			rest(p)
		}
		*p = whole
	}
}
