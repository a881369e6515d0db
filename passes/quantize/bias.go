package quantize

import (
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// channelMeans are the means of a value over all but its channels.
type channelMeans struct {
	sums  []float64
	count int // elements of each channel
}

// add counts a tensor whose channels lie on the given axis.
func (m *channelMeans) add(t *tensor.Tensor, axis int) {
	n, run := t.Shape()[axis], t.Shape()[axis+1:].Len()
	if m.sums == nil {
		m.sums = make([]float64, n)
	}
	if n != len(m.sums) || t.Len() == 0 {
		return
	}
	x := tensor.Data[float32](t)
	for c := 0; len(x) > 0; c = (c + 1) % n {
		sum := 0.0
		for _, v := range x[:run] {
			sum += float64(v)
		}
		m.sums[c] += sum
		x = x[run:]
	}
	m.count += t.Len() / n
}

// mean returns the mean of channel c.
func (m *channelMeans) mean(c int) float64 { return m.sums[c] / float64(max(1, m.count)) }

// biasCorrection returns what has to be added to each output channel so that
// the quantized weight scales[c]*q gives the same mean as w, when input
// channel in(i), which element i of the weight multiplies, has the given mean.
// (Nagel et al. 2019, arXiv 1906.04721, section 4.2.)
func biasCorrection(w, q *tensor.Tensor, axis int, scales []float32, in func(i int) int, means *channelMeans) []float64 {
	out, n := channelOf(w.Shape(), axis)
	codes := tensor.Data[int8](q)
	correction := make([]float64, n)
	for i, x := range tensor.Float64s(w) {
		c := out(i)
		scale := float64(scales[min(c, len(scales)-1)])
		correction[c] += (x - scale*float64(codes[i])) * means.mean(in(i))
	}
	return correction
}

// corrected returns bias + correction, where bias may be nil, which it stays if
// there is nothing to correct. The correction is
// rounded to a multiple of 16 units of the quantized bias, a fraction of a
// level of the result, so that it does not depend on the last bits of the means
// observed, which differ between CPUs.
func corrected(bias, correction []float64, scales []float32, x float32) []float64 {
	sum := make([]float64, len(correction))
	corrects := false
	for i, c := range correction {
		unit := 16 * float64(x*scales[min(i, len(scales)-1)])
		sum[i] = math.RoundToEven(c/unit) * unit
		corrects = corrects || sum[i] != 0
		if bias != nil {
			sum[i] += bias[i]
		}
	}
	if !corrects {
		return bias
	}
	return sum
}
