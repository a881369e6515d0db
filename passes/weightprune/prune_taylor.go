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
the model is tuned without the weights of least score (movement); the tuned weights
are not kept. A weight without which the loss rises comes back so.
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
			return zerosFirst(w, sums), nil
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
	sums map[string][]float64 // by name: mean |g|, mean g^2, or sums of movement
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
		return g.watch(data, layers)
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

const (
	// movementRounds is how often weights move, and movementRise for how many
	// rounds the share that is left out rises.
	movementRounds, movementRise = 60, 40
	// movementSamples is how many samples each round sees at most.
	movementSamples = 128
	// movementShare is the share of weights that is left out at last where the
	// options do not say how many go.
	movementShare = 0.5
)

// watch sums up how weights move away from zero: -w*dL/dw, round after round, where
// L is the loss without the weights of each layer whose sums are least. The share
// that is left out rises to the one that is asked for, and then stays. The
// derivative by a weight that is left out is that at zero: where the loss asks for
// it back, its sum rises. (Sanh et al. 2020, arXiv 2005.07683.) If none were left
// out, a model that has converged would hardly move, and take large weights as
// readily as small ones. What a layer moves in a round counts as one, however steep
// the loss is: it is steepest while the wrong weights are left out.
func (g *gradients) watch(data train.Source, layers []*layer) error {
	if !g.job.Env.Labelled {
		return errors.New("criterion \"movement\": the calibration data has no labels to train on")
	}
	m := g.job.Model.Clone()
	var weights []*graph.Value
	now := map[string][]float64{}
	for _, l := range layers {
		if g.sums[l.value.Name()] != nil {
			weights = append(weights, m.Graph.Value(l.value.Name()))
			now[l.value.Name()] = slices.Clone(l.w)
		}
	}
	to := movementShare
	if g.o.Sparsity > 0 {
		to = g.o.Sparsity
	}
	for round := range movementRounds {
		share := to * min(1, float64(round)/movementRise)
		for _, v := range weights {
			x := slices.Clone(now[v.Name()])
			for _, i := range saliency.Least(g.sums[v.Name()], int(share*float64(len(x)))) {
				x[i] = 0
			}
			t := v.Init.Tensor
			m.Graph.SetInit(v, &graph.Literal{Tensor: tensor.FromFloat64s(t.DType(), t.Shape(), x)})
		}
		if err := g.move(m, data, weights, now); err != nil {
			return err
		}
		g.job.ProgressAt("movement", round+1, movementRounds)
	}
	return nil
}

// move takes one step of gradient descent from weights that m holds without some.
func (g *gradients) move(m *graph.Model, data train.Source, weights []*graph.Value, now map[string][]float64) error {
	every := max(1, (data.Len()+movementSamples-1)/movementSamples)
	var of *saliency.Gradients
	slopes := map[string][]float64{}
	n := 0
	for i := 0; i < data.Len(); i += every {
		s, err := data.At(i)
		if err != nil {
			return err
		}
		if of == nil {
			if of, err = saliency.NewGradients(g.job.Context(), m, weights, s, g.job.Env.Threads); err != nil {
				return err
			}
		}
		by, err := of.Of(s, g.job.Rand())
		if err != nil {
			return fmt.Errorf("sample %d: %w", i, err)
		}
		for name, x := range by {
			if slopes[name] == nil {
				slopes[name] = make([]float64, len(x))
			}
			for k, v := range x {
				slopes[name][k] += float64(v)
			}
		}
		n++
	}
	for name, slope := range slopes {
		size := 0.0
		for k, s := range slope {
			size += s * s * now[name][k] * now[name][k]
		}
		size = max(math.Sqrt(size), 1e-30)
		for k, s := range slope {
			g.sums[name][k] -= now[name][k] * s / size
			now[name][k] -= g.o.Rate * s / float64(n)
		}
	}
	return nil
}
