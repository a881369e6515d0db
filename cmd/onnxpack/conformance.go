package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark/conformance"
)

func conformanceCommand() *cli.Command {
	return &cli.Command{
		Name:      "conformance",
		Usage:     "run tests in ONNX's layout on our engine",
		ArgsUsage: "DIR…",
		Category:  catMeasure,
		Description: `A test is a folder with model.onnx and test_data_set_*, at any depth. The exit
code is 1 if any test fails.`,
		Action: runConformance,
	}
}

func runConformance(c *cli.Context) error {
	dirs := c.Args().Slice()
	if len(dirs) == 0 {
		return errors.New("conformance: DIR is missing")
	}
	var o conformance.Options
	if !c.Bool("quiet") && c.String("json") != "-" {
		o.Progress = func(t conformance.Case, err error) {
			if err != nil && !errors.Is(err, conformance.ErrSkip) {
				fmt.Fprintf(c.App.ErrWriter, "%s: %v\n", t.Name, err)
			}
		}
	}
	r, err := conformance.Run(c.Context, dirs, o)
	if err != nil {
		return err
	}
	err = emit(c, r, func(w io.Writer) {
		fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", r.Passed, len(r.Failed), len(r.Skipped))
	})
	if err == nil && len(r.Failed) > 0 {
		return &gateError{}
	}
	return err
}
