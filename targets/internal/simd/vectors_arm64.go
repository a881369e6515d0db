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
	portable := t.Clamp
	t.Clamp = unary2(func(dst, src []float32, lo, hi float32) {
		whole := len(dst) &^ 3
		clamp_f32_neon(dst[:whole], src, lo, hi)
		portable(dst[whole:], src[whole:], lo, hi)
	})
	rest := t.Sum
	t.Sum = fold(func(src []float32) float32 {
		whole := len(src) &^ 3
		return sum_f32_neon(src[:whole]) + rest(src[whole:])
	}, plus)
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
