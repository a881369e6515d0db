package weightprune

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// RefitWeights fits the weights of a pruned model to what the original
// computes; what is zero stays zero.
var RefitWeights = passes.Define(passes.Pass{
	Name: "refit-weights",
	Doc: `fit the weights of a pruned model to the original; zeros stay

Products with constant weights are taken from the first to the last. The weights
of each that are not zero, and its bias, become those that come closest, by least
squares, to the result that the node of the same name has in the original, on the
inputs that it now gets. Where a Relu or Clip follows, what it cuts off is not
fitted. How firmly weights are held where they are is tried out on every fourth
calibration sample. (Frantar & Alistarh 2022, arXiv 2208.11580; Zhang et al. 2015,
arXiv 1505.06798.)`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration | passes.Models,
}, RefitOptions{}, refitWeights)

// RefitOptions are the options of [RefitWeights].
type RefitOptions struct {
	Original string   `opt:"original" help:"which model is the original (default: the only one given)"`
	Mirror   bool     `opt:"mirror" help:"see mirrored images too"`
	Include  []string `opt:"include" help:"nodes that are fitted, patterns with * and ?; all if empty"`
	Exclude  []string `opt:"exclude" help:"nodes that are left alone, patterns with * and ?"`
}

func refitWeights(j *passes.Job, o RefitOptions) error {
	original, err := originalModel(j, o.Original)
	if err != nil {
		return err
	}
	p := &pruner{job: j, o: Options{Include: o.Include, Exclude: o.Exclude}, needs: hessian}
	p.layers = layers(j, &p.o)
	p.findReadable()
	p.layers = slices.DeleteFunc(p.layers, func(l *layer) bool {
		why := refuses(l, original)
		if why != "" {
			j.Skip(l.uses[0].node, "%s", why)
		}
		return why != ""
	})
	if len(p.layers) == 0 {
		j.Note("nothing to fit: no product with a constant float weight is meant")
		return nil
	}
	t, err := newInTurn(j, original, o.Mirror)
	if err != nil {
		return err
	}
	for i, l := range p.layers {
		f, err := t.read(l)
		if errors.Is(err, errOther) {
			j.Skip(l.uses[0].node, "%v", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%v: %w", l.uses[0].node, err)
		}
		gone := zeroed(l.w)
		x := f.fitted(f.all, l.w, gone, f.bestDamp(l.w, gone), f.rounds(fitRounds))
		if !f.near(x) {
			f.apply(x)
			j.Changed(1)
		}
		j.ProgressAt("layers", i+1, len(p.layers))
	}
	return nil
}

// noTwin is why a node is left alone that stands for no value of the original.
const noTwin = "none of its readers is in the original by name"

// refuses says why a layer cannot be fitted to the original, "" if it can.
func refuses(l *layer, original *graph.Model) string {
	n := l.uses[0].node
	if len(l.uses) > 1 {
		return "its weight has several readers"
	}
	v := twin(n, original)
	if v == nil {
		return noTwin
	}
	if n.Is("Conv") || n.Is("MatMul", "Gemm") && l.uses[0].slot == 1 {
		return "" // the value can be read, whatever makes it
	}
	return unlike(l, v.Producer())
}

// unlike says why n, of the original, is no product like that of l, "" if it is.
func unlike(l *layer, n *graph.Node) string {
	slot := l.uses[0].slot
	if n.Op != l.uses[0].node.Op {
		return "the original makes its result by another operator, " + n.Op
	}
	lit := literalOf(n.In(slot))
	if lit == nil || !lit.DType().IsFloat() || !lit.Shape().Equal(l.shape) {
		return fmt.Sprintf("the original's weight is not a constant of shape %v", l.shape)
	}
	m, err := saliency.MatrixOf(n, slot, l.shape)
	if err != nil || !m.Equal(l.matrix) {
		return "the original uses the weight in another way"
	}
	return ""
}

// originalModel returns the model of the given name, or the only one.
func originalModel(j *passes.Job, name string) (*graph.Model, error) {
	names := slices.Sorted(maps.Keys(j.Env.Models))
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	if name == "" {
		return nil, errors.New("option \"original\": there is more than one model, want the name of one")
	}
	m := j.Env.Models[name]
	if m == nil {
		return nil, fmt.Errorf("option \"original\": there is no model %q, want one of %q", name, names)
	}
	return m, nil
}
