package main

import (
	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/distill"
)

func tuneCommand() *cli.Command {
	return &cli.Command{
		Name:      "tune",
		Usage:     "train a model's weights on labelled data, and show before and after",
		ArgsUsage: "MODEL",
		Category:  catMake,
		Description: `The graph stays as it is; float weights, and 8-bit weights with constant scales,
follow the gradient of a loss. A share of the data (--held) validates each
epoch, and the weights that did best on it are written. Ctrl-C ends the
training early with the best so far.

   onnxpack tune model.onnx --data "cifar10:train.bin?preset=cifar10-torchvision" -o tuned.onnx
   onnxpack tune model.onnx --data idx:x.gz+y.gz --epochs 20 --lr 0.003 --schedule one-cycle --shift 2 -o tuned.onnx`,
		Flags:  trainingFlags(distill.FineTune),
		Action: tune,
	}
}

func tune(c *cli.Context) error {
	t := &training{optimizer: optimizer{c: c}}
	defer t.close()
	if err := t.readFlags(); err != nil {
		return err
	}
	step, err := trainingStep(c, distill.FineTune, optionSettings(c, distill.FineTune))
	if err != nil {
		return err
	}
	t.steps = []passes.Step{step}
	if err := t.open(); err != nil {
		return err
	}
	return t.train()
}
