package weightprune

import (
	"hash/fnv"
	"math/rand/v2"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// PruneMagnitude sets the weights of least magnitude to zero.
var PruneMagnitude = passes.Define(passes.Pass{
	Name: "prune-magnitude",
	Doc: `set the weights of least magnitude to zero

The score of a weight is its magnitude, its square (energy), or its share of
the squares of those that are no smaller (lamp), which can be ranked over all
tensors without emptying one; random is a control. Of equal scores the later
ones go first. What goes is a share of all weights (sparsity), all below a bound
(threshold), as much as brings the compressed weights down to a size, or as much
as keeps the loss of accuracy on calibration data within a budget; single
weights, blocks, or all but N of every M. (Han et al. 2015, arXiv 1506.02626; Lee
et al. 2021, arXiv 2010.07611.)`,
	Kind: passes.Lossy,
}, MagnitudeOptions{Options: defaults(), Criterion: "magnitude"}, pruneMagnitude)

// MagnitudeOptions are the options of [PruneMagnitude].
type MagnitudeOptions struct {
	Options
	Criterion string `opt:"criterion" oneof:"magnitude|energy|lamp|random" help:"how weights are scored"`
}

func pruneMagnitude(j *passes.Job, o MagnitudeOptions) error {
	p := &pruner{job: j, o: o.Options}
	seed := j.Rand().Uint64()
	p.score = func(l *layer, w []float64) ([]float64, error) {
		switch o.Criterion {
		case "energy":
			return saliency.Energy(w), nil
		case "lamp":
			return saliency.LAMP(w), nil
		case "random":
			return saliency.Random(len(w), rand.New(rand.NewPCG(seed, hash(l.name)))), nil
		}
		return saliency.Magnitude(w), nil
	}
	return p.run()
}

// hash makes a number of a name.
func hash(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}
