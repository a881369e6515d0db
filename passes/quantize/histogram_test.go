package quantize

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// TestHistogramOrder counts the same numbers in several orders and parts.
func TestHistogramOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 5000)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * math.Exp(float64(i)/1000))
	}
	whole := newHistogram()
	whole.add(x)
	parts := newHistogram()
	rng.Shuffle(len(x), func(i, j int) { x[i], x[j] = x[j], x[i] })
	for c := range slices.Chunk(x, 700) {
		h := newHistogram()
		h.add(c)
		parts.merge(h)
	}
	if parts.min != whole.min || parts.max != whole.max || parts.exp != whole.exp || parts.count != whole.count {
		t.Errorf("parts have [%v,%v] 2^%d %d, the whole [%v,%v] 2^%d %d",
			parts.min, parts.max, parts.exp, parts.count, whole.min, whole.max, whole.exp, whole.count)
	}
	if !slices.Equal(parts.bins, whole.bins) {
		t.Error("the bins differ")
	}
}

func TestHistogramOddNumbers(t *testing.T) {
	h := newHistogram()
	inf := float32(math.Inf(1))
	h.add([]float32{inf, -inf, float32(math.NaN())})
	h.add(nil)
	if h.count != 0 {
		t.Errorf("counted %d numbers that are none", h.count)
	}
	h.add([]float32{0, 0, 1e-30, -3, inf})
	if h.min != -3 || h.count != 4 {
		t.Errorf("min %v, count %d, want -3 and 4", h.min, h.count)
	}
}

func TestPercentile(t *testing.T) {
	h := newHistogram()
	x := make([]float32, 1000)
	for i := range x {
		x[i] = float32(i)
	}
	h.add(x)
	if lo, hi := h.percentile(0.9); math.Abs(lo-100) > 2 || math.Abs(hi-900) > 2 {
		t.Errorf("bounds are %v and %v, want about 100 and 900", lo, hi)
	}
	if lo, hi := h.percentile(1); lo != 0 || hi != 999 {
		t.Errorf("bounds are %v and %v, want the extremes", lo, hi)
	}
}

// TestLeastSquares gives an outlier to a heap of small numbers: with few levels
// it is clipped, with many it is kept.
func TestLeastSquares(t *testing.T) {
	h := newHistogram()
	x := make([]float32, 10000)
	for i := range x {
		x[i] = float32(i%100) / 100
	}
	x[0] = 2
	h.add(x)
	if _, hi := h.leastSquares(15); hi > 1.5 {
		t.Errorf("with 16 levels the bound is %v, want the outlier clipped", hi)
	}
	if _, hi := h.leastSquares(65535); hi < 1.9 {
		t.Errorf("with 65536 levels the bound is %v, want the outlier kept", hi)
	}
}

func TestActivationParams(t *testing.T) {
	for _, c := range []struct{ lo, hi float64 }{{0, 6}, {-1, 3}, {2, 5}, {-4, -1}, {-1e-3, 1e5}} {
		p := activationParams(c.lo, c.hi)
		lo, hi := p.bounds()
		step := float64(p.scale)
		if lo > min(c.lo, 0)+step || hi < max(c.hi, 0)-step || p.quantize(0) != p.zero {
			t.Errorf("[%v,%v]: parameters %+v cover [%v,%v]", c.lo, c.hi, p, lo, hi)
		}
		// The last bits of what was observed do not matter.
		if q := activationParams(c.lo*(1-1e-9), c.hi*(1-1e-9)); q != p {
			t.Errorf("[%v,%v]: parameters %+v turn to %+v", c.lo, c.hi, p, q)
		}
	}
	if p := activationParams(0, 0); p.scale != 1 || p.zero != 0 {
		t.Errorf("nothing but zero gives %+v", p)
	}
}

// TestNoSaturation holds weights to the promise that no pair of products with
// 255 leaves 16 bits, in either order of the taps.
func TestNoSaturation(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	s := tensor.Shape{8, 6, 3, 3}
	x := make([]float32, s.Len())
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	w := tensor.Of(s, x)
	n := convNode(t)
	e := &emitter{saturates: true}
	scales := weightScales(e.peaks(n, w, 0), nil)
	q := tensor.Data[int8](quantizeWeight(w, 0, scales))
	largest := 0
	for _, order := range pairings(n, w) {
		for c := range s[0] {
			at := order(c)
			for k := 1; k < len(at); k++ {
				sum := 255 * (int(q[at[k-1]]) + int(q[at[k]]))
				if sum != int(int16(sum)) {
					t.Fatalf("channel %d: a pair adds up to %d", c, sum)
				}
			}
		}
	}
	for _, v := range q {
		largest = max(largest, int(v), -int(v))
	}
	if largest <= 64 {
		t.Errorf("no weight exceeds %d: nothing is gained over seven bits", largest)
	}
}
