package weightprune

import (
	"slices"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// PruneOBS sets the weights to zero that raise the squared error of their
// node's result least.
var PruneOBS = passes.Define(passes.Pass{
	Name: "prune-obs",
	Doc: `set weights to zero that raise the squared error of their node's result least

The Hessian of that error is the mean product of the node's inputs, observed on
calibration data. With criterion:obd a weight is scored by the diagonal alone
(optimal brain damage), with criterion:obs by what remains when all other weights
of the row make up for it (optimal brain surgeon), which the repair refit then
lets them do. (LeCun et al. 1989; Hassibi & Stork 1993.)`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, OBSOptions{Options: defaults(), Criterion: "obs", Damp: 0.01}, pruneOBS)

// OBSOptions are the options of [PruneOBS].
type OBSOptions struct {
	Options
	Criterion string  `opt:"criterion" oneof:"obs|obd" help:"whether other weights make up for one that goes"`
	Damp      float64 `opt:"damp" help:"share of the mean of the Hessian's diagonal that is added to it"`
}

func pruneOBS(j *passes.Job, o OBSOptions) error {
	p := &pruner{job: j, o: o.Options, needs: hessian}
	if o.Criterion == "obd" {
		p.needs = squares
	}
	p.score = func(l *layer, w []float64) ([]float64, error) {
		if o.Criterion == "obd" {
			return saliency.OBD(w, l.moments), nil
		}
		diagonals, err := inverseDiagonals(l, o.Damp)
		return saliency.OBS(w, l.matrix, diagonals), err
	}
	return p.run()
}

func inverseDiagonals(l *layer, damp float64) ([][]float64, error) {
	all := make([][]float64, l.matrix.Groups)
	for g := range all {
		all[g] = slices.Repeat([]float64{1}, l.matrix.Cols)
	}
	for g := range all {
		inv, err := saliency.Inverse(l.moments.Hessian(g), l.matrix.Cols, damp)
		if err != nil {
			return all, err
		}
		for i := range all[g] {
			all[g][i] = inv.At(i, i)
		}
	}
	return all, nil
}
