package train

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

// batchAxis is the dimension along which any number of samples are joined.
var batchAxis = graph.Symbol("batch")

// OpenBatch frees the first axis of m's inputs and outputs, so that it takes
// batches of samples like s, and infers the types of its values. Shapes that
// were exported for a single sample are mended, see [openReshapes].
func OpenBatch(m *graph.Model, s dataset.Sample) {
	for _, v := range m.Graph.Outputs() {
		if t := v.Type; t != nil && t.Kind == graph.KindTensor && len(t.Shape) > 0 {
			v.Type = graph.TensorOf(t.Elem, append(graph.Dims{graph.Unknown()}, t.Shape[1:]...))
		}
	}
	for n := range m.Graph.Nodes() {
		for _, v := range n.Outs() {
			if v != nil && !v.IsOutput() {
				v.Type = nil // the file may state it for one sample
			}
		}
	}
	openReshapes(m, batchTypes(m, s, batchAxis))
}

// batchTypes returns the types of the inputs for so many samples like s.
func batchTypes(m *graph.Model, s dataset.Sample, batch graph.Dim) map[string]*graph.Type {
	types := map[string]*graph.Type{}
	for _, v := range m.Graph.Feeds() {
		t, ok := s.Feeds[v.Name()].(*tensor.Tensor)
		if !ok || t.Rank() == 0 {
			continue
		}
		d := graph.DimsOf(t.Shape())
		d[0] = batch
		types[v.Name()] = graph.TensorOf(t.DType(), d)
	}
	return types
}

// openReshapes lets nodes that were exported for one sample reshape any number
// of them: a 1 in the place of the batch axis becomes a 0, which keeps the
// dimension.
//
//	y = Reshape (x, {1, -1, 8})
//	y = Reshape (x, {0, -1, 8})
//
// With one node the batch axis may come to further ones.
func openReshapes(m *graph.Model, types map[string]*graph.Type) {
	for changed := true; changed; {
		changed = false
		known := op.InferModel(m, op.InferOptions{Inputs: types})
		for n := range m.Graph.Nodes() {
			if !n.Is("Reshape") || n.NumIn() != 2 || n.In(0).Type == nil || n.Int("allowzero", 0) != 0 {
				continue
			}
			shape := known.Const(n.In(1))
			if shape == nil {
				continue
			}
			target, at := tensor.Int64s(shape), slices.IndexFunc(n.In(0).Type.Shape, batchAxis.Same)
			if at < 0 || at >= len(target) || target[at] != 1 {
				continue
			}
			target = slices.Clone(target)
			target[at] = 0
			n.SetIn(1, m.Graph.AddInit(m.Graph.Fresh("train/shape"), tensor.Vector(target...)))
			changed = true
		}
	}
}

// KeepOutputs gives out these values alone, and removes the nodes of g that
// none of them needs.
func KeepOutputs(g *graph.Graph, outs []*graph.Value) {
	for i := len(g.Outputs()) - 1; i >= 0; i-- {
		g.DropOutput(i)
	}
	for _, v := range outs {
		g.AddOutput(v)
	}
	for n := range g.Backward() {
		if !slices.ContainsFunc(n.Outs(), func(v *graph.Value) bool { return v != nil && v.Used() }) {
			g.Remove(n)
		}
	}
}
