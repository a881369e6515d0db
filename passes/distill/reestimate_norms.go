package distill

import (
	"fmt"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// ReestimateNorms takes the statistics of BatchNormalization anew.
var ReestimateNorms = passes.Define(passes.Pass{
	Name: "reestimate-norms",
	Doc: `take the statistics of BatchNormalization anew on calibration data

After weights were pruned, merged or rounded, the means and variances that a
network was trained with are no longer those of its values. Each batch is
normalized by its own, as in training, and their averages take the place of
the old ones. Weights stay; no labels are needed.`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, ReestimateOptions{Batch: 50}, reestimateNorms)

// ReestimateOptions are the options of [ReestimateNorms].
type ReestimateOptions struct {
	Batch int `opt:"batch" help:"samples that are normalized together"`
}

// Validate reports an option out of range.
func (o ReestimateOptions) Validate() error {
	if o.Batch < 2 {
		return fmt.Errorf("option \"batch\": got %d, want at least 2", o.Batch)
	}
	return nil
}

func reestimateNorms(j *passes.Job, o ReestimateOptions) error {
	data, err := train.Collect(j.Context(), j.Env.Calibration(j.Context()))
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	m, n, err := train.Reestimate(j.Context(), j.Model, data, train.Options{Batch: o.Batch, Threads: j.Env.Threads})
	if err != nil {
		return err
	}
	j.Model = m
	j.Changed(n)
	if n == 0 {
		j.Note("the model has no BatchNormalization with constant statistics")
	}
	return nil
}
