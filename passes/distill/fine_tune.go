package distill

import (
	"fmt"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// FineTune trains a model on labels.
var FineTune = passes.Define(passes.Pass{
	Name: "fine-tune",
	Doc: `train the weights on labelled data

Float weights follow the gradient of a loss between an output and the label
(or the expected output) of each sample; loss:output takes an output of the
model that is a single number for the loss itself. A final Softmax or Sigmoid
is taken into the loss. Weights stored as 8-bit integers with constant scales
train as floats that are rounded on the way in, so that a quantized model can
be tuned. Part of the samples is held out, and the weights that did best on it
are kept. The graph stays as it is.`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, FineTuneOptions{Learning: learning, Loss: "cross-entropy"}, fineTune)

// FineTuneOptions are the options of [FineTune].
type FineTuneOptions struct {
	Learning
	Loss   string `opt:"loss" oneof:"cross-entropy|kl|bce|mse|l1|huber|output" help:"what is made small"`
	Scores string `opt:"scores" help:"the output that the loss is taken of (default: the first of floats)"`
}

func fineTune(j *passes.Job, o FineTuneOptions) error {
	output, err := scoresOf(j.Model, o.Scores)
	if err != nil {
		return err
	}
	data, held, err := o.samples(j)
	if err != nil {
		return err
	}
	t := train.Task{Loss: []train.Term{train.Scalar(output)}}
	if o.Loss != "output" {
		t.Loss[0] = train.Labelled(o.Loss, output, o.Smoothing)
		if j.Env.Labelled {
			t.Scores = output
		}
		if err := answered(data); err != nil {
			return err
		}
	}
	return o.learn(j, t, data, held)
}

// answered reports data that does not say what is right.
func answered(data train.Source) error {
	s, err := data.At(0)
	if err == nil && s.Label < 0 && s.Want == nil {
		err = fmt.Errorf("the samples have no labels, which the loss needs")
	}
	return err
}
