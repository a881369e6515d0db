package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/distill"
)

func distillCommand() *cli.Command {
	return &cli.Command{
		Name:      "distill",
		Usage:     "train a smaller model to give a larger one's answers, and show both",
		ArgsUsage: "TEACHER",
		Category:  catMake,
		Description: `The student is a model of its own, or is made from the teacher: half, third and
macs=SHARE drop the residual blocks that matter least until that share of the
work is left, layers=N until N blocks are. It inherits the teacher's weights.
Labels are not needed, except for --hard.

   onnxpack distill big.onnx --student half --data images:photos -o small.onnx
   onnxpack distill big.onnx --teacher other.onnx --student small.onnx --data images:photos --hidden 1 -o out.onnx`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "student", Usage: "half, third, macs=SHARE, layers=N, or the model in `FILE`"},
			&cli.StringSliceFlag{Name: "teacher", Usage: "let the model in `FILE` teach too; logits are averaged"},
		}, trainingFlags(distill.Distill, "student", "teachers")...),
		Action: distillModel,
	}
}

func distillModel(c *cli.Context) error {
	t := &training{optimizer: optimizer{c: c}}
	defer t.close()
	if err := t.readFlags(); err != nil {
		return err
	}
	if !c.IsSet("student") {
		return errors.New("distill: --student is missing: half, third, macs=SHARE, layers=N or a file")
	}
	settings := optionSettings(c, distill.Distill)
	if info, err := os.Stat(c.String("student")); err == nil && !info.IsDir() {
		for i, s := range settings {
			if s.Key == "student" {
				settings[i].Value = "given"
			}
		}
	}
	step, err := distill.Distill.Step(settings...)
	if err != nil {
		return err
	}
	t.steps = []passes.Step{step}
	if err := t.open(); err != nil {
		return err
	}
	if err := t.openModels(); err != nil {
		return err
	}
	return t.train()
}

// openModels opens the student, if it is a file, and the further teachers.
func (t *training) openModels() error {
	t.models = map[string]*graph.Model{"teacher": t.file.Model}
	for i, path := range t.c.StringSlice("teacher") {
		f, err := openModel(path)
		if err != nil {
			return fmt.Errorf("--teacher: %w", err)
		}
		t.closers = append(t.closers, f.Close)
		t.models[fmt.Sprintf("teacher %d", i+2)] = f.Model
	}
	path := t.c.String("student")
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return nil
	}
	f, err := openModel(path)
	if err != nil {
		return fmt.Errorf("--student: %w", err)
	}
	t.closers = append(t.closers, f.Close)
	t.start = f.Model
	return nil
}
