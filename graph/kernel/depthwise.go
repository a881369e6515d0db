package kernel

import (
	"fmt"
	"math"
)

// Tap is one position of a window: where its input lies, from the first
// element of the output pixel's window, and where its weights lie.
type Tap struct{ In, W int32 }

// Window places a run of output pixels of an NHWC image that share their taps:
// pixel x of W pixels reads In[x*InStep + tap.In + c] and writes
// Out[x*OutStep + c], for C channels c.
type Window struct {
	Taps            []Tap
	W, C            int
	InStep, OutStep int
}

// Check reports the first way in which slices of the given lengths do not hold
// what w addresses. A pool has no weights: its lenWeights is -1.
func (w *Window) Check(lenIn, lenWeights, lenOut int) error {
	if w.W <= 0 || w.C <= 0 {
		return nil
	}
	firstIn, lastIn := min(0, (w.W-1)*w.InStep), max(0, (w.W-1)*w.InStep)
	firstOut, lastOut := min(0, (w.W-1)*w.OutStep), max(0, (w.W-1)*w.OutStep)
	if firstOut < 0 || lastOut+w.C > lenOut {
		return fmt.Errorf("window writes Out[%d:%d], want within %d elements", firstOut, lastOut+w.C, lenOut)
	}
	for _, tap := range w.Taps {
		if lo, hi := firstIn+int(tap.In), lastIn+int(tap.In)+w.C; lo < 0 || hi > lenIn {
			return fmt.Errorf("window reads In[%d:%d], want within %d elements", lo, hi, lenIn)
		}
		if lo, hi := int(tap.W), int(tap.W)+w.C; lenWeights >= 0 && (lo < 0 || hi > lenWeights) {
			return fmt.Errorf("window reads Weights[%d:%d], want within %d elements", lo, hi, lenWeights)
		}
	}
	return nil
}

// DepthwiseF32 is a depthwise convolution of a run of pixels:
//
//	v = sum over taps of In[x*InStep+tap.In+c] * Weights[tap.W+c], plus Bias[c]
//	v = v + Res[x*ResStep+c] if Res != nil
//	Out[x*OutStep+c] = min(max(v, Lo), Hi)
//
// Bias may be nil.
type DepthwiseF32 struct {
	Window
	In, Weights, Bias, Res, Out []float32
	ResStep                     int
	Lo, Hi                      float32
}

// DepthwiseU8S8 is the same over uint8 activations and int8 weights, with the
// requantizing epilogue [OutQ8]: the low byte of
// round(clamp(float32(sum+Bias[c])*Scale[c], Lo, Hi)) + Zero.
type DepthwiseU8S8 struct {
	Window
	In, Out []uint8
	Weights []int8
	Bias    []int32
	Scale   []float32
	Lo, Hi  float32
	Zero    int32
}

// Pool reduces the taps of a window: Out[x*OutStep+c] is the maximum or the sum
// of In[x*InStep+tap.In+c], times Factor. Without taps a maximum is -Inf; a
// NaN may or may not reach a maximum.
type Pool struct {
	Window
	In, Out []float32
	Factor  float32
}

func depthwiseF32(d *DepthwiseF32) {
	for x := range d.W {
		for c := range d.C {
			v := float32(0)
			for _, tap := range d.Taps {
				v = fma32(d.In[x*d.InStep+int(tap.In)+c], d.Weights[int(tap.W)+c], v)
			}
			if d.Bias != nil {
				v += d.Bias[c]
			}
			if d.Res != nil {
				v += d.Res[x*d.ResStep+c]
			}
			d.Out[x*d.OutStep+c] = clamp(v, d.Lo, d.Hi)
		}
	}
}

func depthwiseU8S8(d *DepthwiseU8S8) {
	for x := range d.W {
		for c := range d.C {
			acc := int32(0)
			for _, tap := range d.Taps {
				acc += int32(d.In[x*d.InStep+int(tap.In)+c]) * int32(d.Weights[int(tap.W)+c])
			}
			if d.Bias != nil {
				acc += d.Bias[c]
			}
			v := clamp(float32(acc)*d.Scale[c], d.Lo, d.Hi)
			d.Out[x*d.OutStep+c] = uint8(int32(math.RoundToEven(float64(v))) + d.Zero)
		}
	}
}

func poolMax(p *Pool) {
	for x := range p.W {
		for c := range p.C {
			m := float32(math.Inf(-1))
			for _, tap := range p.Taps {
				m = max(m, p.In[x*p.InStep+int(tap.In)+c])
			}
			p.Out[x*p.OutStep+c] = m * p.Factor
		}
	}
}

func poolSum(p *Pool) {
	for x := range p.W {
		for c := range p.C {
			s := float32(0)
			for _, tap := range p.Taps {
				s += p.In[x*p.InStep+int(tap.In)+c]
			}
			p.Out[x*p.OutStep+c] = s * p.Factor
		}
	}
}
