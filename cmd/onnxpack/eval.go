package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

func evalCommand() *cli.Command {
	return &cli.Command{
		Name:      "eval",
		Usage:     "measure a model's accuracy on labelled data, or its distance from another",
		ArgsUsage: "MODEL",
		Category:  catMeasure,
		Description: `   onnxpack eval model.onnx --data "images:photos?preset=imagenet-torchvision"
   onnxpack eval int8.onnx --reference float.onnx --data images:photos --engine ort

   With --target amd64-avx2, integer products are computed as ONNX Runtime does
   on a CPU without VNNI, which adds pairs of them in 16 bits with saturation.
   Any CPU can do that. With --engine ort, ONNX Runtime itself is shown a CPU of
   that profile.`,
		Flags: []cli.Flag{
			dataFlag("samples, as `SPEC`; see onnxpack data"),
			&cli.StringFlag{Name: "reference", Usage: "compare outputs with those of the model in `FILE`"},
			&cli.StringFlag{Name: "engine", Usage: "run on embedded or ort", Value: benchmark.EngineEmbedded},
			&cli.StringFlag{Name: "output", Usage: "take the class from output `NAME` (default: the first with more than one number)"},
			emulateFlagDef(),
			maxMemoryFlagDef(),
		},
		Action: evalModel,
	}
}

// evalResult is the JSON of eval.
type evalResult struct {
	Model   string             `json:"model"`
	Engine  string             `json:"engine"`
	Threads int                `json:"threads"`
	Data    string             `json:"data"`
	N       int                `json:"n"`
	Metrics map[string]float64 `json:"metrics"`
}

func evalModel(c *cli.Context) error {
	args, err := operands(c, "MODEL")
	if err != nil {
		return err
	}
	names, err := engines(c.String("engine"))
	if err == nil && len(names) != 1 {
		err = errors.New("--engine: eval takes one engine")
	}
	if err != nil {
		return err
	}
	o, err := engineOptions(c)
	if err != nil {
		return err
	}
	o.Emulate = c.IsSet("target")
	f, err := openModel(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if !c.IsSet("data") {
		return errors.New("eval: --data is missing")
	}
	data, err := openData(c, "data", f.Model)
	if err != nil {
		return err
	}
	defer data.Close()
	model, err := load(c.Context, names[0], args[0], f.Model, o)
	if err != nil {
		return err
	}
	defer model.close()
	var reference benchmark.Runner
	if path := c.String("reference"); path != "" {
		r, err := openModel(path)
		if err != nil {
			return err
		}
		defer r.Close()
		ref, err := load(c.Context, names[0], path, r.Model, o)
		if err != nil {
			return err
		}
		defer ref.close()
		reference = ref
	}
	if !data.Labelled() && reference == nil {
		return fmt.Errorf("eval: %s has no labels: give --reference to compare with another model", data)
	}
	scores, err := scoresOutput(f.Model, c.String("output"))
	if err != nil {
		return err
	}
	ev, err := benchmark.Evaluate(c.Context, model, reference, scores, watched(c, data))
	if err != nil {
		return err
	}
	r := evalResult{Model: args[0], Engine: names[0], Threads: o.Threads, Data: data.String(), N: ev.N, Metrics: ev.Metrics}
	return emit(c, r, func(w io.Writer) {
		fmt.Fprintf(w, "%s on %d samples (%s)\n", r.Model, r.N, r.Engine)
		for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
			fmt.Fprintf(w, "  %-10s %s\n", name, metricText(name, r.Metrics[name]))
		}
	})
}

// watched ranges over the samples and shows progress.
func watched(c *cli.Context, data *dataset.Data) iter.Seq2[dataset.Sample, error] {
	show := progress(c)
	return func(yield func(dataset.Sample, error) bool) {
		i := 0
		for s, err := range data.All(c.Context) {
			if !yield(s, err) {
				return
			}
			i++
			show("evaluate", i, data.Len())
		}
	}
}

// scoresOutput returns the output that holds class scores: the one asked for,
// or the first of floats that is not a single number, or else the first.
func scoresOutput(m *graph.Model, name string) (string, error) {
	outs := m.Graph.Outputs()
	if name == "" {
		for _, v := range outs {
			if t := v.Type; t != nil && t.Kind == graph.KindTensor && t.Elem.IsFloat() && !isScalar(t.Shape) {
				return v.Name(), nil
			}
		}
		if len(outs) == 0 {
			return "", errors.New("the model has no outputs")
		}
		return outs[0].Name(), nil
	}
	var known []string
	for _, v := range outs {
		if v.Name() == name {
			return name, nil
		}
		known = append(known, v.Name())
	}
	return "", fmt.Errorf("--output: the model has no output %q, want one of %q", name, known)
}

func isScalar(d graph.Dims) bool { return d != nil && len(d) == 0 }

// metricText shows a metric in the unit that people use for it.
func metricText(name string, x float64) string {
	switch name {
	case "top1", "top5", "agreement":
		return fmt.Sprintf("%.2f %%", 100*x)
	case "sqnr_db":
		return fmt.Sprintf("%.1f dB", x)
	}
	return fmt.Sprintf("%.6g", x)
}
