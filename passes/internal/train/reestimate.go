package train

import (
	"context"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Reestimate returns m with the statistics of BatchNormalization as they are
// on the data, in batches of o.Batch, and how many nodes that were. The mean
// is that over all batches, the variance the mean variance within them plus
// the variance of their means. Weights stay.
func Reestimate(ctx context.Context, m *graph.Model, data Source, o Options) (*graph.Model, int, error) {
	t := &Task{Model: m, Data: data, Options: o}
	if data.Len() == 0 {
		return nil, 0, fmt.Errorf("there are no samples to take statistics of")
	}
	b, err := openBase(t)
	if err != nil {
		return nil, 0, err
	}
	b.choose()
	if len(b.stats) == 0 {
		return m, 0, nil
	}
	f := b.former(t, 0)
	op.InferModel(f.m, op.InferOptions{Inputs: b.inputTypes(0)})
	if err := f.dropouts(false); err != nil {
		return nil, 0, err
	}
	outs := f.trainNorms()
	for _, n := range f.norms(f.m.Graph) {
		n.SetAttr(graph.FloatAttr("momentum", 0)) // what is given out is the batch's
	}
	KeepOutputs(f.m.Graph, outs)
	form, err := f.compile(ctx)
	if err != nil {
		return nil, 0, err
	}
	if err := b.average(ctx, t, form); err != nil {
		return nil, 0, err
	}
	return b.export(), len(b.stats) / 2, nil
}

// average runs the form over all data and sets the statistics.
func (b *base) average(ctx context.Context, t *Task, f *form) error {
	at := map[string]int{}
	for i, p := range b.stats {
		at[p.name] = i
	}
	sums := make([][]float64, len(b.stats))    // of what each batch gave
	squares := make([][]float64, len(b.stats)) // of the squares
	batches := 0.0
	for lo := 0; lo < t.Data.Len(); lo += t.Options.Batch {
		batch, err := load(t.Data, span(lo, min(lo+t.Options.Batch, t.Data.Len())), nil, 0)
		if err != nil {
			return err
		}
		out, err := f.run(ctx, t, batch, 0)
		if err != nil {
			return err
		}
		for i, name := range f.stats {
			x := tensor.Data[float32](out[name].(*tensor.Tensor))
			if sums[i] == nil {
				sums[i], squares[i] = make([]float64, len(x)), make([]float64, len(x))
			}
			for k, v := range x {
				sums[i][k] += float64(v)
				squares[i][k] += float64(v) * float64(v)
			}
		}
		batches++
	}
	for _, n := range b.norms(b.model.Graph) {
		mean, variance := at[n.In(3).Name()], at[n.In(4).Name()]
		for k := range b.stats[mean].w {
			m := sums[mean][k] / batches
			b.stats[mean].w[k] = float32(m)
			b.stats[variance].w[k] = float32(sums[variance][k]/batches + squares[mean][k]/batches - m*m)
		}
	}
	return nil
}

// span returns lo to hi-1.
func span(lo, hi int) []int {
	list := make([]int, 0, hi-lo)
	for i := lo; i < hi; i++ {
		list = append(list, i)
	}
	return list
}
