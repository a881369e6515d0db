package train

import (
	"context"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Labelled losses compare an output with the label of a sample, or with the
// expected output where the data has one.
var labelled = map[string]func(s *Scope, z, y, t *graph.Value) *graph.Value{
	"cross-entropy": func(s *Scope, z, _, t *graph.Value) *graph.Value {
		return s.Op("Neg", s.Mean(s.Sum(s.Op("Mul", t, s.LogSoftmax(z, 1)), false, 1)))
	},
	"kl": func(s *Scope, z, _, t *graph.Value) *graph.Value {
		entropy := s.Op("Mul", t, s.Op("Log", s.Op("Add", t, s.Number(1e-12))))
		return s.Mean(s.Sum(s.Op("Sub", entropy, s.Op("Mul", t, s.LogSoftmax(z, 1))), false, 1))
	},
	"bce": binaryCrossEntropy,
	"mse": func(s *Scope, _, y, t *graph.Value) *graph.Value { return s.MeanSquare(y, t) },
	"l1": func(s *Scope, _, y, t *graph.Value) *graph.Value {
		return s.Mean(s.Op("Abs", s.Op("Sub", y, t)))
	},
	"huber": func(s *Scope, _, y, t *graph.Value) *graph.Value { return s.Huber(y, t) },
}

// Losses lists the names that [Labelled] takes.
var Losses = []string{"cross-entropy", "kl", "bce", "mse", "l1", "huber"}

// targetFeed is the input that holds what an output should be.
const targetFeed = "train/target"

// Labelled returns the loss of the given name, one of [Losses], of an output.
// cross-entropy, kl and bce look at the value in front of a final Softmax or
// Sigmoid. The target is the expected output of a sample where the data has
// one; else it is 1 for the class of its label and 0 for the others, with
// what smoothing and mixup make of it.
func Labelled(loss, output string, smoothing float64) Term {
	classes := 0
	build := func(s *Scope) (*graph.Value, error) {
		y, err := s.Output(output)
		if err != nil {
			return nil, err
		}
		if y, classes, err = s.Classes(y); err != nil {
			return nil, err
		}
		z, err := s.Logits(output)
		if err != nil {
			return nil, err
		}
		if z, _, err = s.Classes(z); err != nil {
			return nil, err
		}
		return labelled[loss](s, z, y, s.Feed(targetFeed, tensor.Float32, tensor.Shape{classes})), nil
	}
	return Term{Name: loss, Weight: 1, Build: build, Feed: func(_ context.Context, b *Batch) (map[string]tensor.Value, error) {
		t, err := b.Targets(classes, smoothing)
		return map[string]tensor.Value{targetFeed: t}, err
	}}
}

// Scalar returns the loss that is a single-element output of the model.
func Scalar(output string) Term {
	return Term{Name: output, Weight: 1, Build: func(s *Scope) (*graph.Value, error) {
		v, err := s.Output(output)
		if err != nil {
			return nil, err
		}
		return s.Mean(v), nil
	}}
}

// binaryCrossEntropy of logits z: max(z,0) - z t + log(1 + exp(-|z|)).
func binaryCrossEntropy(s *Scope, z, _, t *graph.Value) *graph.Value {
	tail := s.Op("Log", s.Op("Add", s.Op("Exp", s.Op("Neg", s.Op("Abs", z))), s.Number(1)))
	return s.Mean(s.Op("Add", s.Op("Sub", s.Op("Relu", z), s.Op("Mul", z, t)), tail))
}

// MeanSquare is the mean of (a-b)^2.
func (s *Scope) MeanSquare(a, b *graph.Value) *graph.Value {
	d := s.Op("Sub", a, b)
	return s.Mean(s.Op("Mul", d, d))
}

// Huber is the mean of d^2/2 where |d| = |a-b| is less than 1, |d|-1/2
// elsewhere: with m = min(|d|,1) that is m (|d| - m/2).
func (s *Scope) Huber(a, b *graph.Value) *graph.Value {
	d := s.Op("Abs", s.Op("Sub", a, b))
	m := s.Op("Min", d, s.Number(1))
	return s.Mean(s.Op("Mul", m, s.Op("Sub", d, s.Op("Mul", m, s.Number(0.5)))))
}

// TeacherKL is T^2 KL(softmax(t/T) || softmax(z/T)), the mean over the batch,
// of logits z and t of [batch, classes] (Hinton et al. 2015).
func (s *Scope) TeacherKL(z, t *graph.Value, temperature float64) *graph.Value {
	logP := s.LogSoftmax(t, temperature)
	d := s.Op("Sub", logP, s.LogSoftmax(z, temperature))
	kl := s.Mean(s.Sum(s.Op("Mul", s.Op("Exp", logP), d), false, 1))
	return s.Op("Mul", kl, s.Number(temperature*temperature))
}

// CheckLoss returns an error for a name that is not one of [Losses].
func CheckLoss(name string) error {
	if labelled[name] == nil {
		return fmt.Errorf("there is no loss %q, want one of %v", name, Losses)
	}
	return nil
}
