package nodeprune

import (
	"cmp"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// sensitivitySamples is how many samples the sensitivity of layers is measured
// on.
const sensitivitySamples = 32

// layersOf describes the layers of a model with weights of their own, in order.
func layersOf(m *graph.Model) []layer {
	var list []layer
	for n := range m.Graph.Nodes() {
		l, ok := layerOf(n)
		if !ok || n.Out(0) == nil {
			continue
		}
		if w := n.In(l.slot); w != nil && w.IsConst() && w.Graph() == m.Graph && w.Init.DType() == tensor.Float32 {
			list = append(list, l)
		}
	}
	return list
}

// sensitivities measures, for every layer of the job's model, by how much the
// scores diverge when a third of its outputs is zero. Nodes before a layer run
// once for all that is tried on it.
func sensitivities(j *passes.Job) (map[string]float64, error) {
	s, err := takeSamples(j, sensitivitySamples, walkBytes)
	if err != nil {
		return nil, err
	}
	var trials []saliency.Trial
	for _, l := range layersOf(j.Model) {
		w := l.node.In(l.slot)
		trials = append(trials, saliency.Trial{Node: l.node, Weight: w, Variants: []*tensor.Tensor{withoutThird(w.Init.Tensor, l.outputs)}})
	}
	effects, err := saliency.Scan(j.Context(), j.Model, s.feeds, nil, trials, j.Env.Threads,
		func(done int) { j.ProgressAt("sensitivity", done, len(trials)) })
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	for i, t := range trials {
		found[t.Node.Out(0).Name()] = effects[i][0].KL
	}
	return found, nil
}

// withoutThird returns t with zeros at the third of the indices of an axis whose
// elements have the least norm.
func withoutThird(t *tensor.Tensor, at int) *tensor.Tensor {
	norms := sliceSums(t, at, func(x float64) float64 { return x * x })
	order := make([]int, len(norms))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(norms[a], norms[b]) })
	gone := order[:(len(order)+2)/3]
	s := t.Shape()
	data := slices.Clone(tensor.Float64s(t))
	n, inner := s[at], s[at+1:].Len()
	for i := range data {
		if slices.Contains(gone, i/inner%n) {
			data[i] = 0
		}
	}
	return tensor.FromFloat64s(t.DType(), s, data)
}

// reportLayers tells how many outputs of each layer of the original are kept.
func (d *outcome) reportLayers(j *passes.Job, original *graph.Model, divergence map[string]float64) {
	for _, l := range layersOf(original) {
		name, w := l.node.Out(0).Name(), l.node.In(l.slot)
		size := dimsOf(w)[l.outputs].Size
		kept, cut := size, false
		if d.kept[name] != nil {
			kept, cut = len(d.kept[name]), true
		}
		if cut || divergence != nil {
			j.Layer(passes.Layer{Name: w.Name(), Size: size, Kept: kept, Divergence: divergence[name]})
		}
	}
}
