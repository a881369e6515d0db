package weightprune

import (
	"fmt"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// PruneSparseGPT sets weights to zero and adjusts the others so that the
// results of each node stay what they were on calibration data.
var PruneSparseGPT = passes.Define(passes.Pass{
	Name: "prune-sparsegpt",
	Doc: `set weights to zero and let the others of their row make up for them

The weights of a node are pruned column by column. Each that goes is made up for
by those after it, as the inverse Hessian of the squared error of the node's
result says; the Hessian is the mean product of the node's inputs (of a
convolution, the patches under its window), observed on calibration data. Which
weights go is decided block by block, by what they cost then. (Frantar & Alistarh
2023, arXiv 2301.00774.) With the repair refit, all weights that stay are fitted
together at the end, not only those after each.`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, SparseGPTOptions{Options: defaults(), Damp: 0.01}, pruneSparseGPT)

// SparseGPTOptions are the options of [PruneSparseGPT].
type SparseGPTOptions struct {
	Options
	Damp float64 `opt:"damp" help:"share of the mean of the Hessian's diagonal that is added to it"`
}

// Validate reports options that contradict each other or are out of range.
func (o SparseGPTOptions) Validate() error {
	switch {
	case o.Threshold > 0:
		return fmt.Errorf("option \"threshold\": want none, since scores change while weights are pruned")
	case o.Damp < 0:
		return fmt.Errorf("option \"damp\": got %v, want at least 0", o.Damp)
	case o.repairs(repairDSnoT):
		return fmt.Errorf("option \"repair\": got dsnot, want refit, bias, scale or batchnorm: the weights are chosen by what all others make up for")
	}
	return o.Options.Validate()
}

func pruneSparseGPT(j *passes.Job, o SparseGPTOptions) error {
	if err := o.Validate(); err != nil {
		return err
	}
	p := &pruner{job: j, o: o.Options, needs: squares}
	p.score = func(l *layer, w []float64) ([]float64, error) { return saliency.OBD(w, l.moments), nil }
	p.solve = func(l *layer, w []float64, drop int) ([]float64, error) {
		return solveOBS(l, o.Pattern, w, drop, o.Damp, j.Env.Threads)
	}
	return p.run()
}
