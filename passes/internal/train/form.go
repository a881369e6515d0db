package train

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Names of values that forms add.
const (
	lossName = "train/loss"
	termName = "train/term/"
)

// form is a compiled model with its loss: for training, with gradients, or
// for validation. Both read the same parameters.
type form struct {
	session  *engine.Session
	text     string   // the graph, without contents of parameters
	fed      []*param // parameters and statistics, given at every run
	terms    []string // outputs, one for each term
	grads    []string // outputs, one for each parameter
	stats    []string // outputs, one for each statistic; none where they stay
	dropouts []dropout
}

// dropout is an input that holds 0 where an element is dropped and
// 1/(1-ratio) elsewhere.
type dropout struct {
	feed  string
	shape tensor.Shape
	ratio float64
}

// former makes a form.
type former struct {
	*base
	task  *Task
	m     *graph.Model
	batch int // samples in a batch, 0 for any number
	form  *form
}

// trainForm compiles the model for steps of so many samples.
func (b *base) trainForm(ctx context.Context, t *Task, batch int) (*form, error) {
	f := b.former(t, batch)
	op.InferModel(f.m, op.InferOptions{Inputs: b.inputTypes(batch)})
	if err := f.dropouts(t.Options.Dropout); err != nil {
		return nil, err
	}
	var outs []*graph.Value
	if !t.Options.FrozenBN {
		outs = f.trainNorms()
	}
	if err := f.addLoss(outs); err != nil {
		return nil, err
	}
	names := make([]string, len(b.params))
	for i, p := range b.params {
		names[i] = p.name
		f.form.grads = append(f.form.grads, grad.Name(p.name))
	}
	m, err := f.differentiated(grad.Options{Loss: lossName, By: names, Inputs: b.inputTypes(batch)})
	if err != nil {
		return nil, fmt.Errorf("the model cannot be trained: %w", err)
	}
	f.m = m
	return f.compile(ctx)
}

// differentiated returns the model with the gradients that o asks for, in as
// few segments as the task's limit of memory admits.
func (f *former) differentiated(o grad.Options) (*graph.Model, error) {
	weights := int64(0)
	for _, p := range slices.Concat(f.base.params, f.base.stats) {
		weights += int64(p.tensor.Size())
	}
	limit, least := f.task.Options.MaxMemory, int64(math.MaxInt64)
	for o.Segments = 1; o.Segments <= 2*f.m.Graph.NumNodes(); o.Segments *= 2 {
		m, err := grad.Build(f.m, o)
		if err != nil || limit == 0 {
			return m, err
		}
		need := weights + engine.PeakMemory(m, o.Inputs)
		if need <= limit {
			return m, nil
		}
		least = min(least, need)
	}
	return nil, fmt.Errorf("a step needs at least %d bytes, also where values are computed twice, and the limit is %d: a smaller batch needs less", least, limit)
}

// validForm compiles the model for batches of any size, with the task's
// scores as an output.
func (b *base) validForm(ctx context.Context, t *Task) (*form, error) {
	f := b.former(t, 0)
	op.InferModel(f.m, op.InferOptions{Inputs: b.inputTypes(0)})
	if err := f.dropouts(false); err != nil {
		return nil, err
	}
	var outs []*graph.Value
	if t.Scores != "" {
		v := f.m.Graph.Value(t.Scores)
		if v == nil {
			return nil, fmt.Errorf("the model has no output %q", t.Scores)
		}
		outs = append(outs, v)
	}
	if err := f.addLoss(outs); err != nil {
		return nil, err
	}
	return f.compile(ctx)
}

func (b *base) former(t *Task, batch int) *former {
	return &former{base: b, task: t, m: b.model.Clone(), batch: batch, form: &form{}}
}

// dropouts makes products with masks of the Dropout nodes, or takes their
// effect away.
func (f *former) dropouts(work bool) error {
	g := f.m.Graph
	for n := range g.Nodes() {
		if !n.Is("Dropout") {
			continue
		}
		ratio := 0.5
		if r := n.In(1); r != nil && r.IsConst() && r.Init.Tensor.Len() == 1 {
			ratio = tensor.Float64s(r.Init.Tensor)[0]
		}
		if n.NumOut() > 1 && n.Out(1) != nil && n.Out(1).Used() {
			return fmt.Errorf("%v: its mask is used", n)
		}
		n.TrimIn(1)
		if n.NumOut() > 1 {
			n.DropOut(1)
		}
		if !work || ratio <= 0 {
			n.Op = "Identity"
			continue
		}
		t := n.In(0).Type
		if t == nil {
			return fmt.Errorf("%v: its shape is not known, so that it cannot drop elements", n)
		}
		shape, ok := t.Shape.Static()
		if !ok {
			return fmt.Errorf("%v: its shape %v is not known, so that it cannot drop elements", n, t.Shape)
		}
		d := dropout{feed: g.Fresh("train/dropout"), shape: shape, ratio: ratio}
		n.Op = "Mul"
		n.SetIn(1, g.AddInput(d.feed, graph.TensorOf(t.Elem, t.Shape)))
		f.form.dropouts = append(f.form.dropouts, d)
	}
	return nil
}

// trainNorms brings BatchNormalization to its training form and returns the
// running statistics that it gives, in the order of base.stats.
func (f *former) trainNorms() []*graph.Value {
	made := map[string]*graph.Value{}
	for _, n := range f.norms(f.m.Graph) {
		n.SetAttr(graph.IntAttr("training_mode", 1))
		for i, stat := range []*graph.Value{n.In(3), n.In(4)} {
			for n.NumOut() <= i+1 {
				n.AddOut()
			}
			v := n.Out(i + 1)
			v.Type = stat.Type
			made[stat.Name()] = v
		}
	}
	outs := make([]*graph.Value, len(f.base.stats))
	for i, p := range f.base.stats {
		outs[i] = made[p.name]
		f.form.stats = append(f.form.stats, outs[i].Name())
	}
	return outs
}

// addLoss appends the terms and their weighted sum, which with the given
// values become the only outputs.
func (f *former) addLoss(others []*graph.Value) error {
	g := f.m.Graph
	s := &Scope{Builder: graph.NewBuilder(g, nil).Named("loss/"), base: f.base, batch: f.batch}
	var total *graph.Value
	for i, t := range f.task.Loss {
		v, err := t.Build(s)
		if err != nil {
			return fmt.Errorf("loss %q: %w", t.Name, err)
		}
		out := s.Op("Identity", v)
		g.Rename(out, fmt.Sprintf("%s%d", termName, i))
		out.Type = graph.TensorOf(tensor.Float32, graph.Dims{})
		others = append(others, out)
		f.form.terms = append(f.form.terms, out.Name())
		part := s.Op("Mul", out, s.Number(t.Weight))
		if total == nil {
			total = part
		} else {
			total = s.Op("Add", total, part)
		}
	}
	if total == nil {
		return fmt.Errorf("there is no loss")
	}
	g.Rename(total, lossName)
	total.Type = graph.TensorOf(tensor.Float32, graph.Dims{})
	KeepOutputs(g, append([]*graph.Value{total}, others...))
	return nil
}

// compile makes inputs of the parameters and statistics and compiles.
func (f *former) compile(ctx context.Context) (*form, error) {
	g := f.m.Graph
	f.form.fed = slices.Concat(f.base.params, f.base.stats)
	for _, p := range f.form.fed {
		v := g.Value(p.name)
		if v == nil { // a parameter of a term that only training has
			continue
		}
		g.AddInput(p.name, graph.TensorOf(tensor.Float32, graph.DimsOf(p.tensor.Shape())))
		g.DropInit(v)
	}
	f.form.fed = slices.DeleteFunc(f.form.fed, func(p *param) bool { return g.Value(p.name) == nil })
	if err := graph.Check(f.m); err != nil {
		return nil, fmt.Errorf("the training form is broken: %w", err)
	}
	s, err := engine.Compile(ctx, f.m, engine.Options{Threads: f.task.Options.Threads})
	if err != nil {
		return nil, fmt.Errorf("the training form does not compile: %w", err)
	}
	f.form.session, f.form.text = s, graph.Format(f.m)
	return f.form, nil
}

// run runs a batch. step numbers the masks of Dropout.
func (f *form) run(ctx context.Context, t *Task, b *Batch, step int) (map[string]tensor.Value, error) {
	feeds := map[string]tensor.Value{}
	for name, v := range b.Feeds {
		feeds[name] = v
	}
	for _, term := range t.Loss {
		if term.Feed == nil {
			continue
		}
		more, err := term.Feed(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("loss %q: %w", term.Name, err)
		}
		for name, v := range more {
			feeds[name] = v
		}
	}
	for _, p := range f.fed {
		feeds[p.name] = p.tensor
	}
	for i, d := range f.dropouts {
		feeds[d.feed] = d.mask(t.Options.Seed, step, i)
	}
	return f.session.Run(ctx, feeds)
}

func (d *dropout) mask(seed uint64, step, i int) *tensor.Tensor {
	r := stream(seed, forDropout, step, i)
	t := tensor.New(tensor.Float32, d.shape)
	x := tensor.Data[float32](t)
	keep := float32(1 / (1 - d.ratio))
	for k := range x {
		if r.Float64() >= d.ratio {
			x[k] = keep
		}
	}
	return t
}

// scalar returns the single element of a result.
func scalar(out map[string]tensor.Value, name string) float64 {
	return tensor.Float64s(out[name].(*tensor.Tensor))[0]
}
