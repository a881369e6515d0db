package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets"
	"github.com/onnxpack/onnxpack/targets/engine"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "time models, and compare engines in alternating rounds",
		ArgsUsage: "MODEL…",
		Category:  catMeasure,
		Description: `   onnxpack bench model.onnx
   onnxpack bench float.onnx int8.onnx --engine embedded,ort --threads 1,2 --json -`,
		Flags: []cli.Flag{
			dataFlag("take the first sample of `SPEC` as the feed (default: random:1)"),
			&cli.StringFlag{Name: "threads", Usage: "numbers of threads, divided by commas (default: all cores)", Category: "Common"},
			&cli.StringFlag{Name: "engine", Usage: "engines, divided by commas", Value: benchmark.EngineEmbedded},
			&cli.DurationFlag{Name: "time", Usage: "measure each for `DURATION`", Value: time.Second},
			&cli.BoolFlag{Name: "profile", Usage: "show where the time of one model goes, by operator; with --layers node by node"},
			&cli.BoolFlag{Name: "session", Usage: "measure what a session of one model costs: the time from the file to the first result, and the peak of memory, each in a new process"},
			&cli.BoolFlag{Name: "layers", Usage: "list the nodes of a profile"},
			&cli.IntFlag{Name: "rounds", Usage: "measure at least `N` rounds", Value: 5},
			targetFlagDef(),
			maxMemoryFlagDef(),
		},
		Action: benchModels,
	}
}

// threadList reads the list of thread counts; bench takes more than one.
func threadList(c *cli.Context) ([]int, error) {
	text := c.String("threads")
	if text == "" {
		return []int{targets.Host().Cores}, nil
	}
	var list []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("--threads is %q, want numbers from 1 divided by commas", text)
		}
		list = append(list, n)
	}
	return list, nil
}

func benchModels(c *cli.Context) error {
	paths := c.Args().Slice()
	if len(paths) == 0 {
		return errors.New("bench: MODEL is missing")
	}
	counts, err := threadList(c)
	if err != nil {
		return err
	}
	names, err := engines(c.String("engine"))
	if err != nil {
		return err
	}
	o, err := targetOptions(c)
	if err != nil {
		return err
	}
	if c.Bool("session") {
		return measureSessions(c, paths, names, counts, o.Target)
	}
	if c.Bool("profile") {
		return profileModel(c, paths, o.Target, counts[0])
	}
	b := &bencher{c: c, options: o}
	defer b.close()
	for _, path := range paths {
		if err := b.add(path, names, counts); err != nil {
			return err
		}
	}
	cmp, err := benchmark.Compare(c.Context, b.subjects, benchmark.Plan{Time: c.Duration("time"), MinRounds: c.Int("rounds")})
	if err != nil {
		return err
	}
	return emit(c, cmp, func(w io.Writer) { writeComparison(w, cmp) })
}

// bencher loads models in engines and keeps what has to be closed.
type bencher struct {
	c        *cli.Context
	options  engine.Options
	subjects []benchmark.Subject
	closers  []func() error
}

func (b *bencher) close() {
	for _, f := range b.closers {
		f()
	}
}

func (b *bencher) add(path string, names []string, counts []int) error {
	f, err := openModel(path)
	if err != nil {
		return err
	}
	b.closers = append(b.closers, f.Close)
	sample, err := benchSample(b.c, path, f.Model)
	if err != nil {
		return err
	}
	for _, n := range counts {
		o := b.options
		o.Threads = n
		for _, name := range names {
			l, err := load(b.c.Context, name, path, f.Model, o)
			if err != nil {
				return err
			}
			b.closers = append(b.closers, l.close)
			if _, err := l.Run(b.c.Context, sample.Feeds); err != nil {
				return fmt.Errorf("%s on %s: %w", path, name, err)
			}
			b.subjects = append(b.subjects, l.subject(path, sample.Feeds))
		}
	}
	return nil
}

// benchSample returns the first sample of --data, or a random one.
func benchSample(c *cli.Context, path string, m *graph.Model) (dataset.Sample, error) {
	spec := c.String("data")
	if spec == "" {
		spec = fmt.Sprintf("random:1?seed=%d", c.Uint64("seed"))
	}
	data, err := dataset.Open(spec, m.Graph.Inputs())
	if err != nil {
		return dataset.Sample{}, fmt.Errorf("%s: %w", path, err)
	}
	defer data.Close()
	return data.At(0)
}

// benchOne opens the only model of paths, which the flag asks for, and what it
// is fed.
func benchOne(c *cli.Context, paths []string, flag string) (*onnxio.File, dataset.Sample, error) {
	if len(paths) != 1 {
		return nil, dataset.Sample{}, fmt.Errorf("bench: %s takes one model", flag)
	}
	f, err := openModel(paths[0])
	if err != nil {
		return nil, dataset.Sample{}, err
	}
	sample, err := benchSample(c, paths[0], f.Model)
	if err != nil {
		f.Close()
		return nil, dataset.Sample{}, err
	}
	return f, sample, nil
}

// profileModel shows where the time of a run on the embedded engine goes.
func profileModel(c *cli.Context, paths []string, target targets.Target, threads int) error {
	f, sample, err := benchOne(c, paths, "--profile")
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := benchmark.ProfileModel(c.Context, f.Model, engine.Options{Target: target, Threads: threads}, sample.Feeds, c.Int("rounds"))
	if err != nil {
		return fmt.Errorf("%s: %w", paths[0], err)
	}
	return emit(c, p, func(w io.Writer) {
		writeProfile(w, p, c.Bool("layers"))
		fmt.Fprintf(w, "\n%s in all, median of %d runs, %d threads, peak %.0f GFLOP/s in float32 and %.0f in int8, reads %.1f GB/s\n", nsText(p.Total), p.Runs, threads, p.Peak, p.PeakInt8, p.Read)
		for _, why := range p.Why {
			fmt.Fprintf(w, "not fused: %s\n", why)
		}
	})
}

func writeProfile(w io.Writer, p *benchmark.Profile, layers bool) {
	head, rows := []any{"operator", "calls"}, p.Ops
	if layers {
		head, rows = []any{"node", "operator"}, p.Nodes
	}
	tab := newTable(w, append(head, "time", "share", "GFLOP/s", "of peak", "GB/s", "of read")...)
	rightAlign(tab, 8)
	for _, r := range rows {
		row := []any{r.Op, r.Calls}
		if layers {
			row = []any{r.Name, r.Op}
		}
		tab.AppendRow(append(row, nsText(r.Nanos), fmt.Sprintf("%.1f %%", 100*r.Share), fmt.Sprintf("%.1f", r.GFlops), fmt.Sprintf("%.0f %%", 100*r.OfPeak), fmt.Sprintf("%.1f", r.GBytes), fmt.Sprintf("%.0f %%", 100*r.OfRead)))
	}
	tab.Render()
}

func writeComparison(w io.Writer, cmp *benchmark.Comparison) {
	fmt.Fprintf(w, "%s, %d cores, %s/%s\n\n", cmp.Host.CPU, cmp.Host.Cores, cmp.Host.OS, cmp.Host.Arch)
	tab := newTable(w, "model", "engine", "threads", "median", "±", "p95", "p99", "peak memory", "rounds")
	rightAlign(tab, 9)
	for _, r := range cmp.Rows {
		tab.AppendRow([]any{r.Model, r.Name(), r.Threads, nsText(r.Median), fmt.Sprintf("%.1f %%", 100*r.Spread), nsText(r.P95), nsText(r.P99), bytesText(r.Peak), r.Rounds})
	}
	tab.Render()
	for _, r := range cmp.Ratios {
		fmt.Fprintf(w, "\n%s, %d threads: %s is %.2f times as fast as %s (%.2f to %.2f)", r.Model, r.Threads, r.Engine, r.Ratio, r.Base, r.Lo, r.Hi)
	}
	if len(cmp.Ratios) > 0 {
		fmt.Fprintln(w)
	}
}

// nsText shows a time with three digits.
func nsText(ns int64) string {
	switch {
	case ns >= 1e9:
		return fmt.Sprintf("%.3g s", float64(ns)/1e9)
	case ns >= 1e6:
		return fmt.Sprintf("%.3g ms", float64(ns)/1e6)
	case ns >= 1e3:
		return fmt.Sprintf("%.3g µs", float64(ns)/1e3)
	}
	return fmt.Sprintf("%d ns", ns)
}

// shapesOf returns the shapes of a sample's tensors.
func shapesOf(feeds map[string]tensor.Value) map[string]tensor.Shape {
	shapes := map[string]tensor.Shape{}
	for name, v := range feeds {
		if t, ok := v.(*tensor.Tensor); ok {
			shapes[name] = t.Shape()
		}
	}
	return shapes
}
