package convert_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/benchmark/conformance"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/convert"
	"github.com/onnxpack/onnxpack/passes/internal/opset"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

func shared(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("ONNXPACK_SHARED")
	if dir == "" {
		t.Skip("ONNXPACK_SHARED names no folder of test material")
	}
	return dir
}

// errNotPossible marks a conversion that was refused.
var errNotPossible = errors.New("the conversion is refused")

// Every test of ONNX gives the same results after its model was converted.
// Upwards no conversion is refused, but for those listed; downwards as many
// may be as the older versions cannot say.
func TestConformance(t *testing.T) {
	dir := filepath.Join(shared(t), "onnx-backend-tests")
	before := failures(t, dir, nil)
	for _, to := range []int64{opset.Latest, 21, 13, 9, 7} {
		refused := 0
		after := failures(t, dir, func(m *graph.Model) (*graph.Model, error) {
			up := m.Opset("") < to
			c, err := opset.Convert(m, to)
			if err == nil {
				return c, graph.Check(c)
			}
			refused++
			if up {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", errNotPossible, err)
		})
		for name, why := range after {
			if before[name] == "" && !strings.HasPrefix(why, errNotPossible.Error()) {
				t.Errorf("%s in opset %d: %s", name, to, why)
			}
		}
		t.Logf("opset %d: %d conversions refused", to, refused)
	}
}

// failures runs ONNX's tests, of whose models change makes others, and returns
// why those that fail do.
func failures(t *testing.T, dir string, change func(*graph.Model) (*graph.Model, error)) map[string]string {
	res, err := conformance.Run(t.Context(), []string{filepath.Join(dir, "node"), filepath.Join(dir, "simple")}, conformance.Options{
		Load: func(ctx context.Context, m *graph.Model, _ string) (conformance.Runner, error) {
			if change != nil {
				var err error
				if m, err = change(m); err != nil {
					return nil, err
				}
			}
			return engine.Compile(ctx, m, engine.Options{})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	failed := map[string]string{}
	for _, n := range res.Failed {
		failed[n.Name] = n.Reason
	}
	return failed
}

// Real models compute the same in ONNX Runtime after they were converted.
func TestModels(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared(t), "models", "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	install, err := ort.Find(t.Context())
	if errors.Is(err, ort.ErrMissing) && os.Getenv(ort.LibraryEnv) == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	judge, err := ort.Start(t.Context(), install)
	if err != nil {
		t.Fatal(err)
	}
	defer judge.Close()
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) { convertModel(t, judge, path) })
	}
}

func convertModel(t *testing.T, judge *ort.Process, path string) {
	f, err := onnxio.Open(path, onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := dataset.Open("random:1", f.Model.Graph.Inputs())
	if err != nil {
		t.Skip(err)
	}
	sample, err := data.At(0)
	if err != nil {
		t.Skip(err)
	}
	want, err := runORT(t.Context(), judge, f.Model, sample.Feeds)
	if err != nil {
		t.Skipf("the original does not run on random feeds: %v", err)
	}
	for _, to := range []int{9, 11, 12, 13, 18, 21, 23} {
		m, _, err := passes.Pipeline{Steps: []passes.Step{convert.ConvertOpset.With(convert.OpsetOptions{To: to})}}.Run(t.Context(), f.Model.Clone(), nil)
		if err != nil {
			if int64(to) > f.Model.Opset("") {
				t.Errorf("opset %d: %v", to, err)
			} else {
				t.Logf("opset %d: %v", to, err)
			}
			continue
		}
		got, err := runORT(t.Context(), judge, m, sample.Feeds)
		if err != nil {
			t.Errorf("opset %d: %v", to, err)
			continue
		}
		for name, w := range want {
			d, err := passes.Compare(w, got[name])
			if err != nil || d.Max > 1e-3 {
				t.Errorf("opset %d: output %q: drift %v, %v", to, name, d, err)
			}
		}
	}
}

func runORT(ctx context.Context, judge *ort.Process, m *graph.Model, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	var b bytes.Buffer
	if err := onnxio.Encode(&b, m); err != nil {
		return nil, err
	}
	s, err := judge.Load(ctx, ort.Options{Model: b.Bytes(), Threads: 1, Level: ort.None})
	if err != nil {
		return nil, err
	}
	defer s.Close(ctx)
	return s.Run(ctx, feeds)
}
