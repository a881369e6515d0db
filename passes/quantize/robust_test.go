package quantize_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/quantize"
	"github.com/onnxpack/onnxpack/passes/simplify"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// TestEveryModel quantizes every real model that runs on random feeds: the
// result has to load and run in ONNX Runtime.
func TestEveryModel(t *testing.T) {
	shared := os.Getenv("ONNXPACK_SHARED")
	if shared == "" || testing.Short() {
		t.Skip("ONNXPACK_SHARED is not set, or the run is short")
	}
	ctx := context.Background()
	install, err := ort.Find(ctx)
	if errors.Is(err, ort.ErrMissing) {
		t.Skip(err)
	}
	p, err := ort.Start(ctx, install)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	paths, err := filepath.Glob(filepath.Join(shared, "models", "*.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no models in %s: %v", shared, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { quantizeAny(ctx, t, p, path) })
	}
}

func quantizeAny(ctx context.Context, t *testing.T, p *ort.Process, path string) {
	f, err := onnxio.Open(path, onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := dataset.Open("random:2", f.Model.Graph.Inputs())
	if err != nil {
		t.Skip(err)
	}
	sample, err := data.At(0)
	if err != nil {
		t.Skip(err)
	}
	s, err := p.Load(ctx, ort.Options{Path: path, Threads: 1})
	if err != nil {
		t.Skip(err)
	}
	defer s.Close(ctx)
	if _, err := s.Run(ctx, sample.Feeds); err != nil {
		t.Skip(err)
	}
	line := passes.Pipeline{Steps: []passes.Step{simplify.Simplify.Default(), quantize.Static.Default()}}
	m, report, err := line.Run(ctx, f.Model, &passes.Env{Calibration: data.All})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report.Steps[1])
	q, err := p.Load(ctx, ort.Options{Model: encode(t, m), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close(ctx)
	if _, err := q.Run(ctx, sample.Feeds); err != nil {
		t.Fatal(err)
	}
}
