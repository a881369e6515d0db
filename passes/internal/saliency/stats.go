package saliency

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// ChannelStats gathers the mean and variance of each channel of a value.
type ChannelStats struct {
	count         float64
	sums, squares []float64
}

// Add counts a tensor whose channels lie on the given axis, from the end if it
// is negative.
func (s *ChannelStats) Add(t *tensor.Tensor, axis int) error {
	shape := t.Shape()
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) {
		return fmt.Errorf("%v has no axis of channels", t)
	}
	channels, inner := shape[axis], shape[axis+1:].Len()
	if s.sums == nil {
		s.sums, s.squares = make([]float64, channels), make([]float64, channels)
	}
	if len(s.sums) != channels {
		return fmt.Errorf("%v has %d channels, another sample %d", t, channels, len(s.sums))
	}
	x := tensor.Float32s(t)
	for at := 0; inner > 0 && at < len(x); at += inner {
		c := at / inner % channels
		sum, square := 0.0, 0.0
		for _, v := range x[at : at+inner] {
			sum += float64(v)
			square += float64(v) * float64(v)
		}
		s.sums[c] += sum
		s.squares[c] += square
	}
	if channels > 0 {
		s.count += float64(t.Len() / channels)
	}
	return nil
}

// Means returns the mean of each channel.
func (s *ChannelStats) Means() []float64 {
	return mapped(s.sums, func(x float64) float64 { return x / max(1, s.count) })
}

// Variances returns the variance of each channel, as a share of all elements.
func (s *ChannelStats) Variances() []float64 {
	means := s.Means()
	v := make([]float64, len(means))
	for i, x := range s.squares {
		v[i] = max(0, x/max(1, s.count)-means[i]*means[i])
	}
	return v
}
