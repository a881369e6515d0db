package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/catalog"
	"github.com/onnxpack/onnxpack/passes/distill"
	"github.com/onnxpack/onnxpack/passes/simplify"
)

func distillCommand() *cli.Command {
	return &cli.Command{
		Name:      "distill",
		Usage:     "train a smaller model to give a larger one's answers, and show both",
		ArgsUsage: "TEACHER",
		Category:  catMake,
		Description: `The student is a model of its own, or is made from the teacher, whose weights it
inherits:

   half, third, macs=SHARE   fewer channels, where the answers diverge least without
                             them, until that share of the work is left
   width=SHARE               that share of the channels of every layer
   depth=SHARE, layers=N     fewer residual blocks
   rank=SHARE                layers split into two of lower rank
   int8                      weights and values rounded to integers, also while it learns

Several are divided by commas: half,int8. Labels are not needed, except for
--hard.

   onnxpack distill big.onnx --student half --data images:photos -o small.onnx
   onnxpack distill big.onnx --teacher other.onnx --student small.onnx --data images:photos --hidden 1 -o out.onnx`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "student", Usage: "how to make it from the teacher, or the model in `FILE`"},
			&cli.StringFlag{Name: "by", Usage: "which channels of the teacher stay, as `CRITERION` of prune --nodes", Value: "obs"},
			&cli.StringSliceFlag{Name: "teacher", Usage: "let the model in `FILE` teach too; logits are averaged"},
		}, trainingFlags(distill.Distill, "student", "teachers")...),
		Action: distillModel,
	}
}

func distillModel(c *cli.Context) (err error) {
	t := &training{optimizer: optimizer{c: c}}
	defer t.close()
	if err := t.readFlags(); err != nil {
		return err
	}
	if t.steps, err = distillSteps(c); err != nil {
		return err
	}
	if err := t.open(); err != nil {
		return err
	}
	if err := t.openModels(); err != nil {
		return err
	}
	return t.train()
}

// distillSteps returns the steps that make the student, and train it.
func distillSteps(c *cli.Context) ([]passes.Step, error) {
	text := c.String("student")
	if text == "" {
		return nil, errors.New("distill: --student is missing: half, third, macs=SHARE, width=SHARE, depth=SHARE, layers=N, rank=SHARE, int8 or a file")
	}
	p := studentPlan{narrower: "prune-nodes=repair:lstsq;by:" + c.String("by")}
	if !isFile(text) {
		for _, part := range strings.Split(text, ",") {
			if err := p.add(part); err != nil {
				return nil, fmt.Errorf("--student: %w", err)
			}
		}
	}
	before, after, err := p.steps()
	if err != nil {
		return nil, fmt.Errorf("--student: %w", err)
	}
	settings := optionSettings(c, distill.Distill, "student")
	if p.blocks != "" {
		settings = append(settings, passes.Setting{Key: "student", Value: p.blocks})
	}
	step, err := trainingStep(c, distill.Distill, settings)
	if err != nil {
		return nil, err
	}
	return slices.Concat(before, []passes.Step{step}, after), nil
}

// studentPlan is how a student is made from its teacher.
type studentPlan struct {
	narrower string   // the pass that removes channels, but for how many
	cuts     []string // passes that make it smaller
	blocks   string   // what the pass distill leaves of its blocks, "" for all
	rounded  bool     // to 8-bit integers
}

// add takes up one part of what --student says.
func (p *studentPlan) add(part string) error {
	key, value, _ := strings.Cut(part, "=")
	share, err := strconv.ParseFloat(value, 64)
	isShare := err == nil && share > 0 && share < 1
	switch {
	case part == "half":
		p.leave("0.5")
	case part == "third":
		p.leave("0.3333")
	case key == "macs" && isShare:
		p.leave(value)
	case key == "width" && isShare:
		p.cuts = append(p.cuts, fmt.Sprintf("%s;scope:group;ratio:%g", p.narrower, 1-share))
	case key == "rank" && isShare:
		p.cuts = append(p.cuts, "lower-rank=macs:"+value)
	case key == "depth" && isShare, key == "layers":
		p.blocks = part
	case part == "int8":
		p.rounded = true
	default:
		return fmt.Errorf("got %q, want half, third, macs=SHARE, width=SHARE, depth=SHARE or rank=SHARE (between 0 and 1), layers=N, int8 or a file", part)
	}
	return nil
}

// leave removes channels where the scores diverge least without them, until a
// share of the work is left.
func (p *studentPlan) leave(macs string) {
	p.cuts = append(p.cuts, p.narrower+";scope:sensitivity;macs:"+macs)
}

// steps returns what runs before the training, and what after it. A student of
// floats learns with its normalizations, which then are folded; before it is
// rounded they have to be.
func (p *studentPlan) steps() (before, after []passes.Step, err error) {
	list := slices.Concat([]string{"simplify=skip:fuse-*"}, p.cuts)
	switch {
	case p.rounded:
		list[0] = "simplify"
		list = append(list, "quantize-static")
	case p.cuts == nil:
		return nil, nil, nil
	default:
		after = []passes.Step{simplify.Simplify.Default()}
	}
	before, err = catalog.Parse(strings.Join(list, ","))
	return before, after, err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
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
	if !isFile(path) {
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
