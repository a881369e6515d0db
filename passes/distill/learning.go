package distill

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// Learning are the options of all passes that train.
type Learning struct {
	Epochs     int      `opt:"epochs" help:"how often to go through the data"`
	Batch      int      `opt:"batch" help:"samples of one step"`
	Rate       float64  `opt:"lr" help:"learning rate at its height"`
	Optimizer  string   `opt:"optimizer" oneof:"sgd|adam|adamw|lamb" help:"how weights follow the gradient"`
	Momentum   float64  `opt:"momentum" help:"of sgd"`
	Nesterov   bool     `opt:"nesterov" help:"look ahead along the momentum of sgd"`
	Decay      float64  `opt:"decay" help:"weight decay, of all but biases and scales"`
	Schedule   string   `opt:"schedule" oneof:"constant|step|cosine|one-cycle" help:"how the learning rate goes"`
	Warmup     float64  `opt:"warmup" help:"share of the steps over which the learning rate rises"`
	Clip       float64  `opt:"clip" help:"bound on the norm of the gradient, 0 for none"`
	Accumulate int      `opt:"accumulate" help:"steps whose gradients are averaged for one update"`
	EMA        float64  `opt:"ema" help:"decay of the moving average of the weights, which is what is kept; 0 for none"`
	Smoothing  float64  `opt:"smoothing" help:"share of a label that all classes get"`
	Mixup      float64  `opt:"mixup" help:"parameter of the shares in which samples are mixed, 0 for none"`
	Flip       bool     `opt:"flip" help:"mirror images at random"`
	Shift      int      `opt:"shift" help:"move images at random by up to so many pixels"`
	Crop       float64  `opt:"crop" help:"cut out a part of images at random, of at least this share of their sides; 0 for none"`
	Turn       float64  `opt:"turn" help:"rotate images at random by up to so many degrees"`
	Mask       float64  `opt:"mask" help:"share of tokens that are replaced at random"`
	MaskToken  int      `opt:"mask-token" help:"by this one"`
	Dropout    bool     `opt:"dropout" help:"let the model's Dropout nodes work"`
	Norms      string   `opt:"norms" oneof:"batch|frozen" help:"whether BatchNormalization takes the statistics of batches or keeps its own"`
	KeepZeros  bool     `opt:"keep-zeros" help:"weights that are zero stay zero"`
	Scales     string   `opt:"scales" oneof:"fixed|learned" help:"whether the scales of quantized values and weights are trained too"`
	LoRA       int      `opt:"lora" help:"rank of the updates of matrices that train in their place, 0 for none"`
	MaxMemory  int      `opt:"max-memory" help:"MiB that weights and the values of a step may take, 0 for any number; what does not fit is computed twice"`
	Freeze     []string `opt:"freeze" help:"initializers that stay as they are, patterns with * and ?"`
	Held       float64  `opt:"held" help:"share of the samples that validates each epoch; the best weights are kept"`
	Patience   int      `opt:"patience" help:"epochs without a better validation after which training ends, 0 for no end"`
}

var learning = Learning{
	Epochs: 10, Batch: 32, Rate: 1e-3, Optimizer: "adamw", Momentum: 0.9, Decay: 1e-4,
	Schedule: "cosine", Accumulate: 1, Norms: "batch", Scales: "fixed", KeepZeros: true, Held: 0.1,
}

// Validate reports an option out of range.
func (l Learning) Validate() error {
	if l.Held < 0 || l.Held >= 1 {
		return fmt.Errorf("option \"held\": got %v, want at least 0 and less than 1", l.Held)
	}
	o := l.options(&passes.Env{})
	return o.Validate()
}

func (l Learning) options(env *passes.Env) train.Options {
	return train.Options{
		Epochs: l.Epochs, Batch: l.Batch, Optimizer: l.Optimizer, Rate: l.Rate, Momentum: l.Momentum,
		Nesterov: l.Nesterov, Decay: l.Decay, Schedule: train.Schedule{Kind: l.Schedule, Warmup: l.Warmup},
		Clip: l.Clip, Accum: l.Accumulate, EMA: l.EMA, Smoothing: l.Smoothing, Mixup: l.Mixup,
		Augment: train.Augment{Flip: l.Flip, Shift: l.Shift, Crop: l.Crop, Turn: l.Turn, Mask: l.Mask, MaskToken: int64(l.MaskToken)},
		Dropout: l.Dropout, FrozenBN: l.Norms == "frozen", KeepZeros: l.KeepZeros, Scales: l.Scales == "learned", LoRA: l.LoRA, Patience: l.Patience,
		Frozen:    func(name string) bool { return passes.Match(l.Freeze, name) },
		MaxMemory: int64(l.MaxMemory) << 20, Seed: env.Seed, Threads: env.Threads,
	}
}

// samples reads the calibration data and holds out a part.
func (l Learning) samples(j *passes.Job) (data, held train.Source, err error) {
	all, err := train.Collect(j.Context(), j.Env.Calibration(j.Context()))
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	if all.Len() < 2 {
		return nil, nil, fmt.Errorf("data: got %d samples, want at least 2 to train on", all.Len())
	}
	data, held = train.Split(all, l.Held)
	return data, held, nil
}

// learn runs a task and puts its result, and how it went, in the job.
func (l Learning) learn(j *passes.Job, t train.Task, data, held train.Source) error {
	return l.learnPart(j, t, data, held, nil)
}

// part is what of a model learns at a time.
type part struct {
	name    string // in the report
	weights map[string]bool
}

// learnPart is learn that moves the weights of a part alone, all if p is nil.
func (l Learning) learnPart(j *passes.Job, t train.Task, data, held train.Source, p *part) error {
	if err := l.checkFrozen(j.Model); err != nil {
		return err
	}
	t.Model, t.Data, t.Held = j.Model, data, held
	t.Options = l.options(j.Env)
	of := ""
	if p != nil {
		of = p.name + ", "
		frozen := t.Options.Frozen
		t.Options.Frozen = func(name string) bool { return !p.weights[name] || frozen(name) }
	}
	t.Stop = j.Env.Stop
	if j.Env.Checkpoints != nil {
		t.Checkpoints = named{j.Env.Checkpoints}
	}
	state := ""
	t.Watch = func(p train.Point) {
		state = progressText(p, state)
		j.ProgressAt(of+state, p.Step, p.Steps)
	}
	r, err := train.Run(j.Context(), t)
	if err != nil {
		return err
	}
	j.Model = r.Model
	j.Changed(r.Steps)
	report(j, of, r, t.Loss)
	return nil
}

// checkFrozen reports a pattern of what is to stay that nothing matches.
func (l Learning) checkFrozen(m *graph.Model) error {
	for _, pattern := range l.Freeze {
		matches := func(v *graph.Value) bool { return passes.Match([]string{pattern}, v.Name()) }
		if !slices.ContainsFunc(m.Graph.Inits(), matches) {
			return fmt.Errorf("option \"freeze\": no initializer matches %q", pattern)
		}
	}
	return nil
}

// progressText says where a run is; the validation of an epoch stays in it
// until the next.
func progressText(p train.Point, last string) string {
	if !p.Validated {
		if last == "" {
			return fmt.Sprintf("loss %.4g", p.Loss)
		}
		return last
	}
	text := fmt.Sprintf("epoch %d, loss %.4g, held %.4g", p.Epoch+1, p.Loss, p.HeldLoss)
	if !math.IsNaN(p.Score) {
		text += fmt.Sprintf(", top-1 %.2f %%", 100*p.Score)
	}
	return text
}

// report enters how a run went; of names what of the model it was about.
func report(j *passes.Job, of string, r *train.Result, terms []train.Term) {
	note := func(format string, args ...any) { j.Note("%s", of+fmt.Sprintf(format, args...)) }
	for _, n := range r.Notes {
		note("%s", n)
	}
	if r.Stopped != "" {
		note("%s", r.Stopped)
	}
	if r.Resumed > 0 {
		note("resumed after step %d", r.Resumed)
	}
	j.Figure(of+"trained parameters", float64(r.Trained))
	j.Figure(of+"epochs", float64(len(r.Curve)))
	if len(r.Curve) == 0 {
		return
	}
	column := func(name string, f func(train.Point) float64) {
		var y []float64
		for _, p := range r.Curve {
			if x := f(p); x-x == 0 {
				y = append(y, x)
			}
		}
		if len(y) != len(r.Curve) {
			return
		}
		j.Curve(of+name, y)
		if r.Best >= 0 {
			j.Figure(of+name, y[r.Best])
		}
	}
	column("loss", func(p train.Point) float64 { return p.Loss })
	if len(terms) > 1 {
		for i, t := range terms {
			column("loss of "+t.Name, func(p train.Point) float64 { return p.Terms[i] })
		}
	}
	if !r.Start.Validated {
		return
	}
	column("held loss", func(p train.Point) float64 { return p.HeldLoss })
	column("held top-1", func(p train.Point) float64 { return p.Score })
	if r.Best < 0 {
		note("no epoch of %d does better on held samples than the weights at the start, which stay: loss %.4g", len(r.Curve), r.Start.HeldLoss)
		return
	}
	note("weights are those after epoch %d of %d, the best on held samples: loss %.4g, %.4g at the start",
		r.Best+1, len(r.Curve), r.Curve[r.Best].HeldLoss, r.Start.HeldLoss)
}

// named marks the checkpoints of this family.
type named struct{ to passes.Checkpoints }

func (n named) Load(key string) (io.ReadCloser, error) { return n.to.Load("train-" + key) }
func (n named) Due() bool                              { return n.to.Due() }
func (n named) Save(key string, write func(io.Writer) error) error {
	return n.to.Save("train-"+key, write)
}

// scoresOf returns the output that holds scores of classes: the named one, or
// the first of floats.
func scoresOf(m *graph.Model, name string) (string, error) {
	for _, v := range m.Graph.Outputs() {
		if name != "" && v.Name() != name {
			continue
		}
		if t := v.Type; t == nil || t.Kind == graph.KindTensor && t.Elem.IsFloat() {
			return v.Name(), nil
		}
	}
	if name != "" {
		return "", fmt.Errorf("the model has no output %q of floats", name)
	}
	return "", errors.New("the model has no output of floats")
}
