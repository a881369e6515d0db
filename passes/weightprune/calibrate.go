package weightprune

import (
	"fmt"
	"slices"
	"sync"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/targets"
)

const (
	// columnsPerSample is how many columns of inputs (pixels, rows) of a sample
	// are looked at.
	columnsPerSample = 1024
	// hessianBytes bounds the Hessians that are gathered in one run over the
	// calibration data.
	hessianBytes = 1 << 30
)

// findReadable reports the layers whose inputs cannot be observed, where that
// is asked for, and leaves them out.
func (p *pruner) findReadable() {
	if max(p.needs, p.applyNeeds()) == nothing {
		return
	}
	p.layers = slices.DeleteFunc(p.layers, func(l *layer) bool {
		why := p.unreadable(l)
		if why != "" {
			p.job.Skip(l.uses[0].node, "%s", why)
		}
		return why != ""
	})
}

// unreadable says why the inputs of l cannot be observed, and fills in how to
// read them if they can.
func (p *pruner) unreadable(l *layer) string {
	if p.o.InTurn && (len(l.uses) > 1 || l.value.Init == nil) {
		return "it is not pruned in turn: its weight has several readers, or is the result of a Constant"
	}
	for _, u := range l.uses {
		if u.node.Graph() != p.job.Model.Graph {
			return "it stands in a subgraph, whose values are not observed"
		}
		in, err := saliency.InputsOf(u.node, u.slot, l.shape, columnsPerSample)
		if err != nil {
			return err.Error()
		}
		l.inputs = append(l.inputs, in)
	}
	if saliency.HessianBytes(l.matrix) > hessianBytes && max(p.needs, p.applyNeeds()) == hessian {
		return fmt.Sprintf("a Hessian of %d inputs takes more than %d bytes", l.matrix.Cols, hessianBytes)
	}
	return ""
}

// calibrated calls f for every layer with the moments that are needed, several
// at a time. Where the Hessians of all layers are too large to be held at once,
// the calibration data is run for some layers after the other, and moments are
// dropped after f.
func (p *pruner) calibrated(what need, f func(l *layer) error) error {
	batches := p.batches(what)
	for _, batch := range batches {
		if err := p.observe(batch, what); err != nil {
			return err
		}
		var mu sync.Mutex
		var failed error
		saliency.Parallel(p.job.Env.Threads, len(batch), func(i int) {
			l := batch[i]
			err := p.job.Context().Err()
			if err == nil {
				err = f(l)
			}
			if err != nil {
				mu.Lock()
				failed = fmt.Errorf("%v: %w", l.uses[0].node, err)
				mu.Unlock()
			}
			if len(batches) > 1 {
				l.moments = nil
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

// batches divides the layers so that each part's Hessians can be held at once.
func (p *pruner) batches(what need) [][]*layer {
	if what != hessian {
		return [][]*layer{p.layers}
	}
	var list [][]*layer
	held := int64(0)
	for _, l := range p.layers {
		b := saliency.HessianBytes(l.matrix)
		if len(list) == 0 || held+b > hessianBytes {
			list, held = append(list, nil), 0
		}
		list[len(list)-1] = append(list[len(list)-1], l)
		held += b
	}
	return list
}

// observe gathers the moments of layers that lack them.
func (p *pruner) observe(batch []*layer, what need) error {
	if what == nothing {
		return nil
	}
	kernels, err := hostKernels()
	if err != nil {
		return err
	}
	readers := map[*graph.Value][]*layer{}
	var values []*graph.Value
	for _, l := range batch {
		if l.moments != nil && (what == squares || l.moments.HasHessian()) {
			continue
		}
		l.moments = saliency.NewMoments(l.matrix, what == hessian, kernels, p.job.Env.Threads)
		l.moments.Centered = p.restoresMean(l)
		for _, in := range l.inputs {
			if readers[in.Value] == nil {
				values = append(values, in.Value)
			}
			if !slices.Contains(readers[in.Value], l) {
				readers[in.Value] = append(readers[in.Value], l)
			}
		}
	}
	if len(values) == 0 {
		return nil
	}
	return p.gather(values, readers)
}

// gather runs the model on the calibration data and adds what it sees to the
// moments of the layers that read each value.
func (p *pruner) gather(values []*graph.Value, readers map[*graph.Value][]*layer) error {
	var failed error
	seen := map[*graph.Value]int{} // samples
	err := p.job.Observe(values, func(v *graph.Value, t *tensor.Tensor) {
		for _, l := range readers[v] {
			if failed == nil {
				failed = l.see(v, t, seen[v])
			}
		}
		seen[v]++
	})
	if err == nil {
		err = failed
	}
	return err
}

// see adds what value v is in a sample to the moments of l.
func (l *layer) see(v *graph.Value, t *tensor.Tensor, sample int) error {
	for _, in := range l.inputs {
		if in.Value != v {
			continue
		}
		c, err := in.Read(t, sample)
		if err != nil {
			return err
		}
		if err := l.moments.Add(c); err != nil {
			return err
		}
	}
	return nil
}

func hostKernels() (*kernel.Table, error) { return targets.Host().Kernels() }
