package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets"
	"github.com/onnxpack/onnxpack/targets/engine"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare two models: nodes, attributes, weights, opsets and outputs",
		ArgsUsage: "A B",
		Category:  catLook,
		Description: `The exit code is 1 if the models differ in anything but names of their
producer. Outputs are compared on --data, by default 3 random samples.`,
		Flags: []cli.Flag{
			dataFlag("compare outputs on `SPEC` (default: random:3)"),
			&cli.BoolFlag{Name: "no-run", Usage: "do not compare outputs"},
		},
		Action: diffModels,
	}
}

// difference is the JSON of diff.
type difference struct {
	A       string             `json:"a"`
	B       string             `json:"b"`
	Equal   bool               `json:"equal"`
	First   string             `json:"first_difference,omitempty"`
	Opsets  []string           `json:"opsets"`
	Ops     map[string][2]int  `json:"operators"` // those whose number differs
	Weights []weightDiff       `json:"weights"`   // those of the same name that differ
	OnlyA   []string           `json:"weights_only_in_a"`
	OnlyB   []string           `json:"weights_only_in_b"`
	Outputs map[string]float64 `json:"outputs,omitempty"`
	NotRun  string             `json:"outputs_not_compared,omitempty"`
}

type weightDiff struct {
	Name   string  `json:"name"`
	What   string  `json:"what"`
	MaxAbs float64 `json:"max_abs"`
}

func diffModels(c *cli.Context) error {
	args, err := operands(c, "A", "B")
	if err != nil {
		return err
	}
	a, err := openModel(args[0])
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := openModel(args[1])
	if err != nil {
		return err
	}
	defer b.Close()
	r := &difference{A: args[0], B: args[1], Ops: map[string][2]int{}}
	r.First = graph.DiffModels(a.Model, b.Model)
	r.Equal = r.First == ""
	r.diffOpsets(a.Model, b.Model)
	r.diffOps(a.Model, b.Model)
	r.diffWeights(a.Model, b.Model)
	if !c.Bool("no-run") && !r.Equal {
		if err := r.diffOutputs(c, a, b); err != nil {
			r.NotRun = err.Error()
		}
	}
	if err := emit(c, r, r.write); err != nil {
		return err
	}
	if !r.Equal {
		return &gateError{}
	}
	return nil
}

func (r *difference) diffOpsets(a, b *graph.Model) {
	r.Opsets = []string{}
	domains := map[string]bool{}
	for _, s := range append(slices.Clone(a.Opsets), b.Opsets...) {
		domains[s.Domain] = true
	}
	for _, d := range slices.Sorted(maps.Keys(domains)) {
		if x, y := a.Opset(d), b.Opset(d); x != y {
			r.Opsets = append(r.Opsets, fmt.Sprintf("%q: %d and %d", d, x, y))
		}
	}
}

func countOps(m *graph.Model) map[string]int {
	counts := map[string]int{}
	for g := range m.Graphs(graph.InMain | graph.InSubgraphs) {
		for n := range g.Nodes() {
			name := n.Op
			if n.Domain != "" {
				name = n.Domain + "::" + n.Op
			}
			counts[name]++
		}
	}
	return counts
}

func (r *difference) diffOps(a, b *graph.Model) {
	x, y := countOps(a), countOps(b)
	for name := range maps.Keys(x) {
		if x[name] != y[name] {
			r.Ops[name] = [2]int{x[name], y[name]}
		}
	}
	for name := range maps.Keys(y) {
		if x[name] == 0 {
			r.Ops[name] = [2]int{0, y[name]}
		}
	}
}

func (r *difference) diffWeights(a, b *graph.Model) {
	x, y := literals(a), literals(b)
	r.Weights, r.OnlyA, r.OnlyB = []weightDiff{}, []string{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(x)) {
		other, ok := y[name]
		if !ok {
			r.OnlyA = append(r.OnlyA, name)
			continue
		}
		if d, differ := diffLiteral(x[name], other); differ {
			d.Name = name
			r.Weights = append(r.Weights, d)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(y)) {
		if x[name] == nil {
			r.OnlyB = append(r.OnlyB, name)
		}
	}
}

func diffLiteral(a, b *graph.Literal) (weightDiff, bool) {
	if a.DType() != b.DType() || !a.Shape().Equal(b.Shape()) {
		return weightDiff{What: fmt.Sprintf("%v%v and %v%v", a.DType(), a.Shape(), b.DType(), b.Shape())}, true
	}
	if a.Tensor == nil || b.Tensor == nil || a.Tensor.Equal(b.Tensor) {
		return weightDiff{}, false
	}
	d := weightDiff{What: a.Tensor.String()}
	if t := a.DType(); t.IsFloat() || t.IsInteger() {
		x, y := tensor.Float64s(a.Tensor), tensor.Float64s(b.Tensor)
		for i := range x {
			d.MaxAbs = max(d.MaxAbs, math.Abs(x[i]-y[i]))
		}
	}
	return d, true
}

// diffOutputs runs both models on the same samples. The error says why they
// cannot be compared.
func (r *difference) diffOutputs(c *cli.Context, a, b *onnxio.File) error {
	n, err := threads(c)
	if err != nil {
		return err
	}
	spec := c.String("data")
	if spec == "" {
		spec = fmt.Sprintf("random:3?seed=%d", c.Uint64("seed"))
	}
	data, err := dataset.Open(spec, a.Model.Graph.Inputs())
	if err != nil {
		return err
	}
	defer data.Close()
	scores, err := scoresOutput(a.Model, "")
	if err != nil {
		return err
	}
	if b.Model.Graph.Value(scores) == nil {
		return errors.New("the models' outputs have different names")
	}
	host := engine.Options{Target: targets.Host(), Threads: n}
	x, err := load(c.Context, benchmark.EngineEmbedded, r.A, a.Model, host)
	if err != nil {
		return err
	}
	y, err := load(c.Context, benchmark.EngineEmbedded, r.B, b.Model, host)
	if err != nil {
		return err
	}
	ev, err := benchmark.Evaluate(c.Context, y, x, scores, watched(c, data))
	if err != nil {
		return err
	}
	r.Outputs = ev.Metrics
	return nil
}

func (r *difference) write(w io.Writer) {
	if r.Equal {
		fmt.Fprintf(w, "%s and %s are equal\n", r.A, r.B)
		return
	}
	fmt.Fprintf(w, "%s and %s differ, first: %s\n", r.A, r.B, r.First)
	for _, s := range r.Opsets {
		fmt.Fprintf(w, "  opset %s\n", s)
	}
	if len(r.Ops) > 0 {
		tab := newTable(w, "operator", "in A", "in B")
		for _, name := range slices.Sorted(maps.Keys(r.Ops)) {
			tab.AppendRow([]any{name, r.Ops[name][0], r.Ops[name][1]})
		}
		tab.Render()
	}
	for _, d := range r.Weights {
		fmt.Fprintf(w, "  weight %s %s: largest difference %.6g\n", d.Name, d.What, d.MaxAbs)
	}
	for _, only := range []struct {
		where string
		names []string
	}{{"A", r.OnlyA}, {"B", r.OnlyB}} {
		if n := len(only.names); n > 0 {
			fmt.Fprintf(w, "  %d weights only in %s: %q\n", n, only.where, only.names[:min(n, 5)])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Outputs)) {
		fmt.Fprintf(w, "  outputs, %s: %s\n", metricName(name), metricText(name, r.Outputs[name]))
	}
	if r.NotRun != "" {
		fmt.Fprintf(w, "  outputs not compared: %s\n", r.NotRun)
	}
}
