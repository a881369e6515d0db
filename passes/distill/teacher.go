package distill

import (
	"context"
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes/internal/train"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// cacheBytes bounds what answers of teachers are kept.
const cacheBytes = 512 << 20

// teacher answers what the values of one or more models are for a batch:
// logits are averaged over the models, hidden values are those of the first.
// Answers for samples as the data has them are kept, as far as they fit.
type teacher struct {
	models []*pupil
	hidden []string // of the first model

	shapes map[string]tensor.Shape // of an answer, without the batch axis
	kept   map[cacheKey][]float32
	size   int
	last   *train.Batch // the batch that answers are for
	answer map[string]tensor.Value
}

// pupil is a model that answers, open in its batch axis.
type pupil struct {
	name    string
	logits  string // the value that holds them, "" if they are not asked for
	session *engine.Session
}

type cacheKey struct {
	held  bool
	at    int
	value string
}

// logitsKey is the name under which logits are answered.
const logitsKey = "logits"

// newTeacher opens models that answer for samples like the given one: logits,
// if they are asked for, and hidden values of the first. What neither needs is
// not computed. threads is that of the engine.
func newTeacher(ctx context.Context, models map[string]*graph.Model, names, hidden []string, logits bool, s dataset.Sample, threads int) (*teacher, error) {
	t := &teacher{hidden: hidden, kept: map[cacheKey][]float32{}, shapes: map[string]tensor.Shape{}}
	if !logits {
		names = names[:1]
	}
	for _, name := range names {
		p, err := newPupil(ctx, models[name], s, hidden, logits, threads)
		if err != nil {
			return nil, fmt.Errorf("teacher %q: %w", name, err)
		}
		p.name = name
		t.models = append(t.models, p)
		hidden = nil
	}
	return t, t.probe(ctx, s)
}

// newPupil compiles what of a model gives its logits, if they are asked for,
// and the hidden values.
func newPupil(ctx context.Context, m *graph.Model, s dataset.Sample, hidden []string, logits bool, threads int) (*pupil, error) {
	p := &pupil{}
	names := slices.Clone(hidden)
	m = opened(m, s)
	if logits {
		output, err := scoresOf(m, "")
		if err != nil {
			return nil, err
		}
		p.logits = train.LogitsName(m, output)
		names = append(names, p.logits)
	}
	var outs []*graph.Value
	for _, name := range names {
		v := m.Graph.Value(name)
		if v == nil {
			return nil, fmt.Errorf("there is no value %q", name)
		}
		if !slices.Contains(outs, v) {
			outs = append(outs, v)
		}
	}
	train.KeepOutputs(m.Graph, outs)
	var err error
	p.session, err = engine.Compile(ctx, m, engine.Options{Threads: threads})
	return p, err
}

// opened returns a copy of m whose inputs take batches of samples like s.
func opened(m *graph.Model, s dataset.Sample) *graph.Model {
	m = m.Clone()
	train.OpenBatch(m, s)
	return m
}

// probe runs the teachers on one sample to learn the shapes of answers.
func (t *teacher) probe(ctx context.Context, s dataset.Sample) error {
	answer, err := t.run(ctx, s.Feeds)
	if err != nil {
		return err
	}
	for name, v := range answer {
		if v.Rank() == 0 || v.Shape()[0] != 1 {
			return fmt.Errorf("teacher: %q is %v for one sample, want a batch axis of 1", name, v)
		}
		t.shapes[name] = v.Shape()[1:]
	}
	return nil
}

// run asks the teachers.
func (t *teacher) run(ctx context.Context, feeds map[string]tensor.Value) (map[string]*tensor.Tensor, error) {
	answer := map[string]*tensor.Tensor{}
	for i, p := range t.models {
		out, err := p.session.Run(ctx, feeds)
		if err != nil {
			return nil, fmt.Errorf("teacher %q: %w", p.name, err)
		}
		if i == 0 {
			for _, name := range t.hidden {
				if answer[name], err = floatsOf(out[name]); err != nil {
					return nil, fmt.Errorf("teacher %q: %q: %w", p.name, name, err)
				}
			}
		}
		if p.logits == "" {
			continue
		}
		z, err := floatsOf(out[p.logits])
		if err != nil {
			return nil, fmt.Errorf("teacher %q: %q: %w", p.name, p.logits, err)
		}
		sum := answer[logitsKey]
		if sum == nil {
			sum = tensor.New(tensor.Float32, z.Shape())
		}
		if answer[logitsKey], err = addScaled(sum, z, 1/float32(len(t.models))); err != nil {
			return nil, fmt.Errorf("teachers %q and %q: %w", t.models[0].name, p.name, err)
		}
	}
	return answer, nil
}

func floatsOf(v tensor.Value) (*tensor.Tensor, error) {
	t, ok := v.(*tensor.Tensor)
	if !ok || !t.DType().IsFloat() {
		return nil, fmt.Errorf("is %v, want floats", v)
	}
	if t.DType() == tensor.Float32 {
		return t, nil
	}
	return tensor.Convert(t, tensor.Float32, false, 0)
}

// addScaled returns a + s b.
func addScaled(a, b *tensor.Tensor, s float32) (*tensor.Tensor, error) {
	if !a.Shape().Equal(b.Shape()) {
		return nil, fmt.Errorf("their outputs are %v and %v, want the same shape", a, b)
	}
	out := tensor.New(tensor.Float32, a.Shape())
	x, y, z := tensor.Float32s(a), tensor.Float32s(b), tensor.Data[float32](out)
	for i := range z {
		z[i] = x[i] + s*y[i]
	}
	return out, nil
}

// feedName is the input of the student's training form that holds an answer.
func feedName(value string) string { return "teacher/" + value }

// feeds returns the answers for a batch, as inputs of the training form.
func (t *teacher) feeds(ctx context.Context, b *train.Batch) (map[string]tensor.Value, error) {
	if t.last == b {
		return t.answer, nil
	}
	feeds, ok := t.recall(b)
	if !ok {
		answer, err := t.run(ctx, b.Feeds)
		if err != nil {
			return nil, err
		}
		feeds = map[string]tensor.Value{}
		for name, v := range answer {
			feeds[feedName(name)] = v
			t.keep(b, name, tensor.Float32s(v))
		}
	}
	t.last, t.answer = b, feeds
	return feeds, nil
}

// recall puts the answers for a batch together from what was kept.
func (t *teacher) recall(b *train.Batch) (map[string]tensor.Value, bool) {
	if b.Varied {
		return nil, false
	}
	feeds := map[string]tensor.Value{}
	for name, shape := range t.shapes {
		out := tensor.New(tensor.Float32, append(tensor.Shape{len(b.Index)}, shape...))
		y, n := tensor.Data[float32](out), shape.Len()
		for i, at := range b.Index {
			x, ok := t.kept[cacheKey{b.Held, at, name}]
			if !ok {
				return nil, false
			}
			copy(y[i*n:], x)
		}
		feeds[feedName(name)] = out
	}
	return feeds, true
}

func (t *teacher) keep(b *train.Batch, name string, x []float32) {
	if b.Varied {
		return
	}
	n := t.shapes[name].Len()
	for i, at := range b.Index {
		key := cacheKey{b.Held, at, name}
		if t.kept[key] != nil || t.size+4*n > cacheBytes {
			continue
		}
		t.size += 4 * n
		t.kept[key] = slices.Clone(x[i*n : (i+1)*n])
	}
}
