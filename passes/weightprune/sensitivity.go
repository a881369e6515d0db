package weightprune

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// scanShares are the shares of a layer's tiles that its sensitivity is measured
// at.
var scanShares = []float64{0.3, 0.5, 0.65, 0.8, 0.9, 0.95}

const (
	// scanWork bounds the multiply-accumulates of a scan, by the number of its
	// samples, which is no less than fewSamples and no more than manySamples.
	scanWork                = 1 << 40
	fewSamples, manySamples = 8, 64
	// walkBytes bounds what is held of all samples of a walk.
	walkBytes = 512 << 20
)

// measuredShares returns the shares of each layer's weights that together make
// up share with the least sum of measured losses, each layer being pruned
// alone: the divergence of the outputs from the original's, or with labels the
// rise of the loss, whichever is more; of layers that are pruned in turn, what
// remains once those behind them have made up for it.
func (p *pruner) measuredShares(share float64) ([]float64, error) {
	if p.curves == nil {
		curves, err := p.scan()
		if err != nil {
			return nil, err
		}
		p.curves = curves
	}
	sizes := make([]float64, len(p.layers))
	for i, l := range p.layers {
		sizes[i] = float64(len(l.w))
	}
	curves := p.curves
	if p.o.InTurn {
		curves = madeUp(curves)
	}
	return leastLoss(curves, sizes, share), nil
}

// madeUpFor is how much of what a layer loses each layer behind it that is
// fitted anew makes up for, over what it leaves.
const madeUpFor = 0.35

// madeUp returns the curves of layers that are pruned in turn, which stand in
// this order. Each was measured with the others as they were; in turn, those
// behind it are fitted to the original's results on what it leaves them. With n
// layers behind it, a layer's loss counts 1/(1+n*madeUpFor).
func madeUp(curves []curve) []curve {
	list := make([]curve, len(curves))
	for i, c := range curves {
		left := 1 / (1 + madeUpFor*float64(len(curves)-1-i))
		list[i].shares = c.shares
		for _, loss := range c.losses {
			list[i].losses = append(list[i].losses, left*loss)
		}
	}
	return list
}

// curve holds the loss at rising shares of zeros, from none on.
type curve struct{ shares, losses []float64 }

// curveSteps is in how many parts the stretch between two measures is divided.
const curveSteps = 4

// refined returns the curve with points between those that were measured: losses
// grow by the same factor in each part of a stretch, and from none to the first
// measure with the cube of the share.
func (c curve) refined() curve {
	r := curve{shares: []float64{0}, losses: []float64{0}}
	for k := 1; k < len(c.shares); k++ {
		for i := 1; i <= curveSteps; i++ {
			part := float64(i) / curveSteps
			r.shares = append(r.shares, c.shares[k-1]+part*(c.shares[k]-c.shares[k-1]))
			loss := c.losses[k] * part * part * part
			if before := c.losses[k-1]; before > 0 {
				loss = before * math.Pow(c.losses[k]/before, part)
			}
			r.losses = append(r.losses, loss)
		}
	}
	return r
}

// scan measures the curve of every layer, on samples that its weights were not
// mended by.
func (p *pruner) scan() ([]curve, error) {
	learn, judge := p.holding(heldEvery)
	trials, err := p.trials(learn)
	if err != nil {
		return nil, err
	}
	count, err := p.scanSamples()
	if err != nil {
		return nil, fmt.Errorf("scope \"sensitivity\": %w", err)
	}
	feeds, labels, err := walkSamples(judge, count)
	if err != nil {
		return nil, fmt.Errorf("scope \"sensitivity\": %w", err)
	}
	effects, err := saliency.Scan(p.job.Context(), p.job.Model, feeds, labels, trials, p.job.Env.Threads,
		func(done int) { p.job.Progress(done, len(trials)) })
	if err != nil {
		return nil, err
	}
	curves := make([]curve, len(effects))
	for i, list := range effects {
		c := curve{shares: []float64{0}, losses: []float64{0}}
		for k, e := range list {
			c.shares = append(c.shares, scanShares[k])
			c.losses = append(c.losses, max(c.losses[k], e.KL+e.Error, e.Loss))
		}
		p.job.Figure("loss at 0.5 of "+p.layers[i].name, list[slices.Index(scanShares, 0.5)].KL)
		curves[i] = c.refined()
	}
	return curves, nil
}

// scanSamples is how many samples a scan can afford, whose trials run half of
// the model on an average.
func (p *pruner) scanSamples() (int, error) {
	one, err := spreadSamples(p.job, 1)
	if err != nil {
		return 0, err
	}
	each := saliency.Work(p.job.Model, one[0]) * int64(len(p.layers)*len(scanShares)) / 2
	return int(min(max(scanWork/(each+1), fewSamples), manySamples)), nil
}

// trials returns what every layer would be at each share, by the method of the
// pass, on the samples that a job sees.
func (p *pruner) trials(learn *passes.Job) ([]saliency.Trial, error) {
	all := p.job
	p.job = learn
	p.forget()
	defer func() {
		p.job = all
		p.forget()
	}()
	trials := make([]saliency.Trial, len(p.layers))
	place := map[*layer]int{}
	for i, l := range p.layers {
		n := l.uses[0].node
		if l.value.Init == nil || len(l.uses) > 1 || n.Graph() != p.job.Model.Graph {
			return nil, fmt.Errorf("scope \"sensitivity\": %v: its weight is shared, in a subgraph or in a Constant, so it has no measure of its own; exclude it", n)
		}
		place[l] = i
	}
	err := p.calibrated(p.applyNeeds(), func(l *layer) error {
		t := saliency.Trial{Node: l.uses[0].node, Weight: l.value}
		g := p.o.Pattern.grid(l.matrix)
		for _, s := range scanShares {
			x, err := p.pruned(l, int(s*float64(g.tiles())))
			if err != nil {
				return err
			}
			t.Variants = append(t.Variants, tensor.FromFloat64s(l.dtype, l.shape, x))
		}
		trials[place[l]] = t
		return nil
	})
	return trials, err
}

// leastLoss spends the zeros where they cost least: again and again, the layer
// that can go on to a higher share at the least loss per weight does, until
// share of all weights is reached. Within the last step the share is divided.
func leastLoss(curves []curve, sizes []float64, share float64) []float64 {
	at := make([]int, len(curves))
	shares := make([]float64, len(curves))
	total := 0.0
	for _, s := range sizes {
		total += s
	}
	for left := share * total; left > 0; {
		best, to, least := -1, 0, 0.0
		for i, c := range curves {
			for k := at[i] + 1; k < len(c.shares); k++ {
				slope := (c.losses[k] - c.losses[at[i]]) / ((c.shares[k] - c.shares[at[i]]) * sizes[i])
				if best < 0 || slope < least {
					best, to, least = i, k, slope
				}
			}
		}
		if best < 0 {
			break
		}
		step := (curves[best].shares[to] - curves[best].shares[at[best]]) * sizes[best]
		taken := min(step, left)
		shares[best] += taken / sizes[best]
		left -= taken
		at[best] = to
	}
	return shares
}

// spreadSamples returns the feeds of at most limit calibration samples, spread
// evenly.
func spreadSamples(j *passes.Job, limit int) ([]map[string]tensor.Value, error) {
	if j.Env.Calibration == nil {
		return nil, fmt.Errorf("it needs calibration data, none was given")
	}
	every := max(1, (j.Env.Samples+limit-1)/limit)
	var feeds []map[string]tensor.Value
	n := 0
	for s, err := range j.Env.Calibration(j.Context()) {
		if err != nil {
			return nil, fmt.Errorf("calibration data: %w", err)
		}
		if n%every == 0 {
			feeds = append(feeds, s.Feeds)
		}
		if n++; len(feeds) == limit {
			break
		}
	}
	if len(feeds) == 0 {
		return nil, fmt.Errorf("calibration data has no samples")
	}
	return feeds, nil
}

// walkSamples returns feeds and labels of the first calibration samples, at
// most limit of them, and no more than a walk can hold.
func walkSamples(j *passes.Job, limit int) (feeds []map[string]tensor.Value, labels []int, err error) {
	if j.Env.Calibration == nil {
		return nil, nil, fmt.Errorf("it needs calibration data, none was given")
	}
	if j.Env.Samples > 0 {
		limit = min(limit, j.Env.Samples)
	}
	every := max(1, j.Env.Samples/limit)
	n := 0
	for s, err := range j.Env.Calibration(j.Context()) {
		if err != nil {
			return nil, nil, fmt.Errorf("calibration data: %w", err)
		}
		if n == 0 {
			peak, err := saliency.Peak(j.Context(), j.Model, s.Feeds, j.Env.Threads)
			if err != nil {
				return nil, nil, err
			}
			limit = max(1, min(limit, int(walkBytes/peak)))
		}
		if n%every == 0 {
			feeds, labels = append(feeds, s.Feeds), append(labels, s.Label)
		}
		if n++; len(feeds) == limit {
			break
		}
	}
	if len(feeds) == 0 {
		return nil, nil, fmt.Errorf("calibration data has no samples")
	}
	return feeds, labels, nil
}
