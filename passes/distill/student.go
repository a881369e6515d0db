package distill

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// size is how many residual blocks a student is to keep: so many that a share
// of the multiply-accumulates is left, or a number of them; the zero size is
// all of the model given.
type size struct {
	share  float64
	blocks int
}

func parseSize(text string) (size, error) {
	key, value, _ := strings.Cut(text, "=")
	switch key {
	case "given":
		return size{}, nil
	case "depth":
		if x, err := strconv.ParseFloat(value, 64); err == nil && x > 0 && x < 1 {
			return size{share: x}, nil
		}
	case "layers":
		if n, err := strconv.Atoi(value); err == nil && n > 0 {
			return size{blocks: n}, nil
		}
	}
	return size{}, fmt.Errorf("got %q, want given, depth=SHARE (between 0 and 1) or layers=N", text)
}

// probeSamples are run to see how much the answers need a block.
const probeSamples = 32

// makeStudent makes the job's model smaller as the options ask.
func makeStudent(j *passes.Job, o Options, data train.Source) error {
	want, err := parseSize(o.Student)
	if err != nil || want == (size{}) {
		return err
	}
	s, err := newShortener(j, data)
	if err != nil {
		return err
	}
	all := len(residualBlocks(s.model))
	before := macsOf(s.model, s.probe[0])
	for !s.reached(want, before) {
		if err := s.round(j.Context(), want, before); err != nil {
			return err
		}
		j.ProgressAt("choose blocks", all-len(residualBlocks(s.model)), all)
	}
	after := macsOf(s.model, s.probe[0])
	j.Note("%d of %d residual blocks are left, with %.3f of the multiply-accumulates", all-s.dropped, all, float64(after)/float64(before))
	j.Model = s.model
	j.Changed(s.dropped)
	j.Figure("blocks dropped", float64(s.dropped))
	return nil
}

// shortener drops blocks, again and again those whose absence moves the
// answers least for the work that it saves.
type shortener struct {
	model   *graph.Model
	probe   []sampleOf
	batch   map[string]tensor.Value
	answers []float32 // of the model as it was
	threads int
	dropped int
}

func newShortener(j *passes.Job, data train.Source) (*shortener, error) {
	s := &shortener{model: j.Model.Clone(), threads: j.Env.Threads}
	joined := map[string][]*tensor.Tensor{}
	for i := range min(probeSamples, data.Len()) {
		x, err := data.At(i * data.Len() / min(probeSamples, data.Len()))
		if err != nil {
			return nil, err
		}
		s.probe = append(s.probe, x)
		for name, v := range x.Feeds {
			if t, ok := v.(*tensor.Tensor); ok {
				joined[name] = append(joined[name], t)
			}
		}
	}
	s.batch = map[string]tensor.Value{}
	for name, list := range joined {
		t, err := tensor.Join(list...)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", name, err)
		}
		s.batch[name] = t
	}
	var err error
	s.answers, err = s.ask(j.Context(), s.model)
	return s, err
}

// ask returns the logits of a model for the probe.
func (s *shortener) ask(ctx context.Context, m *graph.Model) ([]float32, error) {
	p, err := newPupil(ctx, m, s.probe[0], nil, true, s.threads)
	if err != nil {
		return nil, err
	}
	out, err := p.session.Run(ctx, s.batch)
	if err != nil {
		return nil, err
	}
	t, err := floatsOf(out[p.logits])
	if err != nil {
		return nil, fmt.Errorf("%q: %w", p.logits, err)
	}
	return tensor.Float32s(t), nil
}

// reached reports whether the model is small enough.
func (s *shortener) reached(want size, before int64) bool {
	if want.blocks > 0 {
		return len(residualBlocks(s.model)) <= want.blocks
	}
	return float64(macsOf(s.model, s.probe[0])) <= want.share*float64(before)
}

// round measures every block and drops the best few of those still to go; the
// others are measured anew in the next round.
func (s *shortener) round(ctx context.Context, want size, before int64) error {
	blocks := residualBlocks(s.model)
	if len(blocks) == 0 {
		return fmt.Errorf("the model has no residual block left to drop, and still %.2f of the multiply-accumulates",
			float64(macsOf(s.model, s.probe[0]))/float64(before))
	}
	costs := make([]float64, len(blocks))
	work := macsOf(s.model, s.probe[0])
	for i := range blocks {
		m := s.model.Clone()
		residualBlocks(m)[i].drop()
		answers, err := s.ask(ctx, m)
		if err != nil {
			return err
		}
		saved := float64(work - macsOf(m, s.probe[0]))
		costs[i] = squaredDistance(answers, s.answers) / max(saved, 1)
	}
	few := max(1, len(blocks)/10)
	for range few {
		if s.reached(want, before) {
			break
		}
		best := 0
		for i, c := range costs {
			if c < costs[best] {
				best = i
			}
		}
		residualBlocks(s.model)[best].drop()
		costs = append(costs[:best], costs[best+1:]...)
		s.dropped++
	}
	return nil
}

func squaredDistance(a, b []float32) float64 {
	var sum float64
	for i := range a {
		d := float64(a[i] - b[i])
		sum += d * d
	}
	return sum
}
