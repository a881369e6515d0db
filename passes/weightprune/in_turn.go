package weightprune

import (
	"errors"
	"fmt"
	"maps"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

const (
	// turnSamples is how many samples layers are fitted on in turn.
	turnSamples = 256
	// fitBytes bounds the columns that one layer is fitted on, and fitColumns how
	// many they are, besides some for each input of the layer.
	fitBytes        = 384 << 20
	fitColumns      = 32768
	columnsPerInput = 64
)

// inTurn prunes layers from the first to the last. Each is fitted to what the
// original makes, on the inputs that the layers before it, pruned already, leave.
type inTurn struct {
	job     *passes.Job
	kernels *kernel.Table
	samples int
	origin  *graph.Model
	was, is *saliency.Stream // over the original, and over what becomes of it
}

func newInTurn(j *passes.Job, original *graph.Model, mirror bool) (*inTurn, error) {
	kernels, err := hostKernels()
	if err != nil {
		return nil, err
	}
	feeds, err := spreadSamples(j, turnSamples)
	if err != nil {
		return nil, err
	}
	if mirror {
		n := len(feeds)
		if feeds = withMirrored(feeds); len(feeds) == n {
			return nil, errors.New("option \"mirror\": calibration data holds no images, floats of four axes")
		}
	}
	t := &inTurn{job: j, kernels: kernels, samples: len(feeds), origin: original}
	if t.was, err = saliency.NewStream(j.Context(), original, feeds, j.Env.Threads, walkBytes/2); err != nil {
		return nil, err
	}
	t.is, err = saliency.NewStream(j.Context(), j.Model, feeds, j.Env.Threads, walkBytes/2)
	return t, err
}

// withMirrored adds to every sample its mirror image.
func withMirrored(feeds []map[string]tensor.Value) []map[string]tensor.Value {
	var all []map[string]tensor.Value
	for _, f := range feeds {
		all = append(all, f)
		m, any := maps.Clone(f), false
		for name, v := range f {
			if t, ok := v.(*tensor.Tensor); ok {
				x, ok := train.Mirrored(t)
				m[name], any = x, any || ok
			}
		}
		if any {
			all = append(all, m)
		}
	}
	return all
}

// pruneInTurn prunes every layer by so many tiles. What a layer would be on its
// new inputs if nothing were pruned is what is pruned; what stays is fitted
// again.
func (p *pruner) pruneInTurn(drops []int) error {
	t, err := newInTurn(p.job, p.original, p.o.Mirror)
	if err != nil {
		return err
	}
	for i, l := range p.layers {
		f, err := t.read(l)
		if err == nil {
			err = p.pruneFit(f, drops[i])
		}
		if err != nil {
			return fmt.Errorf("%v: %w", l.uses[0].node, err)
		}
		p.job.ProgressAt("layers", i+1, len(p.layers))
	}
	return nil
}

// turnSteps is in how many steps a layer is pruned in turn.
const turnSteps = 6

// pruneFit prunes a layer step by step, and fits what stays after each. The
// layer's own elements and moments are left as they were.
func (p *pruner) pruneFit(f *fit, drop int) (err error) {
	l := f.l
	was := *l
	defer func() { *l = was }()
	none := make([]bool, len(l.w))
	l.moments, l.worth = f.all.Inputs, f.worth()
	l.w = f.fitted(f.all, l.w, none, f.bestDamp(l.w, none), 0)
	damp, steps := 0.0, turnSteps
	if p.o.Pattern.M > 0 {
		steps = 1
	}
	for step := 1; step <= steps; step++ {
		if l.scores, err = p.score(l, l.w); err != nil {
			return err
		}
		x, err := p.pruned(l, int(CubicSparsity(step, steps, 0, float64(drop))))
		if err != nil {
			return err
		}
		gone, rounds := zeroed(x), stepRounds
		if step == steps {
			rounds = fitRounds
		}
		if step == 1 || step == steps {
			damp = f.bestDamp(x, gone)
		}
		l.w = f.fitted(f.all, x, gone, damp, f.rounds(rounds))
	}
	f.apply(l.w)
	return nil
}

// zeroed returns which weights are zero.
func zeroed(x []float64) []bool {
	z := make([]bool, len(x))
	for i, v := range x {
		z[i] = v == 0
	}
	return z
}

// read reads the columns of every sample.
func (t *inTurn) read(l *layer) (*fit, error) {
	n := l.uses[0].node
	old := t.origin.Graph.Value(n.Out(0).Name())
	if old == nil || old.Producer() == nil {
		return nil, fmt.Errorf("%v is not in the original", n)
	}
	now, err := t.reader(t.is, n, l)
	if err != nil {
		return nil, err
	}
	then, err := t.reader(t.was, old.Producer(), l)
	if err != nil {
		return nil, err
	}
	first, err := contents(literalOf(old.Producer().In(l.uses[0].slot)))
	if err != nil {
		return nil, err
	}
	var bias []float64
	if !n.Is("ConvTranspose") { // whose rows are not its channels
		bias = biasValues(old.Producer(), l.matrix.Groups*l.matrix.Rows)
	}
	f := newFit(l, bias, t.kernels, t.job.Env.Threads)
	weights := tensor.Float64s(first)
	for k := range t.samples {
		x, err := now(k)
		if err != nil {
			return nil, err
		}
		u, err := then(k)
		if err != nil {
			return nil, err
		}
		if err := f.add(x, l.matrix.Apply(weights, f.bias, u, t.kernels, f.threads)); err != nil {
			return nil, err
		}
	}
	return f, f.end()
}

// reader walks to n and returns how to read the columns of its inputs in a
// sample.
func (t *inTurn) reader(s *saliency.Stream, n *graph.Node, l *layer) (func(sample int) (*saliency.Columns, error), error) {
	m := l.matrix
	limit := max(fitColumns, columnsPerInput*m.Cols)
	limit = min(limit, fitBytes/(8*m.Groups*(m.Cols+m.Rows)))
	in, err := saliency.InputsOf(n, l.uses[0].slot, l.shape, max(1, limit/t.samples))
	if err != nil {
		return nil, err
	}
	read, err := s.Before(n, in.Value)
	if err != nil {
		return nil, err
	}
	return func(sample int) (*saliency.Columns, error) {
		state, err := read(sample)
		if err != nil {
			return nil, err
		}
		x, ok := state[in.Value].(*tensor.Tensor)
		if !ok {
			return nil, fmt.Errorf("%v is no tensor", in.Value)
		}
		return in.Read(x, sample)
	}, nil
}
