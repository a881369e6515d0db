package train

import (
	"math"
	"math/rand/v2"
)

// What random numbers are drawn for; each purpose has streams of its own, so
// that one more draw here does not shift the numbers there.
const (
	forOrder uint64 = iota + 1
	forMixup
	forAugment
	forDropout
	forLoRA
)

// stream returns the random numbers of one purpose at one point of a run.
func stream(seed, purpose uint64, at ...int) *rand.Rand {
	h := purpose * 0x9e3779b97f4a7c15
	for _, x := range at {
		h ^= uint64(x) + 0x9e3779b97f4a7c15 + h<<6 + h>>2
	}
	return rand.New(rand.NewPCG(seed, h))
}

// beta draws from the Beta(a, a) distribution, as the ratio of two Gamma
// variables.
func beta(r *rand.Rand, a float64) float64 {
	x, y := gamma(r, a), gamma(r, a)
	if x+y == 0 {
		return 0.5
	}
	return x / (x + y)
}

// gamma draws from the Gamma(a, 1) distribution (Marsaglia and Tsang 2000).
func gamma(r *rand.Rand, a float64) float64 {
	if a < 1 {
		return gamma(r, a+1) * math.Pow(r.Float64(), 1/a)
	}
	d := a - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if u := r.Float64(); math.Log(u) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
