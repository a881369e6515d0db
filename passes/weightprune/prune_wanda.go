package weightprune

import (
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// PruneWanda sets weights to zero that are small or multiply small inputs.
var PruneWanda = passes.Define(passes.Pass{
	Name: "prune-wanda",
	Doc: `set weights to zero that are small or multiply small inputs

The score of a weight is its magnitude times the root of the mean square of the
input that it multiplies, observed on calibration data; within a layer, scores
are compared among the weights of one output. Where a bias is repaired to make up
for the mean of what goes, the mean square is that of the input's deviations from
its mean. (Sun et al. 2023, arXiv 2306.11695; An et al. 2023, arXiv 2312.11983.)`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, defaults(), pruneWanda)

func pruneWanda(j *passes.Job, o Options) error {
	p := &pruner{job: j, o: o, needs: squares, byRow: true}
	p.score = func(l *layer, w []float64) ([]float64, error) { return saliency.Wanda(w, l.moments), nil }
	return p.run()
}
