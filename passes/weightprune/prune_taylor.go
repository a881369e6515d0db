package weightprune

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// PruneTaylor sets the weights to zero without which the loss changes least,
// as its gradients say.
var PruneTaylor = passes.Define(passes.Pass{
	Name: "prune-taylor",
	Doc: `set weights to zero that the loss depends on least, by its gradients

The gradients are those of the cross entropy of single calibration samples; where
they have no labels, of answers drawn from the model's own probabilities. A
weight w is scored by |w| times the mean of |g| (taylor: the first-order change of
the loss), by w^2 times the mean of g^2 (fisher, which stands for the diagonal of
the Hessian of optimal brain damage), or by how far it moves away from zero while
the model is tuned for an epoch (movement); the tuned weights are not kept.
Movement means something while a model learns what it is to do: in one that has
converged it takes large weights as readily as small ones, and does worse than
magnitude.
(Molchanov et al. 2019, arXiv 1906.10771; Theis et al. 2018, arXiv 1801.05787; Sanh
et al. 2020, arXiv 2005.07683.)`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, TaylorOptions{Options: defaults(), Criterion: "taylor", Rate: 1e-3}, pruneTaylor)

// TaylorOptions are the options of [PruneTaylor].
type TaylorOptions struct {
	Options
	Criterion string  `opt:"criterion" oneof:"taylor|fisher|movement" help:"first order, second order, or movement in training"`
	Rate      float64 `opt:"rate" help:"learning rate of the training that criterion movement watches"`
}

func pruneTaylor(j *passes.Job, o TaylorOptions) error {
	if o.Rate <= 0 {
		return fmt.Errorf("option \"rate\": got %v, want more than 0", o.Rate)
	}
	g := &gradients{job: j, o: o}
	p := &pruner{job: j, o: o.Options}
	p.prepare = func() error { return g.gather(p.layers) }
	p.score = func(l *layer, w []float64) ([]float64, error) {
		sums, ok := g.sums[l.value.Name()]
		switch {
		case !ok:
			return nil, errors.New("its weight has no gradient; exclude it")
		case o.Criterion == "fisher":
			return saliency.Fisher(w, sums), nil
		case o.Criterion == "movement":
			return zerosFirst(w, saliency.Movement(w, sums)), nil
		}
		return saliency.Taylor(w, sums), nil
	}
	return p.run()
}

// zerosFirst gives weights that are zero already the least of all scores, which
// may be less than zero.
func zerosFirst(w, scores []float64) []float64 {
	least := slices.Min(scores)
	for i, x := range w {
		if x == 0 {
			scores[i] = least
		}
	}
	return scores
}

// gradients gathers what the gradients of the loss say of weights.
type gradients struct {
	job  *passes.Job
	o    TaylorOptions
	sums map[string][]float64 // by name: mean |g|, mean g^2, or the change in training
}

// gather looks at the gradients of the model as it is now.
func (g *gradients) gather(layers []*layer) error {
	g.sums = map[string][]float64{}
	var weights []*graph.Value
	for _, l := range layers {
		if l.value.IsConst() && l.dtype == tensor.Float32 && l.value.Graph() == g.job.Model.Graph {
			weights = append(weights, l.value)
			g.sums[l.value.Name()] = make([]float64, len(l.w))
		}
	}
	data, err := train.Collect(g.job.Context(), g.job.Env.Calibration(g.job.Context()))
	if err != nil {
		return fmt.Errorf("calibration data: %w", err)
	}
	if data.Len() == 0 {
		return errors.New("calibration data has no samples")
	}
	if g.o.Criterion == "movement" {
		return g.watch(data, weights)
	}
	return g.sum(data, weights)
}

// sum adds up the gradients of every sample.
func (g *gradients) sum(data train.Source, weights []*graph.Value) error {
	var of *saliency.Gradients
	for i := range data.Len() {
		s, err := data.At(i)
		if err != nil {
			return err
		}
		if of == nil {
			if of, err = saliency.NewGradients(g.job.Context(), g.job.Model, weights, s, g.job.Env.Threads); err != nil {
				return err
			}
		}
		by, err := of.Of(s, g.job.Rand())
		if err != nil {
			return fmt.Errorf("sample %d: %w", i, err)
		}
		for name, x := range by {
			g.add(g.sums[name], x, 1/float64(data.Len()))
		}
		g.job.ProgressAt("gradients", i+1, data.Len())
	}
	return nil
}

func (g *gradients) add(sums []float64, x []float32, share float64) {
	for i, v := range x {
		if g.o.Criterion == "fisher" {
			sums[i] += share * float64(v) * float64(v)
		} else {
			sums[i] += share * math.Abs(float64(v))
		}
	}
}

// watch trains for an epoch.
func (g *gradients) watch(data train.Source, weights []*graph.Value) error {
	if !g.job.Env.Labelled {
		return errors.New("criterion \"movement\": the calibration data has no labels to train on")
	}
	moved, err := saliency.Moves(g.job.Context(), g.job.Model, weights, data,
		train.Options{Rate: g.o.Rate, Seed: g.job.Env.Seed, Threads: g.job.Env.Threads})
	g.sums = moved
	return err
}
