// Package passtest holds passes to text fixtures and to what their kind
// promises.
//
// A fixture is a txtar file testdata/<pass>/<name>.txtar:
//
//	what the case is about
//	-- options --
//	max-growth:0
//	-- model --
//	<ir_version: 9, opset_import: ["": 17]> g (float[N,4] x) => (float[N,4] y) { … }
//	-- want --
//	…
//	-- report --
//	drop-identity: changed 2, skipped 0, drift 0
//
// Options may be left out. A section "original" is the model of that name that
// a pass finds in [passes.Env]. The flag -update rewrites want and report.
package passtest

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
)

var update = flag.Bool("update", false, "rewrite the want and report sections of fixtures")

// seeds of the random feeds that outputs are compared on.
const feedSpec = "random:3?seed=7"

// Family runs the fixtures of each pass in testdata. A pass without fixtures
// fails, and so does a folder or file that belongs to no pass.
func Family(t *testing.T, list ...*passes.Pass) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.ContainsFunc(list, func(p *passes.Pass) bool { return p.Name == e.Name() }) {
			t.Errorf("testdata/%s belongs to no pass", e.Name())
		}
	}
	for _, p := range list {
		t.Run(p.Name, func(t *testing.T) { Run(t, p) })
	}
}

// Run runs the fixtures of one pass.
func Run(t *testing.T, p *passes.Pass) {
	dir := filepath.Join("testdata", p.Name)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("pass %q has no fixtures in %s", p.Name, dir)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".txtar")
		if !ok {
			t.Errorf("%s/%s is no fixture, want *.txtar", dir, e.Name())
			continue
		}
		t.Run(name, func(t *testing.T) { runFixture(t, p, filepath.Join(dir, e.Name())) })
	}
}

// fixture is one parsed txtar file.
type fixture struct {
	path    string
	archive *txtar.Archive
	step    passes.Step
}

func readFixture(t *testing.T, p *passes.Pass, path string) *fixture {
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{path: path, archive: a}
	for _, file := range a.Files {
		if !slices.Contains([]string{"options", "original", "model", "want", "report"}, file.Name) {
			t.Errorf("%s: unknown section %q", path, file.Name)
		}
	}
	text := p.Name + "=" + strings.TrimSpace(strings.ReplaceAll(f.section("options"), "\n", ";"))
	steps, err := passes.ParseSteps(text, []*passes.Pass{p})
	if err != nil {
		t.Fatal(err)
	}
	f.step = steps[0]
	return f
}

func (f *fixture) section(name string) string {
	for _, file := range f.archive.Files {
		if file.Name == name {
			return string(file.Data)
		}
	}
	return ""
}

func (f *fixture) setSection(name, text string) {
	for i, file := range f.archive.Files {
		if file.Name == name {
			f.archive.Files[i].Data = []byte(text)
			return
		}
	}
	f.archive.Files = append(f.archive.Files, txtar.File{Name: name, Data: []byte(text)})
}

func (f *fixture) model(t *testing.T, section string) *graph.Model {
	m, err := graph.ParseModel(f.section(section))
	if err != nil {
		t.Fatalf("%s: %s: %v", f.path, section, err)
	}
	return m
}

func runFixture(t *testing.T, p *passes.Pass, path string) {
	f := readFixture(t, p, path)
	before := f.model(t, "model")
	if err := graph.Check(before); err != nil {
		t.Fatalf("%s: model: %v", path, err)
	}
	data := feeds(t, before)
	after, report := f.run(t, before.Clone(), data)
	if *update {
		f.setSection("want", graph.Format(after)+"\n")
		f.setSection("report", reportText(report))
		if err := os.WriteFile(path, txtar.Format(f.archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := graph.Format(after), graph.Format(f.model(t, "want")); got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
	if got, want := reportText(report), f.section("report"); got != want {
		t.Errorf("%s: report is\n%swant\n%s", path, got, want)
	}
	if _, again := f.run(t, after.Clone(), data); again.Changed != 0 {
		t.Errorf("%s: a second run changes %d more", path, again.Changed)
	}
	f.shuffled(t, before, after, data)
}

// run runs the step with outputs watched, which holds it to its kind.
func (f *fixture) run(t *testing.T, m *graph.Model, data passes.Data) (*graph.Model, *passes.StepReport) {
	t.Helper()
	line := passes.Pipeline{
		Steps:  []passes.Step{f.step},
		Verify: passes.Verify{Probe: data, Samples: 3, OnBreach: passes.Fail},
	}
	env := &passes.Env{Calibration: data}
	if f.section("original") != "" {
		env.Models = map[string]*graph.Model{"original": f.model(t, "original")}
	}
	m, report, err := line.Run(context.Background(), m, env)
	if err != nil {
		t.Fatalf("%s: %v", f.path, err)
	}
	return m, report.Steps[0]
}

// shuffled runs the step with the nodes in another order: the result must
// have the same operators.
func (f *fixture) shuffled(t *testing.T, before, after *graph.Model, data passes.Data) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		m := before.Clone()
		for g := range m.Graphs(graph.InMain | graph.InSubgraphs) {
			shuffle(rng, g)
		}
		if err := graph.Check(m); err != nil {
			t.Fatalf("%s: shuffled: %v", f.path, err)
		}
		m, _ = f.run(t, m, data)
		got, want := fmt.Sprint(m.CountOps(graph.Everywhere)), fmt.Sprint(after.CountOps(graph.Everywhere))
		if got != want {
			t.Errorf("%s: with nodes in another order the result has %s, want %s", f.path, got, want)
		}
	}
}

// shuffle puts the nodes of g in a random one of their possible orders.
func shuffle(rng *rand.Rand, g *graph.Graph) {
	var rest, order []*graph.Node
	for n := range g.Nodes() {
		rest = append(rest, n)
	}
	placed := map[*graph.Node]bool{}
	ready := func(n *graph.Node) bool {
		for v := range n.Reads() {
			if p := v.Producer(); p != nil && p.Graph() == g && !placed[p] {
				return false
			}
		}
		return true
	}
	for len(rest) > 0 {
		i := rng.IntN(len(rest))
		for !ready(rest[i]) {
			i = (i + 1) % len(rest)
		}
		placed[rest[i]] = true
		order = append(order, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	for i := len(order) - 2; i >= 0; i-- {
		g.MoveBefore(order[i+1], order[i])
	}
}

// feeds returns random samples for the model's inputs.
func feeds(t *testing.T, m *graph.Model) passes.Data {
	d, err := dataset.Open(feedSpec, m.Graph.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	return d.All
}

// reportText is a report as fixtures hold it: what was skipped below the
// line. The drift of passes that are not exact depends on the CPU, so it is
// left out.
func reportText(r *passes.StepReport) string {
	c := *r
	if c.Kind != passes.Exact {
		c.Drift = nil
	}
	var b strings.Builder
	fmt.Fprintln(&b, c.String())
	for _, m := range r.Members {
		if m.Changed > 0 {
			fmt.Fprintf(&b, "  %s: changed %d\n", m.Pass, m.Changed)
		}
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "  skipped %s: %s\n", s.Where, s.Reason)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	return b.String()
}
