package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/catalog"
	"github.com/onnxpack/onnxpack/passes/distill"
	"github.com/onnxpack/onnxpack/passes/nodeprune"
	"github.com/onnxpack/onnxpack/passes/simplify"
)

func pruneCommand() *cli.Command {
	return &cli.Command{
		Name:      "prune",
		Usage:     "remove channels and set weights to zero by what they contribute, and show before and after",
		ArgsUsage: "MODEL",
		Category:  catMake,
		Description: `Channels, heads and hidden units are removed (--nodes), whole layers and blocks
(--layers), channels that never change (--constants); single weights are set to
zero (--weights). The model is simplified first.

   onnxpack prune model.onnx --nodes macs=0.5 --by wanda --repair lstsq --data images:photos -o out.onnx
   onnxpack prune model.onnx --weights 2:4 --by sparsegpt --data images:photos -o out.onnx
   onnxpack prune model.onnx --weights 0.6 --by sparsegpt --repair in-turn --scope sensitivity --data images:photos -o out.onnx
   onnxpack prune model.onnx --explain

--recover trains what is left: distill asks the original, fine-tune the labels.
Normalizations are folded into weights after the training only.

What goes is chosen, repaired and trained on --data, and accuracy is measured on
--eval. Without it, 100 samples of --data, evenly spread, calibrate, and the others
evaluate; with --recover a tenth evaluates, and the others train.

   onnxpack prune model.onnx --nodes macs=0.5 --by wanda --repair lstsq --recover distill --epochs 20 --flip --data images:photos -o out.onnx
   onnxpack prune model.onnx --weights 0.9 --rounds 4 --recover distill --epochs 5 --data images:photos -o out.onnx`,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the model to `FILE`"},
			&cli.StringFlag{Name: "nodes", Usage: "remove a share of units, as many as leave macs=, params= or latency= of the model's, or as a budget= of points allows: `AMOUNT`"},
			&cli.StringFlag{Name: "layers", Usage: "remove a number of layers, or as many as leave macs= of the work or latency= of the time, or cost budget= points: `AMOUNT`"},
			&cli.BoolFlag{Name: "constants", Usage: "remove channels that are the same for all samples"},
			&cli.StringFlag{Name: "weights", Usage: "set to zero a share of weights, such as 0.8, 2:4, 4x1:0.9, or as many as size=, budget= or threshold= say: `AMOUNT`"},
			&cli.StringFlag{Name: "by", Usage: "importance, as `CRITERION`: l1, l2, bn, fpgm, random, wanda, taylor, fisher, movement, obs for nodes; magnitude, lamp, random, wanda, obs, sparsegpt, taylor, fisher, movement for weights"},
			&cli.StringFlag{Name: "scope", Usage: "rank units global, group or isomorphic, or cut what measured sensitivity allows; share zeros layer, global, owl or sensitivity"},
			&cli.IntFlag{Name: "multiple", Usage: "keep a multiple of `N` units; 0 is 1, or with latency= what suits the target"},
			&cli.BoolFlag{Name: "widths", Usage: "also cut what means are taken along, such as the width of layer normalizations"},
			&cli.StringFlag{Name: "repair", Usage: "fit what is left to the original: lstsq, bias or none for nodes; in-turn, lstsq, dsnot, bias, scale, batchnorm for weights"},
			&cli.IntFlag{Name: "views", Usage: "repair nodes and layers on `N` views of each image: as it is, and mirrored and cut out at random", Value: 1},
			&cli.IntFlag{Name: "rounds", Usage: "reach --nodes, or a share of zeros, in `N` rounds, importance measured anew in each, with recovery if it is asked for", Value: 1},
			&cli.StringFlag{Name: "recover", Usage: "train what is left: distill, fine-tune or none", Value: "none"},
			dataFlag("samples to calibrate and recover on, as `SPEC`; see onnxpack data"),
			&cli.StringFlag{Name: "eval", Usage: "samples to measure on before and after, as `SPEC` (default: those of --data beyond 100, with --recover a tenth, which then serve for nothing else)"},
			&cli.StringFlag{Name: "engine", Usage: "measure on embedded, or embedded,ort", Value: benchmark.EngineEmbedded},
			&cli.Float64Flag{Name: "max-drop", Usage: "write nothing and exit with 1 if accuracy falls by more than `POINTS`", Value: -1},
			&cli.BoolFlag{Name: "no-bench", Usage: "do not measure latency"},
			&cli.StringFlag{Name: "picture", Usage: "draw the widths of layers, and with data how sensitive each is, to the SVG `FILE`"},
			&cli.BoolFlag{Name: "explain", Usage: "list what can be cut, what goes with it, and what cannot and why; change nothing"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would go; write nothing"},
			targetFlagDef(),
		}, runFlags(), optionFlags(distill.Distill, "student", "teachers"), externalFlags()),
		Action: prune,
	}
}

func prune(c *cli.Context) error {
	if c.Bool("explain") {
		return explainPruning(c)
	}
	p, err := newPruning(c)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return dryRun(c, p.steps(false))
	}
	t := &training{optimizer: optimizer{c: c}}
	defer t.close()
	if err := t.readFlags(); err != nil {
		return err
	}
	if t.steps = p.steps(true); p.train != nil {
		t.keepBack = 0.1
	}
	if err := t.optimizer.open(); err != nil {
		return err
	}
	if p.train != nil {
		return t.train()
	}
	return t.finish(c.Context)
}

// pruning is what the flags of prune ask for: rounds of cutting and, where the
// model is to recover, training.
type pruning struct {
	start, train, end []passes.Step
	cuts              [][]passes.Step // of each round
}

// newPruning reads the flags. What recovers is trained as it was made: with
// its normalizations, which are folded in the end.
func newPruning(c *cli.Context) (p *pruning, err error) {
	p = &pruning{}
	rounds := c.Int("rounds")
	if rounds < 1 {
		return nil, fmt.Errorf("--rounds is %d, want at least 1", rounds)
	}
	if p.train, err = recoverySteps(c); err != nil {
		return nil, err
	}
	within := 1 // rounds of the passes themselves, which repair after the last
	if p.train == nil {
		within, rounds = rounds, 1
	}
	for round := 1; round <= rounds; round++ {
		cut, err := cutSteps(c, round, rounds, within)
		if err != nil {
			return nil, err
		}
		p.cuts = append(p.cuts, cut)
	}
	first := simplify.Simplify.Default()
	if p.train != nil {
		p.end = []passes.Step{first}
		if first, err = simplify.Simplify.Step(passes.Setting{Key: "skip", Value: "fuse-*"}); err != nil {
			return nil, err
		}
	}
	p.start = []passes.Step{first}
	return p, catalog.Check(slices.Concat(p.start, p.cuts[0], p.train))
}

// cutSteps returns what a round cuts, where passes have rounds of their own
// within it.
func cutSteps(c *cli.Context, round, rounds, within int) ([]passes.Step, error) {
	var list []string
	if c.Bool("constants") {
		list = append(list, "drop-constant-channels")
	}
	if text := c.String("layers"); text != "" {
		step := layersStep(text)
		if c.IsSet("repair") && c.String("weights") == "" {
			step += ";repair:" + c.String("repair")
		}
		if c.IsSet("views") {
			step += fmt.Sprintf(";views:%d", c.Int("views"))
		}
		list = append(list, step)
	}
	if text := c.String("nodes"); text != "" {
		step, err := nodesStep(c, text, rounds)
		if err != nil {
			return nil, err
		}
		list = append(list, fmt.Sprintf("%s;rounds:%d", step, within))
	}
	if text := c.String("weights"); text != "" {
		step, err := weightsStep(c, text, round, rounds)
		if err != nil {
			return nil, err
		}
		if within > 1 {
			step += fmt.Sprintf(";steps:%d", within)
		}
		list = append(list, step)
	}
	if len(list) == 0 {
		return nil, errors.New("prune: --nodes, --layers, --constants or --weights is missing")
	}
	return catalog.Parse(strings.Join(list, ","))
}

// steps returns all rounds, with the training or without.
func (p *pruning) steps(train bool) []passes.Step {
	list := slices.Clone(p.start)
	for _, cut := range p.cuts {
		if list = append(list, cut...); train {
			list = append(list, p.train...)
		}
	}
	return append(list, p.end...)
}

// recoverySteps returns the steps that train what is left, none if --recover
// asks for none.
func recoverySteps(c *cli.Context) ([]passes.Step, error) {
	var by *passes.Pass
	switch r := c.String("recover"); r {
	case "none":
		if s := optionSettings(c, distill.Distill); len(s) > 0 {
			return nil, fmt.Errorf("--%s is an option of training, want --recover distill or fine-tune with it", s[0].Key)
		}
		return nil, nil
	case "distill":
		by = distill.Distill
	case "fine-tune":
		by = distill.FineTune
	default:
		return nil, fmt.Errorf("--recover is %q, want distill, fine-tune or none", r)
	}
	step, err := trainingStep(c, by, optionSettings(c, by))
	return []passes.Step{step}, err
}

// nodesStep writes the step that --nodes asks for, as one of several rounds
// that each leave the same share of what they find.
func nodesStep(c *cli.Context, text string, rounds int) (string, error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		key, value = "ratio", text
	}
	if rounds > 1 {
		if key == "budget" {
			return "", errors.New("--rounds is given with a budget, want a share of the model in --nodes")
		}
		x, err := strconv.ParseFloat(value, 64)
		if err != nil || x <= 0 || x >= 1 {
			return "", fmt.Errorf("--nodes is %q, want a number between 0 and 1", text)
		}
		if key == "ratio" {
			x = 1 - math.Pow(1-x, 1/float64(rounds))
		} else {
			x = math.Pow(x, 1/float64(rounds))
		}
		value = fmt.Sprintf("%.4g", x)
	}
	step := "prune-nodes=" + key + ":" + value
	if c.String("picture") != "" && c.IsSet("data") {
		step += ";sensitivity:true"
	}
	for _, f := range []string{"by", "scope", "multiple", "widths", "repair", "views"} {
		if c.IsSet(f) && (c.String("weights") == "" || f != "by" && f != "repair") {
			step += fmt.Sprintf(";%s:%v", f, c.Value(f))
		}
	}
	return step, nil
}

// layersStep writes the step that --layers asks for.
func layersStep(text string) string {
	if key, value, ok := strings.Cut(text, "="); ok {
		return "prune-layers=" + key + ":" + value
	}
	return "prune-layers=layers:" + text
}

// drawLayers writes the picture that --picture asks for.
func drawLayers(c *cli.Context, steps []*passes.StepReport) error {
	path := c.String("picture")
	if path == "" {
		return nil
	}
	if err := writeFile(path, func(w io.Writer) error { return writeLayers(w, steps) }); err != nil {
		return fmt.Errorf("--picture: %w", err)
	}
	return nil
}

// dryRunReport is the JSON of --dry-run.
type dryRunReport struct {
	Model  string               `json:"model"`
	Before figures              `json:"before"`
	After  figures              `json:"after"`
	Passes []*passes.StepReport `json:"passes"`

	LatencyBefore time.Duration `json:"latency_before_ns,omitempty"` // 0 if not measured
	LatencyAfter  time.Duration `json:"latency_after_ns,omitempty"`
}

// dryRun runs the steps on a copy that is not written.
func dryRun(c *cli.Context, steps []passes.Step) error {
	o := &optimizer{c: c, steps: steps}
	defer o.close()
	args, err := operands(c, "MODEL")
	if err != nil {
		return err
	}
	o.in = args[0]
	if o.engine, err = engineOptions(c); err != nil {
		return err
	}
	if err := o.open(); err != nil {
		return err
	}
	r := &dryRunReport{Model: o.in, Before: countModel(o.file.Model, shapesOf(o.feeds))}
	model, reports, err := o.rewrite(c.Context)
	if err != nil {
		return err
	}
	r.After, r.Passes = countModel(model, shapesOf(o.feeds)), reports
	for _, m := range []struct {
		figures *figures
		model   *graph.Model
	}{{&r.Before, o.file.Model}, {&r.After, model}} {
		if m.figures.FileBytes, err = encodedSize(m.model); err != nil {
			return err
		}
	}
	if !c.Bool("no-bench") && o.feeds != nil {
		if r.LatencyBefore, err = o.latency(c.Context, o.file.Model); err != nil {
			return err
		}
		if r.LatencyAfter, err = o.latency(c.Context, model); err != nil {
			return err
		}
	}
	if err := drawLayers(c, reports); err != nil {
		return err
	}
	return emit(c, r, r.write)
}

// encodedSize returns the bytes that a model takes in a file.
func encodedSize(m *graph.Model) (int64, error) {
	var n counter
	err := onnxio.Encode(&n, m)
	return int64(n), err
}

// counter counts the bytes written to it.
type counter int64

func (n *counter) Write(p []byte) (int, error) {
	*n += counter(len(p))
	return len(p), nil
}

func (r *dryRunReport) write(w io.Writer) {
	tab := newTable(w, "", "before", "after", "change")
	rightAlign(tab, 4)
	b, a := r.Before, r.After
	tab.AppendRow([]any{"parameters", countText(b.Params), countText(a.Params), ratioText(float64(b.Params), float64(a.Params))})
	tab.AppendRow([]any{"flops", flopsText(b), flopsText(a), ratioText(float64(b.Flops), float64(a.Flops))})
	tab.AppendRow([]any{"file", bytesText(b.FileBytes), bytesText(a.FileBytes), ratioText(float64(b.FileBytes), float64(a.FileBytes))})
	if before, after := r.LatencyBefore, r.LatencyAfter; before > 0 {
		tab.AppendRow([]any{"latency median", nsText(before.Nanoseconds()), nsText(after.Nanoseconds()), ratioText(float64(before), float64(after))})
	}
	tab.Render()
	for _, s := range r.Passes {
		for _, line := range remarks(s) {
			fmt.Fprintf(w, "\n%s: %s", s.Pass, line)
		}
	}
	fmt.Fprintln(w)
}

// explanation is the JSON of --explain.
type explanation struct {
	Model    string             `json:"model"`
	Prunable int                `json:"prunable_weights"`
	Weights  int                `json:"weights"`
	Groups   []explainedGroup   `json:"groups"`
	Refused  []explainedRefusal `json:"refused"`
}

type explainedGroup struct {
	Name  string   `json:"name"`
	Units int      `json:"units"`
	Cuts  []string `json:"cuts"`
}

type explainedRefusal struct {
	Weight string   `json:"weight"`
	Kept   int      `json:"kept"`
	Size   int      `json:"size"`
	Reason string   `json:"reason"`
	Chain  []string `json:"chain,omitempty"`
}

// explainPruning lists the groups of the model once it is simplified.
func explainPruning(c *cli.Context) error {
	args, err := operands(c, "MODEL")
	if err != nil {
		return err
	}
	f, err := openModel(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	steps, err := catalog.Parse("simplify")
	if err != nil {
		return err
	}
	line := passes.Pipeline{Steps: steps}
	m, _, err := line.Run(c.Context, f.Model.Clone(), &passes.Env{})
	if err != nil {
		return err
	}
	e := explain(nodeprune.Analyze(m, op.InferModel(m, op.InferOptions{}), nodeprune.Rules{Widths: c.Bool("widths")}))
	e.Model = args[0]
	return emit(c, e, e.write)
}

func explain(g *nodeprune.Groups) *explanation {
	e := &explanation{}
	e.Prunable, e.Weights = g.Share()
	for _, group := range g.List {
		x := explainedGroup{Name: group.Name, Units: len(group.Units)}
		for _, c := range group.Cuts {
			x.Cuts = append(x.Cuts, fmt.Sprintf("%s:%d", c.Weight.Name(), c.Axis))
		}
		e.Groups = append(e.Groups, x)
	}
	for _, r := range g.Refused {
		e.Refused = append(e.Refused, explainedRefusal{
			Weight: fmt.Sprintf("%s:%d", r.Weight.Weight.Name(), r.Weight.Axis),
			Kept:   r.Kept, Size: r.Size, Reason: r.Reason, Chain: r.Chain,
		})
	}
	for _, b := range g.Blocked {
		e.Refused = append(e.Refused, explainedRefusal{Weight: b.Group.Name, Kept: len(b.Group.Units), Size: len(b.Group.Units), Reason: b.Err.Error()})
	}
	return e
}

func (e *explanation) write(w io.Writer) {
	fmt.Fprintf(w, "%s: %d of %d weights can be made fewer\n\n", e.Model, e.Prunable, e.Weights)
	tab := newTable(w, "group", "units", "cut together")
	for _, g := range e.Groups {
		tab.AppendRow([]any{g.Name, g.Units, strings.Join(g.Cuts, ", ")})
	}
	tab.Render()
	for _, r := range e.Refused {
		fmt.Fprintf(w, "\n%s: %d of %d stay: %s\n", r.Weight, r.Kept, r.Size, r.Reason)
		for _, step := range r.Chain {
			fmt.Fprintf(w, "    %s\n", step)
		}
	}
}
