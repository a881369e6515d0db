package kernel

import "math"

func sum(src []float32) float32 {
	acc := float64(0)
	for _, v := range src {
		acc += float64(v)
	}
	return float32(acc)
}

func sumSquares(src []float32) float32 {
	acc := float64(0)
	for _, v := range src {
		acc += float64(v) * float64(v)
	}
	return float32(acc)
}

func rowMax(src []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range src {
		m = max(m, v)
	}
	return m
}

func rowMin(src []float32) float32 {
	m := float32(math.Inf(1))
	for _, v := range src {
		m = min(m, v)
	}
	return m
}

func softmax(dst, src []float32) {
	m := rowMax(src)
	total := float64(0)
	for i, v := range src {
		dst[i] = float32(math.Exp(float64(v) - float64(m)))
		total += float64(dst[i])
	}
	for i := range src {
		dst[i] = float32(float64(dst[i]) / total)
	}
}

func layerNorm(dst, src, gamma, beta []float32, eps float32) {
	n := float64(len(src))
	mean := float64(0)
	for _, v := range src {
		mean += float64(v) / n
	}
	variance := float64(0)
	for _, v := range src {
		d := float64(v) - mean
		variance += d * d / n
	}
	scaleRow(dst, src, gamma, beta, mean, 1/math.Sqrt(variance+float64(eps)))
}

func rmsNorm(dst, src, gamma []float32, eps float32) {
	n := float64(len(src))
	square := float64(0)
	for _, v := range src {
		square += float64(v) * float64(v) / n
	}
	scaleRow(dst, src, gamma, nil, 0, 1/math.Sqrt(square+float64(eps)))
}

func scaleRow(dst, src, gamma, beta []float32, mean, inv float64) {
	for i, v := range src {
		y := (float64(v) - mean) * inv
		if gamma != nil {
			y *= float64(gamma[i])
		}
		if beta != nil {
			y += float64(beta[i])
		}
		dst[i] = float32(y)
	}
}
