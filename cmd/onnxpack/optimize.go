package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/catalog"
	"github.com/onnxpack/onnxpack/targets"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

func optimizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "optimize",
		Usage:     "make a model smaller and faster, and show before and after",
		ArgsUsage: "MODEL",
		Category:  catMake,
		Description: `Without --passes the model is simplified and, where there is data, quantized
for the target. With it, exactly those passes run.

   onnxpack optimize model.onnx --data images:photos --target amd64-avx2 -o out.onnx
   onnxpack optimize model.onnx -o out.onnx --passes simplify,prune-magnitude=sparsity:0.5

100 samples of --data, evenly spread, calibrate, and the others evaluate;
--calib gives other data to calibrate on.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the model to `FILE`"},
			dataFlag("samples to evaluate and calibrate on, as `SPEC`; see onnxpack data"),
			&cli.StringFlag{Name: "calib", Usage: "samples to calibrate on, as `SPEC`"},
			&cli.StringFlag{Name: "passes", Usage: "run `LIST`: a,b=key:value;key:value,c; see onnxpack passes"},
			&cli.StringFlag{Name: "engine", Usage: "measure on embedded, or embedded,ort", Value: benchmark.EngineEmbedded},
			&cli.Float64Flag{Name: "max-drop", Usage: "write nothing and exit with 1 if accuracy falls by more than `POINTS`", Value: -1},
			&cli.BoolFlag{Name: "no-bench", Usage: "do not measure latency"},
			targetFlagDef(),
			maxMemoryFlagDef(),
		}, externalFlags()...),
		Action: optimize,
	}
}

// calibSamples is how many samples of --data calibrate where there is no
// --calib.
const calibSamples = 100

// optimizer is one run of the verb.
type optimizer struct {
	c       *cli.Context
	in, out string
	save    onnxio.SaveOptions
	steps   []passes.Step
	engine  engine.Options
	engines []string

	file        *onnxio.File
	eval, calib *dataset.Data // nil if there are none
	scores      string
	feeds       map[string]tensor.Value // of the measurements
	unmeasured  string                  // why the model is not run, "" if it is
	closers     []func() error

	keepBack float64 // share of --data to evaluate on where neither --calib nor --eval is given; 0 for all but calibSamples

	start *graph.Model      // what the passes are given, nil for the file's model
	equip func(*passes.Env) // gives passes what a verb has beyond data; may be nil
}

func optimize(c *cli.Context) (err error) {
	o := &optimizer{c: c}
	defer o.close()
	if err := o.readFlags(); err != nil {
		return err
	}
	if err := o.open(); err != nil {
		return err
	}
	return o.finish(c.Context)
}

func (o *optimizer) close() {
	for _, f := range o.closers {
		f()
	}
}

// finish runs what was prepared and shows the report.
func (o *optimizer) finish(ctx context.Context) error {
	report, err := o.run(ctx)
	if err != nil {
		return err
	}
	if err := emit(o.c, report, report.write); err != nil {
		return err
	}
	if path := o.c.String("curve"); path != "" {
		if err := writeFile(path, func(w io.Writer) error { return writeCurves(w, report.Passes) }); err != nil {
			return fmt.Errorf("--curve: %w", err)
		}
	}
	if err := drawLayers(o.c, report.Passes); err != nil {
		return err
	}
	return report.gate(o.c.Float64("max-drop"))
}

func (o *optimizer) readFlags() (err error) {
	args, err := operands(o.c, "MODEL")
	if err != nil {
		return err
	}
	o.in, o.out = args[0], o.c.String("output")
	if o.out == "" {
		return fmt.Errorf("%s: -o FILE is missing", o.c.Command.Name)
	}
	if info, err := os.Stat(filepath.Dir(o.out)); err != nil || !info.IsDir() {
		return fmt.Errorf("-o %s: %s is not a folder", o.out, filepath.Dir(o.out))
	}
	if o.save, err = saveOptions(o.c); err != nil {
		return err
	}
	if o.engines, err = engines(o.c.String("engine")); err != nil {
		return err
	}
	if o.engine, err = engineOptions(o.c); err != nil {
		return err
	}
	if text := o.c.String("passes"); text != "" {
		if o.steps, err = catalog.Parse(text); err != nil {
			return fmt.Errorf("--passes: %w", err)
		}
		return catalog.Check(o.steps)
	}
	return nil
}

// open opens the model and the data, and picks the steps where none are given.
func (o *optimizer) open() (err error) {
	if o.file, err = openModel(o.in); err != nil {
		return err
	}
	o.closers = append(o.closers, o.file.Close)
	if o.scores, err = scoresOutput(o.file.Model, ""); err != nil {
		return err
	}
	if err := o.openData(); err != nil {
		return err
	}
	if o.steps == nil {
		text := "simplify"
		if o.calib != nil {
			text += ",equalize-channels,quantize-static"
		}
		o.steps, err = catalog.Parse(text)
	}
	return err
}

func (o *optimizer) openData() error {
	if o.c.IsSet("data") {
		d, err := openData(o.c, "data", o.file.Model)
		if err != nil {
			return err
		}
		o.closers = append(o.closers, d.Close)
		switch {
		case o.c.IsSet("calib"):
			o.eval = d
		case o.c.IsSet("eval"):
			o.calib = d
		case o.keepBack > 0:
			o.calib, o.eval = d.Split(int((1 - o.keepBack) * float64(d.Len())))
		default:
			o.calib, o.eval = d.Split(calibSamples)
		}
	}
	if o.c.IsSet("eval") {
		d, err := openData(o.c, "eval", o.file.Model)
		if err != nil {
			return err
		}
		o.closers = append(o.closers, d.Close)
		o.eval = d
	}
	if o.c.IsSet("calib") {
		d, err := openData(o.c, "calib", o.file.Model)
		if err != nil {
			return err
		}
		o.closers = append(o.closers, d.Close)
		o.calib = d
	}
	return o.pickFeeds()
}

// randomSamples is how many samples stand in where there is no data.
const randomSamples = 4

// pickFeeds chooses what latency is measured on: a sample, or random numbers,
// on which the result is then compared with the original too. A model that
// does not run on random numbers (an operator that is not known, an index out
// of range) is rewritten without being measured.
func (o *optimizer) pickFeeds() error {
	if o.eval == nil {
		o.eval = o.calib
	}
	if o.eval != nil {
		s, err := o.eval.At(0)
		o.feeds = s.Feeds
		return err
	}
	d, feeds, err := o.randomFeeds()
	if err := o.c.Context.Err(); err != nil {
		return err
	}
	if err != nil {
		o.unmeasured = err.Error()
		say(o.c, "not measured: %v", err)
		return nil
	}
	o.eval, o.feeds = d, feeds
	return nil
}

// randomFeeds makes random samples and tries the model on the first.
func (o *optimizer) randomFeeds() (*dataset.Data, map[string]tensor.Value, error) {
	d, err := dataset.Open(fmt.Sprintf("random:%d?seed=%d", randomSamples, o.c.Uint64("seed")), o.file.Model.Graph.Inputs())
	if err != nil {
		return nil, nil, err
	}
	s, err := d.At(0)
	if err != nil {
		return nil, nil, err
	}
	model, _, err := o.load(o.c.Context, o.in, o.file.Model)
	if err != nil {
		return nil, nil, err
	}
	_, err = model.Run(o.c.Context, s.Feeds)
	return d, s.Feeds, err
}

// load loads a model in our engine, for the host's CPU where this one cannot
// run code for the target.
func (o *optimizer) load(ctx context.Context, path string, m *graph.Model) (l *loaded, foreign bool, err error) {
	l, err = load(ctx, benchmark.EngineEmbedded, path, m, o.engine)
	if errors.Is(err, targets.ErrForeign) {
		host := o.engine
		host.Target = targets.Host()
		l, err = load(ctx, benchmark.EngineEmbedded, path, m, host)
		foreign = true
	}
	return l, foreign, err
}

// run does the work: measure, rewrite, save, measure what was saved.
func (o *optimizer) run(ctx context.Context) (*optimizeReport, error) {
	r := &optimizeReport{Model: o.in, Out: o.out, Target: o.engine.Target.Name, Host: benchmark.ThisHost(), Threads: o.engine.Threads}
	before, err := o.measure(ctx, o.in, o.file, nil)
	if err != nil {
		return nil, err
	}
	r.Before, r.NotMeasured = before.figures, o.unmeasured
	if o.calib != nil {
		r.Calibration = o.calib.Len()
	}
	if o.eval != nil {
		r.Evaluation, r.Data = o.eval.Len(), o.eval.String()
	}
	model, steps, err := o.rewrite(ctx)
	if err != nil {
		return nil, err
	}
	r.Passes = steps
	dir, err := os.MkdirTemp(filepath.Dir(o.out), ".onnxpack-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	staged := filepath.Join(dir, filepath.Base(o.out))
	if err := onnxio.Save(ctx, staged, model, o.save); err != nil {
		return nil, err
	}
	saved, err := openModel(staged)
	if err != nil {
		return nil, fmt.Errorf("the result does not open again: %w", err)
	}
	defer saved.Close()
	after, err := o.measure(ctx, staged, saved, before)
	if err != nil {
		return nil, err
	}
	r.After = after.figures
	if r.Zeros, err = o.zerosOf(ctx, saved.Model, steps); err != nil {
		return nil, err
	}
	if r.gate(o.c.Float64("max-drop")) != nil {
		return r, nil
	}
	r.Written = true
	return r, onnxio.Save(ctx, o.out, model, o.save)
}

// measured is a model's figures, with the sessions that they came from.
type measured struct {
	figures  modelFigures
	embedded *loaded
}

// measure takes the figures of a model: its size, and where this CPU can run
// it, latency and accuracy; before is the original's, nil for itself.
func (o *optimizer) measure(ctx context.Context, path string, f *onnxio.File, before *measured) (*measured, error) {
	m := &measured{}
	m.figures.figures = countModel(f.Model, shapesOf(o.feeds))
	m.figures.FileBytes = modelBytes(path, f)
	if o.unmeasured != "" {
		return m, nil
	}
	embedded, foreign, err := o.load(ctx, path, f.Model)
	if err != nil {
		return nil, err
	}
	if foreign && before == nil {
		say(o.c, "this CPU cannot run code for %s: accuracy is measured with the host's, latency is not", o.engine.Target.Name)
	}
	m.figures.Foreign = foreign
	m.embedded = embedded
	if err := o.measureAccuracy(ctx, m, before); err != nil {
		return nil, err
	}
	return m, o.measureLatency(ctx, m, path, f.Model)
}

func (o *optimizer) measureAccuracy(ctx context.Context, m, before *measured) error {
	var reference benchmark.Runner
	samples := o.eval
	if before != nil {
		reference = before.embedded
	}
	if samples == nil || reference == nil && !samples.Labelled() {
		return nil
	}
	what := "evaluate the original"
	if before != nil {
		what = "evaluate the result"
	}
	ev, err := benchmark.Evaluate(ctx, m.embedded, reference, o.scores, o.watch(ctx, what, samples))
	if err != nil {
		return err
	}
	m.figures.Metrics = ev.Metrics
	return nil
}

func (o *optimizer) watch(ctx context.Context, what string, d *dataset.Data) iter.Seq2[dataset.Sample, error] {
	show := progress(o.c)
	return func(yield func(dataset.Sample, error) bool) {
		i := 0
		for s, err := range d.All(ctx) {
			if !yield(s, err) {
				return
			}
			i++
			show(what, i, d.Len())
		}
	}
}

func (o *optimizer) measureLatency(ctx context.Context, m *measured, path string, model *graph.Model) error {
	if o.feeds == nil || o.c.Bool("no-bench") {
		return nil
	}
	for _, name := range o.engines {
		l := m.embedded
		switch {
		case name == benchmark.EngineORT:
			as, err := o.engine.Target, ort.CanHold()
			if m.figures.Foreign || err != nil {
				as = targets.Host()
			}
			if l, err = loadORT(ctx, path, o.engine.Threads, as); err != nil {
				return err
			}
			defer l.close()
		case m.figures.Foreign:
			continue
		}
		row, err := benchmark.Measure(ctx, l.subject(path, o.feeds), benchmark.Plan{Time: time.Second})
		if err != nil {
			return err
		}
		m.figures.Latency = append(m.figures.Latency, row)
	}
	return nil
}

// latency measures a model on the target, as passes ask for it.
func (o *optimizer) latency(ctx context.Context, m *graph.Model) (time.Duration, error) {
	if o.feeds == nil {
		return 0, errors.New("there are no samples to measure latency on")
	}
	l, err := load(ctx, benchmark.EngineEmbedded, o.in, m, o.engine)
	if err != nil {
		return 0, err
	}
	defer l.close()
	row, err := benchmark.Measure(ctx, l.subject(o.in, o.feeds), benchmark.Plan{Time: 500 * time.Millisecond})
	return time.Duration(row.Median), err
}

// rewrite runs the passes on a copy of the model.
func (o *optimizer) rewrite(ctx context.Context) (*graph.Model, []*passes.StepReport, error) {
	env := &passes.Env{Models: map[string]*graph.Model{"original": o.file.Model}, Target: &o.engine.Target, Latency: o.latency, Seed: o.c.Uint64("seed"), Threads: o.engine.Threads, Progress: progress(o.c)}
	if o.calib != nil {
		env.Calibration, env.Samples, env.Labelled = o.calib.All, o.calib.Len(), o.calib.Labelled()
	}
	p := passes.Pipeline{Steps: o.steps}
	switch {
	case o.calib != nil:
		p.Verify.Probe = env.Calibration
	case o.feeds != nil:
		p.Verify.Probe = oneSample(o.feeds)
	}
	start := o.start
	if start == nil {
		start = o.file.Model
	}
	if o.equip != nil {
		o.equip(env)
	}
	model, report, err := p.Run(ctx, start.Clone(), env)
	if err != nil {
		return nil, nil, err
	}
	return model, report.Steps, nil
}

func oneSample(feeds map[string]tensor.Value) passes.Data {
	return func(context.Context) iter.Seq2[dataset.Sample, error] {
		return func(yield func(dataset.Sample, error) bool) { yield(dataset.Sample{Feeds: feeds, Label: -1}, nil) }
	}
}
