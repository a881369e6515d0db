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
	feeds   []map[string]tensor.Value
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
	t := &inTurn{job: j, kernels: kernels, feeds: feeds, origin: original}
	if t.was, err = t.stream(original); err != nil {
		return nil, err
	}
	t.is, err = t.stream(j.Model)
	return t, err
}

// stream starts a walk of m over all samples.
func (t *inTurn) stream(m *graph.Model) (*saliency.Stream, error) {
	return saliency.NewStream(t.job.Context(), m, t.feeds, t.job.Env.Threads, walkBytes/2)
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

// pruneFit prunes a layer step by step, and fits what stays after each, held near
// what it was in the first place. The layer's own elements and moments are left as
// they were.
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
		kept := masked(was.w, gone) // has not seen the samples that are held back
		if step == 1 || step == steps {
			damp = f.bestDamp(kept, gone)
		}
		l.w = f.fitted(f.all, kept, gone, damp, f.rounds(rounds))
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
	old := twin(n, t.origin)
	if old == nil {
		return nil, fmt.Errorf("%v is not in the original", n)
	}
	now, err := t.reader(t.is, n, l)
	if err != nil {
		return nil, err
	}
	source := old.Producer() // of the wanted results, with the bias in them
	if unlike(l, source) != "" {
		source = n
	}
	var bias []float64
	if !n.Is("ConvTranspose") { // whose rows are not its channels
		bias = biasValues(source, l.matrix.Groups*l.matrix.Rows)
	}
	if holder, _, _ := biasOf(n); source == n && holder != n {
		bias = nil
	}
	f := newFit(l, bias, t.kernels, t.job.Env.Threads)
	then, err := t.wanted(f, old)
	if err != nil {
		return nil, err
	}
	for k := range t.feeds {
		x, err := now(k)
		if err != nil {
			return nil, err
		}
		y, err := then(k)
		if err != nil {
			return nil, err
		}
		if err := f.add(x, y); err != nil {
			return nil, err
		}
	}
	return f, f.end()
}

// errOther says that a value of the original has other channels than the results
// of the layer that stand for it.
var errOther = errors.New("its readers read other channels in the original")

// wanted returns how to read the results that are wanted of a layer in a sample:
// value old of the original. If it is made by a product like the layer's, its
// columns are multiplied, otherwise the value is read as it is.
func (t *inTurn) wanted(f *fit, old *graph.Value) (func(sample int) (*saliency.Columns, error), error) {
	l, n := f.l, old.Producer()
	if !t.was.Reaches(n) { // its nodes stand in another order
		var err error
		if t.was, err = t.stream(t.origin); err != nil {
			return nil, err
		}
	}
	if unlike(l, n) != "" {
		return t.told(l, old)
	}
	columns, err := t.reader(t.was, n, l)
	if err != nil {
		return nil, err
	}
	first, err := contents(literalOf(n.In(l.uses[0].slot)))
	if err != nil {
		return nil, err
	}
	weights := tensor.Float64s(first)
	return func(sample int) (*saliency.Columns, error) {
		u, err := columns(sample)
		if err != nil {
			return nil, err
		}
		return l.matrix.Apply(weights, f.bias, u, t.kernels, f.threads), nil
	}, nil
}

// told reads value v of the original at the places of the columns of l.
func (t *inTurn) told(l *layer, v *graph.Value) (func(sample int) (*saliency.Columns, error), error) {
	in, err := t.inputs(l.uses[0].node, l)
	if err != nil {
		return nil, err
	}
	read, err := t.was.After(v.Producer(), v)
	if err != nil {
		return nil, err
	}
	m := l.matrix
	rows := make([]int, m.Groups*m.Rows)
	for i := range rows {
		rows[i] = i
	}
	return func(sample int) (*saliency.Columns, error) {
		state, err := read(sample)
		if err != nil {
			return nil, err
		}
		y, ok := state[v].(*tensor.Tensor)
		if !ok || in.Channels(y) != len(rows) {
			return nil, errOther
		}
		flat, err := in.Results(y, sample, rows)
		if err != nil {
			return nil, err
		}
		c := &saliency.Columns{N: len(flat) / len(rows)}
		for g := range m.Groups {
			c.Groups = append(c.Groups, flat[g*m.Rows*c.N:(g+1)*m.Rows*c.N])
		}
		return c, nil
	}, nil
}

// inputs returns the reader of the columns of n, which multiplies the weight of l.
func (t *inTurn) inputs(n *graph.Node, l *layer) (*saliency.Inputs, error) {
	m := l.matrix
	limit := max(fitColumns, columnsPerInput*m.Cols)
	limit = min(limit, fitBytes/(8*m.Groups*(m.Cols+m.Rows)))
	return saliency.InputsOf(n, l.uses[0].slot, l.shape, max(1, limit/len(t.feeds)))
}

// reader walks to n and returns how to read the columns of its inputs in a
// sample.
func (t *inTurn) reader(s *saliency.Stream, n *graph.Node, l *layer) (func(sample int) (*saliency.Columns, error), error) {
	in, err := t.inputs(n, l)
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
