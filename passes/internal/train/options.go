package train

import (
	"fmt"
	"slices"
	"strings"
)

// Options says how a model is trained. [Defaults] is where to start from.
type Options struct {
	Epochs int
	Batch  int // samples of one step

	Optimizer string  // sgd, adam, adamw or lamb
	Rate      float64 // learning rate at its height
	Momentum  float64 // of sgd
	Nesterov  bool
	Decay     float64 // of weights with more than one axis
	Schedule  Schedule
	Clip      float64 // bound on the L2 norm of the whole gradient, 0 for none
	Accum     int     // steps whose gradients are averaged for one update

	EMA       float64 // decay of the moving average of weights that is kept, 0 for none
	Smoothing float64 // share of a label's weight that all classes get
	Mixup     float64 // parameter of the Beta distribution of mixing shares, 0 for none
	Augment   Augment

	Dropout   bool // leave Dropout at work
	FrozenBN  bool // keep the statistics of BatchNormalization
	KeepZeros bool // weights that are zero stay zero
	Scales    bool // scales of quantized values and weights are learned too
	LoRA      int  // rank of the updates that train in place of matrices, 0 for the matrices

	Patience int // epochs without a better validation before training ends, 0 for no end

	// Frozen reports whether the parameter or statistic of the given name stays
	// as it is; nil freezes none.
	Frozen func(name string) bool

	// MaxMemory is how many bytes the weights and the values of a step may
	// take, 0 for any number. A step that needs more keeps less in memory and
	// computes it once more, see [grad.Options].
	MaxMemory int64

	Seed    uint64
	Threads int // 0 is one for each core
}

// Defaults returns options that suit fine-tuning.
func Defaults() Options {
	return Options{
		Epochs: 10, Batch: 32, Optimizer: "adamw", Rate: 1e-3, Momentum: 0.9,
		Decay: 1e-4, Schedule: Schedule{Kind: "cosine"}, Accum: 1,
	}
}

// Optimizers lists the kinds of optimizers.
var Optimizers = []string{"sgd", "adam", "adamw", "lamb"}

// Validate reports the first option out of range.
func (o *Options) Validate() error {
	bad := func(name string, got any, want string) error {
		return fmt.Errorf("option %q: got %v, want %s", name, got, want)
	}
	switch {
	case o.Epochs < 0:
		return bad("epochs", o.Epochs, "at least 0")
	case o.Batch < 1:
		return bad("batch", o.Batch, "at least 1")
	case !slices.Contains(Optimizers, o.Optimizer):
		return bad("optimizer", o.Optimizer, strings.Join(Optimizers, ", "))
	case !slices.Contains(Schedules, o.Schedule.Kind):
		return bad("schedule", o.Schedule.Kind, strings.Join(Schedules, ", "))
	case !(o.Rate > 0):
		return bad("lr", o.Rate, "more than 0")
	case o.Momentum < 0 || o.Momentum >= 1:
		return bad("momentum", o.Momentum, "at least 0 and less than 1")
	case o.Decay < 0:
		return bad("decay", o.Decay, "at least 0")
	case o.Schedule.Warmup < 0 || o.Schedule.Warmup >= 1:
		return bad("warmup", o.Schedule.Warmup, "a share of the updates, less than 1")
	case o.Clip < 0:
		return bad("clip", o.Clip, "at least 0")
	case o.Accum < 1:
		return bad("accumulate", o.Accum, "at least 1")
	case o.EMA < 0 || o.EMA >= 1:
		return bad("ema", o.EMA, "at least 0 and less than 1")
	case o.Smoothing < 0 || o.Smoothing >= 1:
		return bad("smoothing", o.Smoothing, "at least 0 and less than 1")
	case o.Mixup < 0:
		return bad("mixup", o.Mixup, "at least 0")
	case o.LoRA < 0:
		return bad("lora", o.LoRA, "at least 0")
	case o.MaxMemory < 0:
		return bad("max-memory", o.MaxMemory, "at least 0")
	case o.Patience < 0:
		return bad("patience", o.Patience, "at least 0")
	}
	return o.Augment.validate()
}
