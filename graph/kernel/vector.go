package kernel

import "math"

func gemv(dst, w, x []float32, ldw int) {
	for i := range dst {
		row := w[i*ldw:][:len(x)]
		acc := float64(0)
		for k, v := range x {
			acc += float64(row[k]) * float64(v)
		}
		dst[i] = float32(acc)
	}
}

func gemvHalves(widen func(uint16) float32) func(dst []float32, w []uint16, x []float32, ldw int) {
	return func(dst []float32, w []uint16, x []float32, ldw int) {
		for i := range dst {
			row := w[i*ldw:][:len(x)]
			acc := float64(0)
			for k, v := range x {
				acc += float64(widen(row[k])) * float64(v)
			}
			dst[i] = float32(acc)
		}
	}
}

func axpy(dst, x []float32, a float32) {
	for i, v := range x[:len(dst)] {
		dst[i] = fma32(a, v, dst[i])
	}
}

// transpose goes through square blocks, so that both sides stay in cache.
func transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	const side = 16
	for r0 := 0; r0 < rows; r0 += side {
		for c0 := 0; c0 < cols; c0 += side {
			for r := r0; r < min(r0+side, rows); r++ {
				for c := c0; c < min(c0+side, cols); c++ {
					dst[c*ldd+r] = src[r*lds+c]
				}
			}
		}
	}
}

func add(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func sub(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] - b[i]
	}
}

func mul(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

func div(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] / b[i]
	}
}

func maxOf(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = max(a[i], b[i])
	}
}

func minOf(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = min(a[i], b[i])
	}
}

func copyRows(dst []float32, dstStep int, a []float32, aStep, rows, n int) {
	for r := range rows {
		copy(dst[r*dstStep:][:n], a[r*aStep:][:n])
	}
}

func addRows(dst []float32, dstStep int, a []float32, aStep int, b []float32, bStep, rows, n int) {
	for r := range rows {
		add(dst[r*dstStep:][:n], a[r*aStep:], b[r*bStep:])
	}
}

func addScalar(dst, a []float32, c float32) {
	for i, v := range a[:len(dst)] {
		dst[i] = v + c
	}
}

func mulScalar(dst, a []float32, c float32) {
	for i, v := range a[:len(dst)] {
		dst[i] = v * c
	}
}

func clampAll(dst, src []float32, lo, hi float32) {
	for i, v := range src[:len(dst)] {
		dst[i] = clamp(v, lo, hi)
	}
}

func leakyRelu(dst, src []float32, slope float32) {
	for i, v := range src[:len(dst)] {
		if v < 0 {
			v *= slope
		}
		dst[i] = v
	}
}

func hardSigmoid(dst, src []float32, alpha, beta float32) {
	for i, v := range src[:len(dst)] {
		dst[i] = clamp(fma32(alpha, v, beta), 0, 1)
	}
}

func hardSwish(dst, src []float32) {
	for i, v := range src[:len(dst)] {
		dst[i] = v * clamp(fma32(1.0/6, v, 0.5), 0, 1)
	}
}

// mapping makes a kernel of a scalar function, computed in float64 and rounded
// once.
func mapping(f func(float64) float64) func(dst, src []float32) {
	return func(dst, src []float32) {
		for i, v := range src[:len(dst)] {
			dst[i] = float32(f(float64(v)))
		}
	}
}

func exp(x float64) float64  { return math.Exp(x) }
func log(x float64) float64  { return math.Log(x) }
func tanh(x float64) float64 { return math.Tanh(x) }
func erf(x float64) float64  { return math.Erf(x) }
func sqrt(x float64) float64 { return math.Sqrt(x) }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
func gelu(x float64) float64    { return x / 2 * math.Erfc(-x/math.Sqrt2) }

func geluTanh(x float64) float64 {
	return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

func silu(x float64) float64 { return x * sigmoid(x) }
