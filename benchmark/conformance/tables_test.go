package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/targets"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// betweenTables is the tolerance of two kernel tables to each other on numbers
// of the size that ONNX's vectors hold.
var betweenTables = Tolerance{Rel: 1e-4, Abs: 2e-5}

// The second law of operators: Eval gives the same on every kernel table. It
// is held for every test of single operators and every judged model, on all
// targets that this CPU runs, against the one with the fewest features:
// integers by their bits, and floats within rounding.
func TestEvalOnEveryTable(t *testing.T) {
	tables := hostTargets(t)
	compared := 0
	compare := func(name string, m *graph.Model, feeds map[string]tensor.Value) {
		n, err := tables.same(t.Context(), m, feeds)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		compared += n
	}
	cases, err := Find(suites(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if len(c.Sets) == 0 || c.Sets[0].Ramp {
			continue // a whole network
		}
		f, err := onnxio.Open(c.Model, onnxio.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		feeds, err := c.Sets[0].feeds(f.Model.Graph)
		if err != nil {
			t.Fatal(err)
		}
		compare(c.Name, f.Model, feeds)
		f.Close()
	}
	for name, m := range judgedModels(t) {
		compare(name, m, randomFeeds(m.Graph))
	}
	t.Logf("%d results compared between %s and %d other targets", compared, tables.plain.Name, len(tables.others))
}

// tables are the targets that this CPU runs: the one with the fewest features,
// and the others.
type tables struct {
	plain  targets.Target
	others []targets.Target
}

func hostTargets(t *testing.T) tables {
	t.Helper()
	var found []targets.Target
	for _, target := range targets.All() {
		_, err := target.Kernels()
		switch {
		case err == nil:
			found = append(found, target)
		case !errors.Is(err, targets.ErrForeign):
			t.Fatal(err)
		}
	}
	slices.SortStableFunc(found, func(a, b targets.Target) int { return len(a.Features) - len(b.Features) })
	return tables{found[0], found[1:]}
}

// same runs a model on all targets and returns how many results were compared.
// One that the first target does not run is left to other tests.
func (t tables) same(ctx context.Context, m *graph.Model, feeds map[string]tensor.Value) (int, error) {
	want, err := runOn(ctx, m, t.plain, feeds)
	if err != nil {
		return 0, nil
	}
	n := 0
	for _, target := range t.others {
		got, err := runOn(ctx, m, target, feeds)
		if err != nil {
			return n, fmt.Errorf("on %s: %w", target.Name, err)
		}
		for name, w := range want {
			if err := Compare(got[name], w, betweenTables); err != nil {
				return n, fmt.Errorf("on %s: output %q: %w", target.Name, name, err)
			}
			n++
		}
	}
	return n, nil
}

func runOn(ctx context.Context, m *graph.Model, target targets.Target, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	s, err := engine.Compile(ctx, m, engine.Options{Target: target, Threads: 1})
	if err != nil {
		return nil, err
	}
	return s.Run(ctx, feeds)
}
