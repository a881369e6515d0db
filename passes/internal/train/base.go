package train

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes/internal/opset"
)

// trainOpset is the version that training forms speak at least: the first in
// which BatchNormalization says by an attribute that it trains.
const trainOpset = 14

// base is the task's model as both of its forms, that for training and that
// for validation, begin: raised, open in the batch axis, weights chosen.
type base struct {
	model  *graph.Model
	orig   *graph.Model
	opts   *Options
	sample dataset.Sample // one, for the shapes of inputs
	params []*param       // what is trained
	stats  []*param       // statistics of BatchNormalization
	extra  map[string]*param
	quant  []*quantWeight
	scales []*scaleParam
	lora   []*lowRank
	notes  []string
}

func newBase(t *Task) (*base, error) {
	b, err := openBase(t)
	if err != nil {
		return nil, err
	}
	if err := b.floatWeights(); err != nil {
		return nil, err
	}
	b.choose()
	if b.opts.LoRA > 0 {
		b.addLowRank()
	}
	if b.opts.Scales {
		b.learnScales()
	}
	if len(b.params) == 0 {
		return nil, errors.New("the model has no float32 weights to train, or all of them are frozen")
	}
	return b, nil
}

// openBase copies the model and frees its batch axis.
func openBase(t *Task) (*base, error) {
	m, err := opset.Raise(t.Model, trainOpset)
	if err != nil {
		return nil, err
	}
	if m == t.Model {
		m = m.Clone()
	}
	b := &base{model: m, orig: t.Model, opts: &t.Options, extra: map[string]*param{}}
	if b.sample, err = t.Data.At(0); err != nil {
		return nil, err
	}
	return b, b.openBatch()
}

// openBatch frees the batch axis, which every input has to have.
func (b *base) openBatch() error {
	for _, v := range b.model.Graph.Feeds() {
		t, ok := b.sample.Feeds[v.Name()].(*tensor.Tensor)
		if !ok {
			return fmt.Errorf("input %q: the samples have no tensor for it", v.Name())
		}
		if t.Rank() == 0 || t.Shape()[0] != 1 {
			return fmt.Errorf("input %q: a sample is %v, want a first axis of 1, along which samples are joined", v.Name(), t)
		}
	}
	OpenBatch(b.model, b.sample)
	return nil
}

// inputTypes returns the types of the inputs for batches of the given size, or
// of any size if it is 0.
func (b *base) inputTypes(batch int) map[string]*graph.Type {
	return batchTypes(b.model, b.sample, batchDim(batch))
}

func batchDim(batch int) graph.Dim {
	if batch == 0 {
		return batchAxis
	}
	return graph.Known(batch)
}

// choose lists the parameters and statistics, in the order of initializers.
func (b *base) choose() {
	stats := map[*graph.Value]bool{}
	for _, n := range b.norms(b.model.Graph) {
		stats[n.In(3)], stats[n.In(4)] = true, true
	}
	others := 0
	for _, v := range b.model.Graph.Inits() {
		switch {
		case stats[v]:
			b.stats = append(b.stats, newParam(v.Name(), v.Init.Tensor))
		case b.opts.Frozen != nil && b.opts.Frozen(v.Name()) || !v.IsConst() || !isWeight(v):
		case !isFloats(v):
			others++
		default:
			p := newParam(v.Name(), v.Init.Tensor)
			if b.opts.KeepZeros {
				p.lockZeros()
			}
			b.params = append(b.params, p)
		}
	}
	if others > 0 {
		b.notes = append(b.notes, fmt.Sprintf("%d weights are not float32 and stay as they are", others))
	}
	b.noteSubgraphs()
}

// norms returns the BatchNormalization nodes of g, a form of the model, whose
// statistics training moves: constants of their own that are not frozen.
func (b *base) norms(g *graph.Graph) []*graph.Node {
	return slices.DeleteFunc(batchNorms(g), func(n *graph.Node) bool {
		return b.opts.Frozen != nil && (b.opts.Frozen(n.In(3).Name()) || b.opts.Frozen(n.In(4).Name()))
	})
}

// noteSubgraphs says what the bodies of If, Loop and Scan hold that does not
// train: gradients go through them to weights of the main graph alone.
func (b *base) noteSubgraphs() {
	weights, norms := 0, 0
	for n := range b.model.Nodes(graph.InMain | graph.InSubgraphs) {
		for _, g := range n.Subgraphs() {
			for _, v := range g.Inits() {
				if isFloats(v) && isWeight(v) {
					weights++
				}
			}
		}
		if n.Is("BatchNormalization") && n.Graph() != b.model.Graph {
			norms++
		}
	}
	if weights > 0 {
		b.notes = append(b.notes, fmt.Sprintf("%d weights that subgraphs hold stay as they are", weights))
	}
	if norms > 0 {
		b.notes = append(b.notes, fmt.Sprintf("%d BatchNormalization nodes in subgraphs keep their statistics", norms))
	}
}

// contents returns the weights by name as they are in the parameters.
func (b *base) contents() map[string]*tensor.Tensor {
	all := map[string]*tensor.Tensor{}
	for _, p := range b.params {
		if b.extra[p.name] == nil {
			all[p.name] = p.tensor.Clone()
		}
	}
	for _, p := range b.stats {
		all[p.name] = p.tensor.Clone()
	}
	return all
}

// export returns the task's model with the weights of the parameters.
func (b *base) export() *graph.Model {
	m := b.orig.Clone()
	all := b.contents()
	for _, l := range b.lora {
		l.merge(all, b.model.Graph.Value(l.weight).Init.Tensor)
	}
	maps.Copy(all, b.learned())
	for _, q := range b.quant {
		q.round(all)
	}
	for _, v := range m.Graph.Inits() {
		if t := all[v.Name()]; t != nil {
			m.Graph.SetInit(v, &graph.Literal{Tensor: t})
		}
	}
	return m
}
