package weightprune

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// pruner prunes the weights of a model by one criterion.
type pruner struct {
	job      *passes.Job
	judge    *passes.Job // sees the samples that a budget is judged on
	o        Options
	needs    need // of the criterion
	layers   []*layer
	original *graph.Model
	curves   []curve // of the layers, once they are measured

	// prepare, if not nil, looks at the model before weights are scored.
	prepare func() error
	// score gives each weight of a layer, whose elements are w, its saliency.
	score func(l *layer, w []float64) ([]float64, error)
	// byRow compares scores within one output only.
	byRow bool
	// solve, if not nil, picks the weights that go by itself, drop tiles of
	// them, and returns all weights after it has adjusted those that stay.
	solve func(l *layer, w []float64, drop int) ([]float64, error)
}

// need is what has to be known of a layer's inputs.
type need uint8

const (
	nothing need = iota
	squares      // means and mean squares
	hessian      // means of all products
)

// run prunes in as many steps as the options ask for.
func (p *pruner) run() error {
	if err := p.o.Validate(); err != nil { // defaults are not asked
		return err
	}
	p.layers = layers(p.job, &p.o)
	if len(p.layers) == 0 {
		p.job.Note("nothing to prune: no product with a constant float weight is meant")
		return nil
	}
	p.findReadable()
	if len(p.layers) == 0 {
		p.job.Note("nothing to prune: the inputs of no weight can be observed")
		return nil
	}
	p.judge = p.job
	if p.o.Budget > 0 {
		p.job, p.judge = p.holding(2)
	}
	original := p.job.Model
	if p.o.keepsOriginal() || p.o.InTurn {
		original = original.Clone()
	}
	p.original = original
	from := p.sparsity()
	for step := 1; step <= p.o.Steps; step++ {
		if err := p.step(CubicSparsity(step, p.o.Steps, from, p.o.Sparsity)); err != nil {
			return err
		}
	}
	if err := p.repair(original); err != nil {
		return err
	}
	return p.report()
}

// sparsity is the share of weights that are zero now.
func (p *pruner) sparsity() float64 {
	zeros, total := 0, 0
	for _, l := range p.layers {
		zeros += zerosIn(l.current())
		total += len(l.w)
	}
	return float64(zeros) / float64(total)
}

// step prunes to a share of zeros, or to whatever else the options ask for.
func (p *pruner) step(share float64) error {
	p.forget()
	for _, l := range p.layers {
		l.w = append(l.w[:0:0], l.current()...)
		l.scores = nil
	}
	if err := p.scoreAll(); err != nil {
		return err
	}
	switch {
	case p.o.Size > 0:
		return p.toSize()
	case p.o.Budget > 0:
		return p.toBudget()
	}
	drops, err := p.allocate(share)
	if err != nil {
		return err
	}
	return p.apply(drops)
}

// forget drops what was observed of the inputs of layers.
func (p *pruner) forget() {
	for _, l := range p.layers {
		l.moments = nil
	}
}

// scoreAll gives every layer its scores, unless the solver ranks weights by
// itself and nothing else asks for them.
func (p *pruner) scoreAll() error {
	if p.solve != nil && p.o.Scope == "layer" && p.o.Size == 0 {
		return nil
	}
	if p.prepare != nil {
		if err := p.prepare(); err != nil {
			return err
		}
	}
	return p.calibrated(p.needs, func(l *layer) (err error) {
		l.scores, err = p.score(l, l.w)
		return err
	})
}

// apply prunes every layer of what it was before the step by so many tiles.
func (p *pruner) apply(drops []int) error {
	by := map[*layer]int{}
	for i, l := range p.layers {
		by[l] = drops[i]
	}
	pruned := map[*layer][]float64{}
	for _, l := range p.layers {
		pruned[l] = make([]float64, len(l.w))
	}
	if p.o.InTurn {
		return p.pruneInTurn(drops)
	}
	err := p.calibrated(p.applyNeeds(), func(l *layer) error {
		x, err := p.pruned(l, by[l])
		if err != nil {
			return err
		}
		copy(pruned[l], x)
		return nil
	})
	if err != nil {
		return err
	}
	for _, l := range p.layers {
		l.set(pruned[l])
	}
	return nil
}

// applyNeeds is what has to be known to prune and to repair layer by layer.
func (p *pruner) applyNeeds() need {
	switch {
	case p.solve != nil || p.o.InTurn || p.o.repairs(repairRefit):
		return hessian
	case p.o.repairs(repairDSnoT):
		return squares
	}
	return nothing
}

// pruned returns the weights of a layer without drop of its tiles, those that
// stay adjusted as the options ask for.
func (p *pruner) pruned(l *layer, drop int) ([]float64, error) {
	if p.solve != nil {
		x, err := p.solve(l, l.w, drop)
		if err != nil || !p.o.repairs(repairRefit) || p.o.InTurn {
			return x, err
		}
		return refit(l, zeroed(x))
	}
	scores := l.scores
	if scores == nil {
		scores = saliency.Magnitude(l.w)
	}
	gone := p.o.Pattern.choose(l.matrix, scores, drop, p.byRow)
	if l.moments != nil && p.o.repairs(repairDSnoT) {
		dsnot(l, p.o.Pattern, gone)
	}
	if l.moments != nil && p.o.repairs(repairRefit) && !p.o.InTurn {
		return refit(l, gone)
	}
	return masked(l.w, gone), nil
}

// report counts what became zero.
func (p *pruner) report() error {
	zeros, total := 0, 0
	for _, l := range p.layers {
		x := l.current()
		z := zerosIn(x)
		if z > 0 && !equal(x, l.first) {
			p.job.Changed(1)
		}
		p.job.Figure("sparsity of "+l.name, float64(z)/float64(len(x)))
		zeros += z
		total += len(x)
	}
	p.job.Figure("sparsity", float64(zeros)/float64(total))
	before, after := 0, 0
	for _, l := range p.layers {
		before += deflated(l.dtype, l.first)
		after += deflated(l.dtype, l.current())
	}
	p.job.Figure("compressed bytes before", float64(before))
	p.job.Figure("compressed bytes", float64(after))
	return nil
}

func equal(a, b []float64) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Locked returns, by the name of the weight, which weights of a model's
// prunable layers are zero: those that training after pruning has to hold at
// zero. Weights without zeros are left out.
func Locked(m *graph.Model) map[string][]bool {
	locked := map[string][]bool{}
	for n := range m.Nodes(graph.InMain) {
		slot, ok := weightSlot(n)
		if !ok {
			continue
		}
		l, why := newLayer(n.In(slot), n, slot)
		if why != "" || zerosIn(l.w) == 0 {
			continue
		}
		locked[l.value.Name()] = zeroed(l.w)
	}
	return locked
}
