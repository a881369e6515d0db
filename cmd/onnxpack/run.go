package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run a model on data and write what comes out",
		ArgsUsage: "MODEL",
		Category:  catMeasure,
		Description: `Results of several samples are joined along their first axis.

   onnxpack run model.onnx --data npz:feeds.npz -o out.npz
   onnxpack run model.onnx --data random:1`,
		Flags: []cli.Flag{
			dataFlag("samples, as `SPEC`; see onnxpack data"),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the outputs as NumPy arrays to `FILE`.npz"},
			&cli.StringFlag{Name: "engine", Usage: "run on embedded or ort", Value: benchmark.EngineEmbedded},
			&cli.StringFlag{Name: "compare", Usage: "compare the results with those of `ENGINE` (ort), and find the first value that differs"},
			emulateFlagDef(),
			maxMemoryFlagDef(),
		},
		Action: runModel,
	}
}

// runResult is the JSON of run.
type runResult struct {
	Model   string      `json:"model"`
	Engine  string      `json:"engine"`
	N       int         `json:"n"`
	Outputs []runOutput `json:"outputs"`
}

type runOutput struct {
	Name  string       `json:"name"`
	DType string       `json:"dtype"`
	Shape tensor.Shape `json:"shape"`
	Min   *float64     `json:"min,omitempty"`
	Max   *float64     `json:"max,omitempty"`
	Mean  *float64     `json:"mean,omitempty"`
}

func runModel(c *cli.Context) error {
	args, err := operands(c, "MODEL")
	if err != nil {
		return err
	}
	names, err := engines(c.String("engine"))
	if err == nil && len(names) != 1 {
		err = errors.New("--engine: run takes one engine")
	}
	if err != nil {
		return err
	}
	if !c.IsSet("data") {
		return errors.New("run: --data is missing")
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
	data, err := openData(c, "data", f.Model)
	if err != nil {
		return err
	}
	defer data.Close()
	if judge := c.String("compare"); judge != "" {
		if judge != benchmark.EngineORT {
			return fmt.Errorf("--compare is %q, want %s", judge, benchmark.EngineORT)
		}
		return compareORT(c, args[0], f.Model, data, o)
	}
	model, err := load(c.Context, names[0], args[0], f.Model, o)
	if err != nil {
		return err
	}
	defer model.close()
	outs, err := runAll(c, model, f.Model, data)
	if err != nil {
		return err
	}
	if path := c.String("output"); path != "" {
		if err := writeFile(path, func(w io.Writer) error { return outs.write(w) }); err != nil {
			return err
		}
	}
	r := runResult{Model: args[0], Engine: names[0], N: data.Len(), Outputs: outs.describe()}
	return emit(c, r, func(w io.Writer) {
		tab := newTable(w, "output", "type", "min", "max", "mean")
		for _, o := range r.Outputs {
			tab.AppendRow([]any{o.Name, o.DType + o.Shape.String(), number(o.Min), number(o.Max), number(o.Mean)})
		}
		tab.Render()
	})
}

func number(x *float64) string {
	if x == nil {
		return ""
	}
	return fmt.Sprintf("%.6g", *x)
}

// outputs are the results of a run over samples, by name.
type outputs struct {
	names   []string
	tensors map[string][]*tensor.Tensor
	joined  map[string]*tensor.Tensor
}

func runAll(c *cli.Context, model benchmark.Runner, m *graph.Model, data *dataset.Data) (*outputs, error) {
	o := &outputs{tensors: map[string][]*tensor.Tensor{}, joined: map[string]*tensor.Tensor{}}
	for _, v := range m.Graph.Outputs() {
		o.names = append(o.names, v.Name())
	}
	for s, err := range watched(c, data) {
		if err != nil {
			return nil, err
		}
		got, err := model.Run(c.Context, s.Feeds)
		if err != nil {
			return nil, err
		}
		for _, name := range o.names {
			t, ok := got[name].(*tensor.Tensor)
			if !ok {
				return nil, fmt.Errorf("output %q is not a tensor: run writes tensors only", name)
			}
			o.tensors[name] = append(o.tensors[name], t.Clone())
		}
	}
	for name, ts := range o.tensors {
		joined, err := tensor.Join(ts...)
		if err != nil {
			return nil, fmt.Errorf("output %q: the samples' results do not join: %w", name, err)
		}
		o.joined[name] = joined
	}
	return o, nil
}

func (o *outputs) write(w io.Writer) error { return dataset.WriteNPZ(w, o.names, o.joined) }

func (o *outputs) describe() []runOutput {
	var rows []runOutput
	for _, name := range o.names {
		t := o.joined[name]
		r := runOutput{Name: name, DType: t.DType().String(), Shape: t.Shape()}
		if t.Len() > 0 && (t.DType().IsFloat() || t.DType().IsInteger()) {
			lo, hi, sum := spread(tensor.Float64s(t))
			r.Min, r.Max, r.Mean = &lo, &hi, &sum
		}
		rows = append(rows, r)
	}
	return rows
}

func spread(xs []float64) (lo, hi, mean float64) {
	lo, hi = xs[0], xs[0]
	for _, x := range xs {
		lo, hi = min(lo, x), max(hi, x)
		mean += x / float64(len(xs))
	}
	return lo, hi, mean
}
