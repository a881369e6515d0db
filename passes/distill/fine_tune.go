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
is taken into the loss. loss:ctc aligns an output [N,T,C] or [T,N,C] with a
sequence of classes: the expected output of a sample (data pb:), integers that
-1 or the blank may fill up; it is the mean over samples of the loss by label.
Weights stored as 8-bit integers with constant scales train as floats that are
rounded on the way in, so that a quantized model can be tuned. Part of the
samples is held out, and the weights that did best on it are kept. The graph
stays as it is.`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, FineTuneOptions{Learning: learning, Loss: "cross-entropy"}, fineTune)

// FineTuneOptions are the options of [FineTune].
type FineTuneOptions struct {
	Learning
	Loss   string `opt:"loss" oneof:"cross-entropy|kl|bce|mse|l1|huber|ctc|output" help:"what is made small"`
	Blank  int    `opt:"blank" help:"class that stands between the labels of loss:ctc"`
	Scores string `opt:"scores" help:"the output that the loss is taken of (default: the first of floats)"`
}

// Validate reports an option out of range, or one that the loss cannot have.
func (o FineTuneOptions) Validate() error {
	if o.Loss == "ctc" && (o.Smoothing != 0 || o.Mixup != 0) {
		return fmt.Errorf("option \"loss\": ctc goes with neither smoothing nor mixup")
	}
	return o.Learning.Validate()
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
	if o.Loss != "output" {
		if err := answered(data); err != nil {
			return err
		}
	}
	var t train.Task
	switch o.Loss {
	case "output":
		t.Loss = []train.Term{train.Scalar(output)}
	case "ctc":
		t.Loss = []train.Term{train.CTC(output, o.Blank)}
	default:
		t.Loss = []train.Term{train.Labelled(o.Loss, output, o.Smoothing)}
		if j.Env.Labelled {
			t.Scores = output
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
