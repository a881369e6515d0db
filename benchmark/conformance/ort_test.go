package conformance

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// differencesFile lists graphs on which the engine and ONNX Runtime are known
// to differ: a path below ONNXPACK_SHARED, a tab, the reason.
const differencesFile = "testdata/ort_differences.txt"

const (
	maxFed     = 1 << 21 // numbers in the inputs of a graph beyond which it is left out
	graphLimit = time.Minute
)

// errNotComparable marks a graph that ONNX Runtime refuses to run on random
// feeds, or for which there are none.
var errNotComparable = errors.New("not comparable")

// Every graph that ONNX Runtime runs on random feeds gives the same in the
// engine, or the reason is listed.
func TestONNXRuntime(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of graphs run in two engines")
	}
	dir := shared(t)
	paths, err := comparedGraphs(dir)
	if err != nil {
		t.Fatal(err)
	}
	judge := newJudge(t)
	listed := reasons(t, differencesFile)
	found := map[string]string{}
	agree, refused := 0, 0
	for _, path := range paths {
		err := judge.compare(t.Context(), dir, path)
		switch {
		case err == nil:
			agree++
		case errors.Is(err, errNotComparable):
			refused++
			if testing.Verbose() {
				t.Logf("%s: %s", path, firstLine(err))
			}
		default:
			found[path] = firstLine(err)
		}
	}
	t.Logf("%d graphs: %d agree, %d differ, %d are not comparable", len(paths), agree, len(found), refused)
	if *update {
		writeDifferences(t, found, listed)
		return
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		if listed[path] == "" {
			t.Errorf("%s: %s", path, found[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(listed)) {
		if found[path] == "" {
			t.Logf("%s does not differ on this CPU; if on none, remove it from %s", path, differencesFile)
		}
	}
}

// comparedGraphs returns the paths below dir of the models and of the graphs
// which ONNX Runtime loads according to LOAD.tsv.
func comparedGraphs(dir string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(filepath.Join(dir, "models"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".onnx" {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		paths = append(paths, rel)
		return err
	})
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(dir, "ort-testdata", "LOAD.tsv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if path, outcome, _ := strings.Cut(lines.Text(), "\t"); outcome == "ok" {
			paths = append(paths, filepath.Join("ort-testdata", path))
		}
	}
	return paths, lines.Err()
}

// judge is ONNX Runtime in a process that is started anew after it died.
type judge struct {
	install ort.Install
	process *ort.Process
}

// newJudge starts ONNX Runtime, or skips where it is not installed.
func newJudge(t *testing.T) *judge {
	t.Helper()
	install, err := ort.Find(t.Context())
	if errors.Is(err, ort.ErrMissing) && os.Getenv(ort.LibraryEnv) == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{install: install}
	if j.process, err = ort.Start(t.Context(), install); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.process.Close() })
	return j
}

// run computes the outputs of a model as it is, without fusing.
func (j *judge) run(ctx context.Context, o ort.Options, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	o.Level, o.Threads = ort.None, 1
	s, err := j.process.Load(ctx, o)
	if err == nil {
		defer s.Close(ctx)
		var out map[string]tensor.Value
		if out, err = s.Run(ctx, feeds); err == nil {
			return out, nil
		}
	}
	if errors.Is(err, ort.ErrDied) {
		fresh, startErr := ort.Start(context.WithoutCancel(ctx), j.install)
		if startErr != nil {
			return nil, startErr
		}
		j.process = fresh
	}
	return nil, err
}

// compare runs a graph on the same random feeds in both engines.
func (j *judge) compare(ctx context.Context, dir, path string) error {
	ctx, cancel := context.WithTimeout(ctx, graphLimit)
	defer cancel()
	file := filepath.Join(dir, path)
	f, err := onnxio.Open(file, onnxio.OpenOptions{})
	if err != nil {
		return err
	}
	defer f.Close()
	feeds, err := drawFeeds(f.Model.Graph, filepath.Base(path))
	if err != nil {
		return fmt.Errorf("%w: %w", errNotComparable, err)
	}
	want, err := j.run(ctx, ort.Options{Path: file}, feeds)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotComparable, err)
	}
	s, err := engine.Compile(ctx, f.Model, engine.Options{})
	if err != nil {
		return err
	}
	got, err := s.Run(ctx, feeds)
	if err != nil {
		return err
	}
	return compareOutputs(got, want)
}

// feedSpecs are the sizes of feeds that models ask for beyond what their
// inputs declare.
var feedSpecs = map[string]string{
	"genai_tiny_gpt2_past.onnx": "random:1?seq_len=3&total_seq_len=7&past_seq_len=4",
}

// feedShapes are the shapes of feeds whose sizes the inputs leave open without
// a name.
var feedShapes = map[string]map[string]tensor.Shape{
	"silero_vad.onnx": {"input": {1, 256}, "state": {2, 1, 128}}, // for a rate other than 16 kHz
	"skl_treecl.onnx": {"input": {1, 20}},
}

// drawFeeds makes random feeds for a graph of moderate size.
func drawFeeds(g *graph.Graph, name string) (map[string]tensor.Value, error) {
	if n := declaredNumbers(g); n > maxFed {
		return nil, fmt.Errorf("the inputs hold %d numbers, at most %d are fed here", n, maxFed)
	}
	sized := graph.New("feeds")
	for _, v := range g.Feeds() {
		typ := v.Type
		if shape, ok := feedShapes[name][v.Name()]; ok {
			typ = graph.TensorOf(typ.Elem, graph.DimsOf(shape))
		}
		sized.AddInput(v.Name(), typ)
	}
	data, err := dataset.Open(cmp.Or(feedSpecs[name], "random:1"), sized.Inputs())
	if err != nil {
		return nil, err
	}
	defer data.Close()
	sample, err := data.At(0)
	return sample.Feeds, err
}

// declaredNumbers counts the numbers in the inputs of g; sizes left open are 1.
func declaredNumbers(g *graph.Graph) int {
	total := 0
	for _, v := range g.Feeds() {
		if v.Type == nil {
			continue
		}
		n := 1
		for _, d := range v.Type.Shape {
			if d.IsKnown() && n <= maxFed {
				n *= d.Size
			}
		}
		total += n
	}
	return total
}

// compareOutputs reports the first output, by name, that differs.
func compareOutputs(got, want map[string]tensor.Value) error {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if err := Compare(got[name], want[name], BetweenEngines(want[name])); err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
	}
	return nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ReplaceAll(line, "\t", " ")
}

// writeDifferences lists what was found, with the reasons known before; that
// of a new one is what was seen.
func writeDifferences(t *testing.T, found, listed map[string]string) {
	t.Helper()
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(&b, "%s\t%s\n", path, cmp.Or(listed[path], found[path]))
	}
	if err := os.WriteFile(differencesFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
