package grad_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

var background = context.Background()

// A trial is a model at a point. Its loss is the sum of all results that are
// floats, each element times a random weight; the gradients by all feeds that
// are floats are compared with differences of the loss along random
// directions.
//
// A direction says nothing where the loss, or a value on its way, is not
// finite, and where it has a kink: the slopes to both sides of the point
// differ, however near they are taken. Points are moved by a little noise first, so that no two elements are
// equal by chance and nothing stands on a border.
type trial struct {
	model *graph.Model
	feeds map[string]tensor.Value
	// exact says that points must not be moved.
	exact bool

	rng    *rand.Rand
	run    func(feeds map[string]tensor.Value) (float64, error)
	base   float64 // the loss at the point
	single bool    // the operators calculate in float32
}

// outcome is what a trial says of the gradient by one feed.
type outcome struct {
	feed    string
	slopes  int   // directions in which the loss rises or falls as the gradient says
	flat    int   // directions in which both say that nothing changes
	kinks   int   // directions without a slope
	refused error // there is no gradient by this feed, and the reason is stated
}

var errSilent = errors.New("the model says nothing about gradients")

const lossOfTrial = "trial/loss"

// judge returns the outcome for every float feed. errSilent says that there
// are none, or that no float comes out.
func (tr *trial) judge() ([]outcome, error) {
	tr.rng = rand.New(rand.NewPCG(1, 2))
	if err := tr.prepare(); err != nil {
		return nil, err
	}
	var list []outcome
	for _, v := range tr.model.Graph.Feeds() {
		if v.Type == nil || v.Type.Kind != graph.KindTensor || floatFeed(tr.feeds[v.Name()]) == nil {
			continue
		}
		o, err := tr.feed(v.Name())
		if err != nil {
			return nil, fmt.Errorf("by %q: %w", v.Name(), err)
		}
		list = append(list, o)
	}
	if len(list) == 0 {
		return nil, errSilent
	}
	return list, nil
}

// prepare moves the point, appends the loss and compiles it.
func (tr *trial) prepare() error {
	before, err := runTrial(tr.model, tr.feeds)
	if err != nil {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	if !tr.exact {
		old := tr.feeds
		tr.feeds = tr.moved()
		if after, err := runTrial(tr.model, tr.feeds); err != nil || !sameShapes(before, after) {
			tr.feeds = old
		} else {
			before = after
		}
	}
	tr.single = true
	m := tr.model.Clone()
	emit := graph.NewBuilder(m.Graph, nil).Named("trial/")
	var loss *graph.Value
	for _, v := range m.Graph.Outputs() {
		y, ok := before[v.Name()].(*tensor.Tensor)
		if !ok || !y.DType().IsFloat() || y.Len() == 0 || v.Type == nil || v.Type.Kind != graph.KindTensor {
			continue
		}
		part := tr.weighted(emit, v, y)
		if loss == nil {
			loss = part
		} else {
			loss = emit.Op("Add", loss, part)
		}
	}
	if loss == nil {
		return errSilent
	}
	m.Graph.Rename(loss, lossOfTrial)
	loss.Type = graph.TensorOf(tensor.Float64, graph.Dims{})
	m.Graph.AddOutput(loss)
	tr.model = m
	if tr.run, err = lossOf(m); err != nil {
		return err
	}
	tr.base, err = tr.run(tr.feeds)
	if again, _ := tr.run(tr.feeds); err == nil && again != tr.base && tr.base == tr.base {
		return fmt.Errorf("%w: its results are random", errSilent)
	}
	return err
}

// weighted sums the elements of a result, times random weights.
func (tr *trial) weighted(emit *graph.Builder, v *graph.Value, y *tensor.Tensor) *graph.Value {
	k := make([]float64, y.Len())
	for i := range k {
		k[i] = 2*tr.rng.Float64() - 1
	}
	for _, x := range tensor.Float64s(y) {
		if y.DType() == tensor.Float64 && float64(float32(x)) != x && x == x {
			tr.single = false
		}
	}
	wide := emit.OpAttrs("Cast", []*graph.Attr{graph.IntAttr("to", int64(tensor.Float64))}, v)
	wide = emit.Op("Mul", wide, emit.Const("k", tensor.Of(y.Shape(), k)))
	all := emit.Op("Reshape", wide, emit.Const("i", tensor.Vector[int64](-1)))
	return emit.OpAttrs("ReduceSum", []*graph.Attr{graph.IntAttr("keepdims", 0)}, all)
}

// moved returns the feeds with noise on every float.
func (tr *trial) moved() map[string]tensor.Value {
	feeds := map[string]tensor.Value{}
	for name, v := range tr.feeds {
		if x := floatFeed(v); x != nil {
			moved := tensor.Float64s(x.Clone())
			for i := range moved {
				moved[i] += 1e-3 * (2*tr.rng.Float64() - 1) * (1 + math.Abs(moved[i]))
			}
			v = tensor.FromFloat64s(x.DType(), x.Shape(), moved)
		}
		feeds[name] = v
	}
	return feeds
}

// floatFeed returns a feed that may have a gradient, or nil.
func floatFeed(v tensor.Value) *tensor.Tensor {
	if t, ok := v.(*tensor.Tensor); ok && (t.DType() == tensor.Float32 || t.DType() == tensor.Float64) && t.Len() > 0 {
		return t
	}
	return nil
}

// feed compares the gradient by one feed along two directions.
func (tr *trial) feed(name string) (outcome, error) {
	o := outcome{feed: name}
	types := map[string]*graph.Type{}
	for n, v := range tr.feeds {
		if t, ok := v.(*tensor.Tensor); ok {
			types[n] = graph.TensorOf(t.DType(), graph.DimsOf(t.Shape()))
		}
	}
	d, err := grad.Build(tr.model, grad.Options{Loss: lossOfTrial, By: []string{name}, Inputs: types})
	if errors.Is(err, op.ErrNoGradient) {
		o.refused = err
		return o, nil
	}
	if err != nil {
		return o, err
	}
	if err := graph.Check(d); err != nil {
		return o, err
	}
	out, err := runTrial(d, tr.feeds)
	if err != nil {
		return o, fmt.Errorf("the gradients do not run: %w", err)
	}
	x := floatFeed(tr.feeds[name])
	dx, _ := out[grad.Name(name)].(*tensor.Tensor)
	if dx == nil || !dx.Shape().Equal(x.Shape()) || dx.DType() != x.DType() {
		return o, fmt.Errorf("the gradient is %v, want one like %v", dx, x)
	}
	for range 2 {
		if err := tr.along(&o, x, tensor.Float64s(dx)); err != nil {
			return o, err
		}
	}
	return o, nil
}

// along compares the slope in a random direction with the gradient dx.
func (tr *trial) along(o *outcome, x *tensor.Tensor, dx []float64) error {
	u := make([]float64, len(dx))
	want := 0.0
	for i := range u {
		u[i] = 2*tr.rng.Float64() - 1
		want += u[i] * dx[i]
	}
	steps, tol := []float64{1e-4, 1e-6}, 1e-6
	if tr.single || x.DType() == tensor.Float32 {
		steps, tol = []float64{2e-2, 2e-3}, 5e-3
	}
	var got, noise float64
	for _, h := range steps { // the smaller step for kinks and bends near by
		wide, near := tr.slopes(o.feed, x, u, h), tr.slopes(o.feed, x, u, h/2)
		got = (4*near.mean() - wide.mean()) / 3 // without the term in h^2
		noise = tol * (1 + math.Abs(got) + math.Abs(want))
		switch {
		case math.Abs(got-want) <= noise && math.Abs(got) <= noise:
			o.flat++
			return nil
		case math.Abs(got-want) <= noise:
			o.slopes++
			return nil
		case math.IsNaN(got) || math.IsInf(got, 0) || near.bend() > 0.6*wide.bend() && near.bend() > 4*noise:
			o.kinks++
			return nil
		}
	}
	if math.IsNaN(want) && !tr.finite() {
		o.kinks++
		return nil
	}
	return fmt.Errorf("the loss rises by %v along a direction, its gradient says %v", got, want)
}

// finite reports whether all values of the model are finite at the point.
func (tr *trial) finite() bool {
	m := tr.model.Clone()
	for n := range m.Graph.Nodes() {
		for _, v := range n.Outs() {
			if v != nil && !slices.Contains(m.Graph.Outputs(), v) {
				m.Graph.AddOutput(v)
			}
		}
	}
	all, err := runTrial(m, tr.feeds)
	if err != nil {
		return false
	}
	for _, v := range all {
		if t, ok := v.(*tensor.Tensor); ok && t.DType().IsFloat() {
			for _, x := range tensor.Float64s(t) {
				if math.IsNaN(x) || math.IsInf(x, 0) {
					return false
				}
			}
		}
	}
	return true
}

// sides are the slopes of the loss behind a point and before it.
type sides struct{ back, front float64 }

func (s sides) mean() float64 { return (s.back + s.front) / 2 }
func (s sides) bend() float64 { return math.Abs(s.front - s.back) }

// slopes measures the loss h away from the point in both ways along u.
func (tr *trial) slopes(name string, x *tensor.Tensor, u []float64, h float64) sides {
	at := func(h float64) float64 {
		moved := tensor.Float64s(x.Clone())
		for i := range moved {
			moved[i] += h * u[i]
		}
		feeds := map[string]tensor.Value{}
		for n, v := range tr.feeds {
			feeds[n] = v
		}
		feeds[name] = tensor.FromFloat64s(x.DType(), x.Shape(), moved)
		loss, err := tr.run(feeds)
		if err != nil {
			return math.NaN()
		}
		return loss
	}
	return sides{(tr.base - at(-h)) / h, (at(h) - tr.base) / h}
}

// lossOf returns a function that computes the loss of a trial's model.
func lossOf(m *graph.Model) (func(map[string]tensor.Value) (float64, error), error) {
	s, err := engine.Compile(background, m, engine.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	return func(feeds map[string]tensor.Value) (float64, error) {
		out, err := s.Run(background, feeds)
		if err != nil {
			return 0, err
		}
		return tensor.Float64s(out[lossOfTrial].(*tensor.Tensor))[0], nil
	}, nil
}

func runTrial(m *graph.Model, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	s, err := engine.Compile(background, m, engine.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	return s.Run(background, feeds)
}

// sameShapes reports whether two runs gave tensors of the same shapes.
func sameShapes(a, b map[string]tensor.Value) bool {
	for name, v := range a {
		x, isX := v.(*tensor.Tensor)
		y, isY := b[name].(*tensor.Tensor)
		if isX != isY || isX && !x.Shape().Equal(y.Shape()) {
			return false
		}
	}
	return true
}
