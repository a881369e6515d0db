package op

import "github.com/onnxpack/onnxpack/graph/kernel"

// Arithmetic over rows of reals, in vectors where these are float32.

// rowSum is the sum of a row.
func rowSum[T real](k *kernel.Table, x []T) T {
	if f, ok := any(x).([]float32); ok {
		return T(k.Sum(f))
	}
	s := T(0)
	for _, v := range x {
		s += v
	}
	return s
}

// rowDot is the sum of the products of two rows of equal length.
func rowDot[T real](k *kernel.Table, a, b []T) T {
	if f, ok := any(a).([]float32); ok {
		var y [1]float32
		k.Gemv(y[:], f, any(b).([]float32), len(a))
		return T(y[0])
	}
	s := T(0)
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// axpy adds a times x to dst.
func axpy[T real](k *kernel.Table, dst, x []T, a T) {
	if f, ok := any(dst).([]float32); ok {
		k.Axpy(f, any(x).([]float32), float32(a))
		return
	}
	for i, v := range x {
		dst[i] += a * v
	}
}

// addScalar sets dst to x + a.
func addScalar[T real](k *kernel.Table, dst, x []T, a T) {
	if f, ok := any(dst).([]float32); ok {
		k.AddScalar(f, any(x).([]float32), float32(a))
		return
	}
	for i, v := range x {
		dst[i] = v + a
	}
}

// mulScalar sets dst to x * a.
func mulScalar[T real](k *kernel.Table, dst, x []T, a T) {
	if f, ok := any(dst).([]float32); ok {
		k.MulScalar(f, any(x).([]float32), float32(a))
		return
	}
	for i, v := range x {
		dst[i] = v * a
	}
}
