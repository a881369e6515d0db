package weightprune

import (
	"bytes"
	"compress/flate"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// allocate returns how many tiles of each layer go, so that together the given
// share of all weights does.
func (p *pruner) allocate(share float64) ([]int, error) {
	switch {
	case p.o.Pattern.M > 0:
		return make([]int, len(p.layers)), nil
	case p.o.Threshold > 0:
		return p.below(), nil
	case p.o.Scope == "global":
		return p.ranked(share), nil
	case p.o.Scope == "owl":
		return p.spread(p.owlShares(share)), nil
	case p.o.Scope == "sensitivity":
		shares, err := p.measuredShares(share)
		return p.spread(shares), err
	}
	shares := make([]float64, len(p.layers))
	for i := range shares {
		shares[i] = share
	}
	return p.spread(shares), nil
}

// spread returns the numbers of tiles that are the given shares of layers.
func (p *pruner) spread(shares []float64) []int {
	drops := make([]int, len(p.layers))
	for i := range shares {
		g := p.o.Pattern.grid(p.layers[i].matrix)
		drops[i] = int(shares[i]*float64(g.tiles()) + 1e-9)
	}
	return drops
}

// below counts the tiles of each layer with scores below the threshold.
func (p *pruner) below() []int {
	drops := make([]int, len(p.layers))
	for i, s := range p.tileScores() {
		for _, x := range s {
			if x < p.o.Threshold {
				drops[i]++
			}
		}
	}
	return drops
}

func (p *pruner) tileScores() [][]float64 {
	all := make([][]float64, len(p.layers))
	for i, l := range p.layers {
		g := p.o.Pattern.grid(l.matrix)
		all[i] = g.scores(l.scores)
	}
	return all
}

// ranked ranks the tiles of all layers together. Of equal scores the later go
// first.
func (p *pruner) ranked(share float64) []int {
	tiles := p.tileScores()
	drops := make([]int, len(tiles))
	layerOf := []int{}
	all := slices.Concat(tiles...)
	for i, s := range tiles {
		layerOf = append(layerOf, slices.Repeat([]int{i}, len(s))...)
	}
	for _, at := range saliency.Least(all, int(share*float64(len(all))+1e-9)) {
		drops[layerOf[at]]++
	}
	return drops
}

// owl's constants: a score is an outlier if it is more than owlOutlier times
// the mean of its layer, and no layer's share is further than owlRange from the
// mean share.
const (
	owlOutlier = 5
	owlRange   = 0.08
)

// owlShares lets layers with many outliers keep more. The shares lie within
// owlRange of the mean, in proportion to how far the layer's share of outliers
// is from the mean one. (Yin et al. 2023, arXiv 2310.05175.)
func (p *pruner) owlShares(share float64) []float64 {
	ratios := make([]float64, len(p.layers))
	sizes := make([]float64, len(p.layers))
	for i, l := range p.layers {
		mean := 0.0
		for _, s := range l.scores {
			mean += s / float64(len(l.scores))
		}
		for _, s := range l.scores {
			if s > owlOutlier*mean {
				ratios[i] += 1 / float64(len(l.scores))
			}
		}
		sizes[i] = float64(len(l.w))
	}
	middle, widest := weightedMean(ratios, sizes), 0.0
	for _, r := range ratios {
		widest = max(widest, math.Abs(r-middle))
	}
	shares := make([]float64, len(ratios))
	for i, r := range ratios {
		shares[i] = share
		if widest > 0 {
			shares[i] -= (r - middle) / widest * owlRange
		}
		shares[i] = min(max(shares[i], 0), 0.99)
	}
	return shares
}

func weightedMean(x, weights []float64) float64 {
	sum, total := 0.0, 0.0
	for i := range x {
		sum += x[i] * weights[i]
		total += weights[i]
	}
	return sum / total
}

// toSize prunes as little as brings the compressed weights down to the size
// that the options ask for.
func (p *pruner) toSize() error {
	best, err := p.bisect(func(share float64) (bool, error) {
		drops, err := p.allocate(share)
		if err != nil {
			return false, err
		}
		bytes := 0
		for i, l := range p.layers {
			gone := p.o.Pattern.choose(l.matrix, l.scores, drops[i], p.byRow)
			bytes += deflated(l.dtype, masked(l.w, gone))
		}
		return float64(bytes) > p.o.Size, nil
	})
	if err != nil {
		return err
	}
	drops, err := p.allocate(best.above)
	if err != nil {
		return err
	}
	if best.above == maxShare {
		p.job.Note("a size of %.0f bytes is out of reach: %.0f %% of the weights are pruned", p.o.Size, 100*maxShare)
	}
	return p.apply(drops)
}

// toBudget prunes as much as keeps the loss of accuracy within the options'
// budget, on samples that nothing is learnt from.
func (p *pruner) toBudget() error {
	env := p.judge.Env
	judge, err := saliency.NewJudge(p.job.Context(), p.job.Model, env.Calibration, env.Labelled, env.Threads)
	if err != nil {
		return err
	}
	try := func(share float64) (bool, error) {
		drops, err := p.allocate(share)
		if err == nil {
			err = p.apply(drops)
		}
		if err != nil {
			return false, err
		}
		lost, err := judge.Lost(p.job.Context(), p.job.Model)
		return lost <= p.o.Budget, err
	}
	best, err := p.bisect(try)
	if err != nil {
		return err
	}
	ok, err := try(best.below)
	if !ok && err == nil {
		p.job.Note("no share of zeros keeps within the budget of %v", p.o.Budget)
	}
	return err
}

// maxShare is the largest share of zeros that is searched.
const maxShare = 0.98

// bracket is what a search between two shares ends with.
type bracket struct{ below, above float64 }

// bisect looks for the share up to which more holds, to one part in 128.
func (p *pruner) bisect(more func(share float64) (bool, error)) (bracket, error) {
	b := bracket{0, maxShare}
	for b.above-b.below > 1.0/128 {
		middle := (b.below + b.above) / 2
		ok, err := more(middle)
		if err != nil {
			return b, err
		}
		if ok {
			b.below = middle
		} else {
			b.above = middle
		}
	}
	return b, nil
}

// counter counts bytes.
type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// deflated returns how many bytes the weights take after deflate.
func deflated(d tensor.DType, x []float64) int {
	var n counter
	w, err := flate.NewWriter(&n, flate.DefaultCompression)
	if err != nil {
		panic("weightprune: " + err.Error()) // the level is valid
	}
	r := bytes.NewReader(tensor.FromFloat64s(d, tensor.Shape{len(x)}, x).Bytes())
	r.WriteTo(w)
	w.Close()
	return int(n)
}
