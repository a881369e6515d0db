package train

import (
	"context"
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// validBatch is how many held samples are run at a time at most: where a step
// has fewer, so has validation, which then needs no more memory.
const validBatch = 50

// validate fills in the held loss and, where there are labels, the score.
func (r *trainer) validate(ctx context.Context, p *Point) error {
	held := r.task.Held
	right, labelled := 0, 0
	var loss float64
	batch := min(validBatch, r.o.Batch)
	for lo := 0; lo < held.Len(); lo += batch {
		index := span(lo, min(lo+batch, held.Len()))
		b, err := load(held, index, nil, 0)
		if err != nil {
			return err
		}
		out, err := r.valid.run(ctx, r.task, b, 0)
		if err != nil {
			return err
		}
		loss += scalar(out, lossName) * float64(len(index))
		if r.task.Scores == "" {
			continue
		}
		n, of, err := b.right(out[r.task.Scores])
		if err != nil {
			return fmt.Errorf("output %q: %w", r.task.Scores, err)
		}
		right, labelled = right+n, labelled+of
	}
	p.Validated, p.HeldLoss = true, loss/float64(held.Len())
	p.Score = math.NaN()
	if labelled > 0 {
		p.Score = float64(right) / float64(labelled)
	}
	return nil
}

// right counts the samples with a label, and those of them whose label has
// the highest score.
func (b *Batch) right(scores tensor.Value) (right, labelled int, err error) {
	t, ok := scores.(*tensor.Tensor)
	if !ok || t.Rank() == 0 || t.Shape()[0] != len(b.samples) {
		return 0, 0, fmt.Errorf("%v does not hold scores for each of %d samples", scores, len(b.samples))
	}
	x := tensor.Float64s(t)
	n := len(x) / len(b.samples)
	for i, s := range b.samples {
		if s.Label < 0 {
			continue
		}
		labelled++
		best := 0
		for k, v := range x[i*n : (i+1)*n] {
			if v > x[i*n+best] {
				best = k
			}
		}
		if best == s.Label {
			right++
		}
	}
	return right, labelled, nil
}
