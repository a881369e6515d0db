package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

func threadsOf(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// trainer is a run.
type trainer struct {
	task  *Task
	o     *Options
	base  *base
	train *form
	valid *form // nil without held samples
	opt   *optimizer

	batch    int // samples of a step
	perEpoch int // steps of an epoch
	steps    int // of the run
	key      string

	state
}

// state is what a checkpoint holds: all that the rest of a run depends on.
type state struct {
	Step      int         // done
	Updates   int         // done
	Weights   [][]float32 // of parameters and statistics, at the checkpoint
	Moments   [][][]float32
	Sum       [][]float32 // gradients of steps that await their update
	EMA       [][]float32 // nil without one
	Kept      [][]float32 // the best so far, nil before the first validation
	Start     Point       // validated before the first step
	Curve     []Point
	Best      int       // index in Curve, -1 for the start
	EpochLoss []float64 // sums over the steps of the epoch: the loss, then its terms
}

// Run trains. The error names what is wrong with the task, the sample or the
// step.
func Run(ctx context.Context, t Task) (*Result, error) {
	r, err := newTrainer(ctx, &t)
	if err != nil {
		return nil, err
	}
	res := &Result{Steps: 0, Notes: r.base.notes}
	if res.Resumed, err = r.resume(); err != nil {
		return nil, err
	}
	if r.Step == 0 {
		if err := r.begin(ctx); err != nil {
			return nil, err
		}
	}
	for r.Step < r.steps && res.Stopped == "" {
		if err := r.step(ctx); err != nil {
			return nil, err
		}
		if r.Step%r.perEpoch == 0 {
			if err := r.endEpoch(ctx); err != nil {
				return nil, err
			}
			if r.o.Patience > 0 && len(r.Curve)-1-r.Best >= r.o.Patience {
				res.Stopped = fmt.Sprintf("no better validation in %d epochs", r.o.Patience)
			}
		}
		if stopped(t.Stop) {
			res.Stopped = fmt.Sprintf("stopped after %d of %d steps", r.Step, r.steps)
		}
		if err := r.checkpoint(res.Stopped != ""); err != nil {
			return nil, err
		}
	}
	r.keepBest()
	if err := r.finite(); err != nil {
		return nil, err
	}
	res.Model, res.Start, res.Curve, res.Best, res.Steps = r.base.export(), r.Start, r.Curve, r.Best, r.Updates
	for _, p := range r.base.params {
		res.Trained += len(p.w)
	}
	return res, nil
}

func stopped(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func newTrainer(ctx context.Context, t *Task) (*trainer, error) {
	if err := t.Options.Validate(); err != nil {
		return nil, err
	}
	if t.Data == nil || t.Data.Len() == 0 {
		return nil, errors.New("there are no samples to train on")
	}
	b, err := newBase(t)
	if err != nil {
		return nil, err
	}
	r := &trainer{task: t, o: &t.Options, base: b, batch: min(t.Options.Batch, t.Data.Len())}
	r.perEpoch = t.Data.Len() / r.batch
	r.steps = r.perEpoch * r.o.Epochs
	if r.train, err = b.trainForm(ctx, t, r.batch); err != nil {
		return nil, err
	}
	if t.Held != nil && t.Held.Len() > 0 {
		if r.valid, err = b.validForm(ctx, t); err != nil {
			return nil, err
		}
	}
	r.opt = newOptimizer(r.o, b.params)
	r.Moments = r.opt.moments
	r.Sum = zerosLike(b.params)
	r.EpochLoss = make([]float64, 1+len(t.Loss))
	if r.o.EMA > 0 {
		r.EMA = r.weights()
	}
	return r, nil
}

// weights returns a copy of the parameters and statistics.
func (r *trainer) weights() [][]float32 {
	var all [][]float32
	for _, p := range r.all() {
		all = append(all, append([]float32(nil), p.w...))
	}
	return all
}

func (r *trainer) all() []*param {
	return append(append([]*param(nil), r.base.params...), r.base.stats...)
}

// setWeights copies w into the parameters and statistics.
func (r *trainer) setWeights(w [][]float32) {
	for i, p := range r.all() {
		copy(p.w, w[i])
	}
}

// batchAt returns which samples step s is given: each epoch goes through all
// in an order of its own, and leaves out what does not fill a batch.
func (r *trainer) batchAt(s int) []int {
	epoch, at := s/r.perEpoch, s%r.perEpoch
	order := stream(r.o.Seed, forOrder, epoch).Perm(r.task.Data.Len())
	return order[at*r.batch : (at+1)*r.batch]
}

// step runs one batch and, where enough gradients are summed up, updates.
func (r *trainer) step(ctx context.Context) error {
	b, err := load(r.task.Data, r.batchAt(r.Step), r.o, r.Step)
	if err != nil {
		return fmt.Errorf("step %d: %w", r.Step, err)
	}
	out, err := r.train.run(ctx, r.task, b, r.Step)
	if err != nil {
		return fmt.Errorf("step %d: %w", r.Step, err)
	}
	point, err := r.note(out)
	if err != nil {
		return err
	}
	for i, p := range r.base.stats {
		if r.train.stats != nil {
			copy(p.w, tensor.Data[float32](out[r.train.stats[i]].(*tensor.Tensor)))
		}
	}
	r.gather(out)
	r.Step++
	if r.Step%r.o.Accum == 0 || r.Step == r.steps {
		r.update(point.Rate)
	}
	if r.task.Watch != nil {
		r.task.Watch(point)
	}
	return nil
}

// note reads the losses of a step.
func (r *trainer) note(out map[string]tensor.Value) (Point, error) {
	p := Point{Step: r.Step + 1, Steps: r.steps, Epoch: r.Step / r.perEpoch, Loss: scalar(out, lossName), Score: math.NaN()}
	p.Rate = r.o.Rate * r.o.Schedule.Rate(r.Step/r.o.Accum, (r.steps+r.o.Accum-1)/r.o.Accum)
	r.EpochLoss[0] += p.Loss
	for i, name := range r.train.terms {
		x := scalar(out, name)
		p.Terms = append(p.Terms, x)
		r.EpochLoss[1+i] += x
		if x-x != 0 {
			return p, fmt.Errorf("step %d: the loss %q is %v at a learning rate of %.3g; a lower one, a warm-up or clipping may help", r.Step, r.task.Loss[i].Name, x, p.Rate)
		}
	}
	return p, nil
}

// gather adds the gradients of a step to the sum.
func (r *trainer) gather(out map[string]tensor.Value) {
	inParallel(len(r.Sum), r.o.Threads, func(i int) {
		sum := r.Sum[i]
		for k, g := range tensor.Data[float32](out[r.train.grads[i]].(*tensor.Tensor)) {
			sum[k] += g
		}
	})
}

func (r *trainer) update(rate float64) {
	n := r.Step - r.Updates*r.o.Accum // steps since the last update
	if n > 1 {
		for _, g := range r.Sum {
			for k := range g {
				g[k] /= float32(n)
			}
		}
	}
	r.Updates++
	r.opt.update(r.Sum, rate, r.Updates)
	for _, g := range r.Sum {
		clear(g)
	}
	if r.EMA == nil {
		return
	}
	decay := float32(min(r.o.EMA, (1+float64(r.Updates))/(10+float64(r.Updates))))
	for i, p := range r.all() {
		for k, w := range p.w {
			r.EMA[i][k] = decay*r.EMA[i][k] + (1-decay)*w
		}
	}
}

// begin validates the weights that the run starts from, which are kept if no
// epoch does better.
func (r *trainer) begin(ctx context.Context) error {
	r.Best = -1
	r.Start = Point{Steps: r.steps, Loss: math.NaN(), Score: math.NaN()}
	if r.valid == nil {
		return nil
	}
	if err := r.validate(ctx, &r.Start); err != nil {
		return fmt.Errorf("validation before the first step: %w", err)
	}
	r.Kept = r.weights()
	return nil
}

// endEpoch adds a point to the curve and, where samples are held out,
// validates and keeps the weights if none were better.
func (r *trainer) endEpoch(ctx context.Context) error {
	p := Point{Step: r.Step, Steps: r.steps, Epoch: r.Step/r.perEpoch - 1, Loss: r.EpochLoss[0] / float64(r.perEpoch), Score: math.NaN()}
	for _, x := range r.EpochLoss[1:] {
		p.Terms = append(p.Terms, x/float64(r.perEpoch))
	}
	clear(r.EpochLoss)
	live := r.weights()
	if r.EMA != nil {
		r.setWeights(r.EMA)
	}
	if r.valid != nil {
		if err := r.validate(ctx, &p); err != nil {
			return fmt.Errorf("validation after epoch %d: %w", p.Epoch+1, err)
		}
	}
	r.Curve = append(r.Curve, p)
	if r.Kept == nil || r.valid == nil || p.better(r.best()) {
		r.Best, r.Kept = len(r.Curve)-1, r.weights()
	}
	r.setWeights(live)
	if r.task.Watch != nil {
		r.task.Watch(p)
	}
	return nil
}

// best is the validation of the weights that are kept.
func (r *trainer) best() Point {
	if r.Best < 0 {
		return r.Start
	}
	return r.Curve[r.Best]
}

// better reports whether p is a better validation than q: more right answers
// or, where these are as many or not known, a lower loss.
func (p Point) better(q Point) bool {
	if !math.IsNaN(p.Score) && p.Score != q.Score {
		return p.Score > q.Score
	}
	return p.HeldLoss < q.HeldLoss || math.IsNaN(q.HeldLoss)
}

// finite reports the first parameter that the last step, whose loss was still a
// number, made none.
func (r *trainer) finite() error {
	for _, p := range r.base.params {
		if i := slices.IndexFunc(p.w, func(x float32) bool { return x-x != 0 }); i >= 0 {
			return fmt.Errorf("step %d: %q becomes %v: a lower learning rate, a warm-up or clipping may help", r.Step-1, p.name, p.w[i])
		}
	}
	return nil
}

// keepBest sets the weights to the best of the run, those of now if no epoch
// was finished.
func (r *trainer) keepBest() {
	switch {
	case r.Kept != nil:
		r.setWeights(r.Kept)
	case r.EMA != nil:
		r.setWeights(r.EMA)
	}
}
