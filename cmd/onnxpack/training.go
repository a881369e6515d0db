package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// trainingFlags are those of verbs that train by the pass p: one for each of
// its options but the given ones, and where data comes from.
func trainingFlags(p *passes.Pass, but ...string) []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the model to `FILE`"},
		dataFlag("samples to train on, as `SPEC`; see onnxpack data"),
		&cli.StringFlag{Name: "eval", Usage: "samples to measure on before and after, as `SPEC` (default: a tenth of --data, which then is not trained on)"},
		&cli.StringFlag{Name: "engine", Usage: "measure on embedded, or embedded,ort", Value: benchmark.EngineEmbedded},
		&cli.Float64Flag{Name: "max-drop", Usage: "write nothing and exit with 1 if accuracy falls by more than `POINTS`", Value: -1},
		&cli.BoolFlag{Name: "no-bench", Usage: "do not measure latency"},
		targetFlagDef(),
	}, runFlags(), optionFlags(p, but...), externalFlags())
}

// runFlags are those of a run of training that is watched, bounded, or goes
// on.
func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: memoryOption, Usage: "take no more than `SIZE` (as 500MB, 2GiB) for weights and values: a step of training computes twice what it cannot keep, a model that needs more is refused (default: what is available; for a step any number)"},
		&cli.StringFlag{Name: "curve", Usage: "draw how loss and accuracy went to the SVG `FILE`"},
		&cli.BoolFlag{Name: "resume", Usage: "go on from the checkpoint of a run that was interrupted"},
		&cli.DurationFlag{Name: "checkpoint", Usage: "keep the state of the run beside the output every so often, 0 for never", Value: 5 * time.Minute},
	}
}

// memoryOption is an option of passes that train, in MiB. Its flag is a size,
// as with other verbs, and bounds the engine too.
const memoryOption = "max-memory"

// optionFlags returns a flag for each option of a pass but the given ones and
// [memoryOption].
func optionFlags(p *passes.Pass, but ...string) []cli.Flag {
	var flags []cli.Flag
	for _, o := range p.Options() {
		if o.Name != memoryOption && !slices.Contains(but, o.Name) {
			flags = append(flags, optionFlag(o))
		}
	}
	return flags
}

// optionFlag returns the flag for an option of a pass.
func optionFlag(o passes.Option) cli.Flag {
	const category = "Training"
	if o.Type == "true or false" {
		return &cli.BoolFlag{Name: o.Name, Usage: o.Help, Value: o.Default == "true", Category: category}
	}
	usage := o.Help
	if len(o.OneOf) > 0 {
		usage = fmt.Sprintf("%s, one of %q", o.Help, o.OneOf)
	}
	return &cli.StringFlag{Name: o.Name, Usage: usage, DefaultText: o.Default, Category: category}
}

// optionSettings returns the options that flags of [optionFlags] give.
func optionSettings(c *cli.Context, p *passes.Pass, but ...string) []passes.Setting {
	var list []passes.Setting
	for _, o := range p.Options() {
		if o.Name != memoryOption && !slices.Contains(but, o.Name) && c.IsSet(o.Name) {
			list = append(list, passes.Setting{Key: o.Name, Value: fmt.Sprint(c.Value(o.Name))})
		}
	}
	return list
}

// trainingStep returns the step of a pass that trains, with the given settings
// and what --max-memory says.
func trainingStep(c *cli.Context, p *passes.Pass, settings []passes.Setting) (passes.Step, error) {
	if text := c.String(memoryOption); text != "" {
		bytes, err := parseBytes(text)
		if err == nil && bytes < 1<<20 {
			err = fmt.Errorf("got %s, want at least 1MiB to train", text)
		}
		if err != nil {
			return passes.Step{}, fmt.Errorf("--%s: %w", memoryOption, err)
		}
		settings = append(settings, passes.Setting{Key: memoryOption, Value: fmt.Sprint(bytes >> 20)})
	}
	return p.Step(settings...)
}

// training is one run of a verb that trains.
type training struct {
	optimizer
	models map[string]*graph.Model // that teach, nil for the original alone
}

// open opens the model and the data; steps are up to the verb.
func (t *training) open() (err error) {
	if !t.c.IsSet("data") {
		return fmt.Errorf("%s: --data is missing", t.c.Command.Name)
	}
	if t.file, err = openModel(t.in); err != nil {
		return err
	}
	t.closers = append(t.closers, t.file.Close)
	if t.scores, err = scoresOutput(t.file.Model, t.c.String("scores")); err != nil {
		return err
	}
	if t.calib, err = openData(t.c, "data", t.file.Model); err != nil {
		return err
	}
	t.closers = append(t.closers, t.calib.Close)
	if t.c.IsSet("eval") {
		if t.eval, err = openData(t.c, "eval", t.file.Model); err != nil {
			return err
		}
		t.closers = append(t.closers, t.eval.Close)
	} else {
		t.eval, t.calib = t.calib.Split(max(1, t.calib.Len()/10))
	}
	return t.pickFeeds()
}

// train runs the steps. The first interruption ends the training, and what
// was best so far is measured and written; a second one ends the process.
func (t *training) train() error {
	vault, err := newVault(t.c, t.out)
	if err != nil {
		return err
	}
	t.equip = func(env *passes.Env) {
		if t.models != nil {
			env.Models = t.models
		}
		env.Stop = t.c.Context.Done()
		if vault.every > 0 || vault.resume {
			env.Checkpoints = vault
		}
	}
	release := context.AfterFunc(t.c.Context, func() {
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		say(t.c, "stopping: what was best so far is kept")
	})
	defer release()
	if err := t.finish(context.WithoutCancel(t.c.Context)); err != nil {
		return err
	}
	if t.c.Context.Err() != nil {
		return nil
	}
	return vault.clear()
}

// vault keeps checkpoints in a folder beside the output.
type vault struct {
	dir    string
	every  time.Duration
	resume bool
	last   time.Time
	say    func(format string, args ...any)
}

func newVault(c *cli.Context, out string) (*vault, error) {
	v := &vault{dir: out + ".checkpoints", every: c.Duration("checkpoint"), resume: c.Bool("resume"), last: time.Now()}
	v.say = func(format string, args ...any) { say(c, format, args...) }
	if v.every < 0 {
		return nil, fmt.Errorf("--checkpoint is %v, want at least 0", v.every)
	}
	if _, err := os.Stat(v.dir); v.resume && err != nil {
		return nil, fmt.Errorf("--resume: there is no checkpoint %s", v.dir)
	}
	return v, nil
}

// Load opens a checkpoint if the run is to be resumed.
func (v *vault) Load(key string) (io.ReadCloser, error) {
	if !v.resume {
		return nil, nil
	}
	f, err := os.Open(v.path(key))
	if errors.Is(err, os.ErrNotExist) {
		v.say("%s holds no state of this run: it begins anew", v.dir)
		return nil, nil
	}
	return f, err
}

// Due reports whether the last checkpoint is old enough.
func (v *vault) Due() bool { return v.every > 0 && time.Since(v.last) >= v.every }

// Save replaces a checkpoint.
func (v *vault) Save(key string, write func(io.Writer) error) error {
	if err := os.MkdirAll(v.dir, 0o755); err != nil {
		return err
	}
	v.last = time.Now()
	return writeFile(v.path(key), write)
}

func (v *vault) path(key string) string { return filepath.Join(v.dir, key+".checkpoint") }

// clear removes the checkpoints of a run that has ended.
func (v *vault) clear() error { return os.RemoveAll(v.dir) }
