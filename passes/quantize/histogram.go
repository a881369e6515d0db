package quantize

import "math"

// halfBins is how many bins a histogram has on either side of zero.
const halfBins = 2048

// histogram counts numbers in bins of equal width around zero. The width is a
// power of two and doubles when a number lies outside, two bins becoming one,
// so that memory is bounded and the result does not depend on the order of
// the numbers.
type histogram struct {
	min, max float64
	exp      int // the width of a bin is 2^exp
	bins     []uint64
	count    uint64
}

func newHistogram() *histogram {
	return &histogram{min: math.Inf(1), max: math.Inf(-1), exp: math.MinInt32}
}

// width returns the width of a bin.
func (h *histogram) width() float64 { return math.Ldexp(1, h.exp) }

// add counts the elements of x; NaN and infinities are left out.
func (h *histogram) add(x []float32) {
	lo, hi := extremes(x)
	if lo > hi {
		return
	}
	h.min, h.max = min(h.min, lo), max(h.max, hi)
	h.reach(max(-lo, hi))
	inverse := float32(math.Ldexp(1, -h.exp))
	for _, v := range x {
		if v-v != 0 {
			continue
		}
		i := int(v*inverse + halfBins) // not negative, so this is the floor
		h.bins[min(i, len(h.bins)-1)]++
		h.count++
	}
}

// extremes returns the least and the largest finite number of x; the least is
// greater than the largest if there is none.
func extremes(x []float32) (lo, hi float64) {
	l, h := float32(math.Inf(1)), float32(math.Inf(-1))
	for _, v := range x {
		if v < l && v >= -math.MaxFloat32 {
			l = v
		}
		if v > h && v <= math.MaxFloat32 {
			h = v
		}
	}
	return float64(l), float64(h)
}

// reach widens the bins until numbers of magnitude m lie inside.
func (h *histogram) reach(m float64) {
	exp := -60 // numbers below are zero to any scale of interest
	if m > 0 {
		_, e := math.Frexp(m / halfBins)
		exp = max(exp, e)
	}
	if h.bins == nil {
		h.bins, h.exp = make([]uint64, 2*halfBins), exp
	}
	for h.exp < exp {
		h.halve()
	}
}

// halve doubles the width of the bins.
func (h *histogram) halve() {
	wide := make([]uint64, len(h.bins))
	for i, n := range h.bins {
		wide[(i-halfBins)>>1+halfBins] += n
	}
	h.bins = wide
	h.exp++
}

// merge adds what o counted.
func (h *histogram) merge(o *histogram) {
	if o.bins == nil {
		return
	}
	h.min, h.max = min(h.min, o.min), max(h.max, o.max)
	if h.bins == nil {
		h.bins, h.exp = make([]uint64, 2*halfBins), o.exp
	}
	for h.exp < o.exp {
		h.halve()
	}
	shift := h.exp - o.exp
	for i, n := range o.bins {
		h.bins[(i-halfBins)>>shift+halfBins] += n
	}
	h.count += o.count
}

// center returns the middle of bin i.
func (h *histogram) center(i int) float64 { return (float64(i-halfBins) + 0.5) * h.width() }

// percentile returns bounds outside which the share 1-p of the numbers lies
// on either side.
func (h *histogram) percentile(p float64) (lo, hi float64) {
	limit := uint64((1 - p) * float64(h.count))
	lo, hi = h.min, h.max
	var below, above uint64
	for i, n := range h.bins {
		if below += n; below > limit {
			lo = max(lo, h.center(i)-h.width()/2)
			break
		}
	}
	for i := len(h.bins) - 1; i >= 0; i-- {
		if above += h.bins[i]; above > limit {
			hi = min(hi, h.center(i)+h.width()/2)
			break
		}
	}
	return lo, hi
}

// leastSquares returns the bounds, zero inside, whose division into the given
// number of levels errs least in the mean square: numbers inside are rounded,
// which errs by step^2/12 in the mean, and numbers outside are clipped.
// The bounds are searched among fractions of the extremes.
func (h *histogram) leastSquares(levels float64) (lo, hi float64) {
	const fractions = 48
	min, max := min(h.min, 0), max(h.max, 0)
	outLow, outHigh := make([]float64, fractions), make([]float64, fractions)
	for i := range fractions {
		f := float64(i+1) / fractions
		outLow[i] = h.clipped(math.Inf(-1), min*f)
		outHigh[i] = h.clipped(max*f, math.Inf(1))
	}
	best := math.Inf(1)
	for i := range fractions {
		for j := range fractions {
			l, u := min*float64(i+1)/fractions, max*float64(j+1)/fractions
			step := (u - l) / levels
			if e := step*step/12*float64(h.count) + outLow[i] + outHigh[j]; e < best {
				best, lo, hi = e, l, u
			}
		}
	}
	return lo, hi
}

// clipped returns the sum of squares by which the numbers below hi, or above
// lo, miss the finite bound of the two.
func (h *histogram) clipped(lo, hi float64) float64 {
	sum := 0.0
	for i, n := range h.bins {
		if n == 0 {
			continue
		}
		c := h.center(i)
		switch {
		case math.IsInf(lo, -1) && c < hi:
			sum += float64(n) * (hi - c) * (hi - c)
		case math.IsInf(hi, 1) && c > lo:
			sum += float64(n) * (c - lo) * (c - lo)
		}
	}
	return sum
}
