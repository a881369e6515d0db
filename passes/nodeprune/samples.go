package nodeprune

import (
	"errors"
	"fmt"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// sampled is some of the calibration samples.
type sampled struct {
	feeds   []map[string]tensor.Value
	labels  []int
	numbers map[int]bool // of the samples
}

// takeSamples returns at most so many calibration samples, spread evenly. With
// bytes, it takes no more than a walk of the job's model can hold in these.
func takeSamples(j *passes.Job, most int, bytes int64) (*sampled, error) {
	s := &sampled{numbers: map[int]bool{}}
	limit, every, n := most, max(1, (j.Env.Samples+most-1)/most), 0
	for x, err := range j.Env.Calibration(j.Context()) {
		if err != nil {
			return nil, fmt.Errorf("calibration data: %w", err)
		}
		if n == 0 && bytes > 0 {
			peak, err := saliency.Peak(j.Context(), j.Model, x.Feeds, j.Env.Threads)
			if err != nil {
				return nil, err
			}
			limit = max(1, min(limit, int(bytes/max(peak, 1))))
			every = max(1, (j.Env.Samples+limit-1)/limit)
		}
		if n%every == 0 {
			s.feeds, s.labels, s.numbers[n] = append(s.feeds, x.Feeds), append(s.labels, x.Label), true
		}
		if n++; len(s.feeds) == limit {
			break
		}
	}
	if len(s.feeds) == 0 {
		return nil, errors.New("calibration data has no samples")
	}
	return s, nil
}

// varied is how samples are varied that layers are fitted on more than once.
var varied = train.Augment{Flip: true, Crop: 0.6}

// vary puts views-1 varied ones behind each sample. Only images can be varied.
func (s *sampled) vary(j *passes.Job, views int) {
	r := j.Rand()
	var all []map[string]tensor.Value
	for _, f := range s.feeds {
		all = append(all, f)
		for range views - 1 {
			all = append(all, varied.Vary(f, r))
		}
	}
	s.feeds = all
}
