package weightprune_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets/ort"
)

const imagenet = "images:data/imagenet?preset=imagenet-torchvision"

// judged are real models, the steps that are compared on them with the loss of
// top-1 that is allowed (1 for those that stand beside), and the time that a
// step may take.
var judged = []struct {
	model, steps string
	loss         float64
	limit        time.Duration
}{
	{"squeezenet1.1", "prune-sparsegpt=sparsity:0.6;repair:refit|bias", 0.02, 0},
	{"squeezenet1.1", "prune-magnitude=sparsity:0.6", 1, 0},
	{"mobilenetv2_tv", "prune-sparsegpt=pattern:2:4;repair:refit|bias", 1, 60 * time.Second},
	{"mobilenetv2_tv", "prune-wanda=pattern:2:4", 1, 0},
	{"mobilenetv2_tv", "prune-magnitude=pattern:2:4", 1, 0},
}

// TestReal prunes real models with 200 pictures and judges them on the others
// in ONNX Runtime.
func TestReal(t *testing.T) {
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
	t.Chdir(shared)
	for _, c := range judged {
		t.Run(c.model+"/"+c.steps, func(t *testing.T) {
			f, err := onnxio.Open(filepath.Join("models", c.model+".onnx"), onnxio.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			data, err := dataset.Open(imagenet, f.Model.Graph.Inputs())
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			calib, rest := data.Split(200)
			m, r := pruned(t, f.Model, calib, 0, c.steps)
			took := r.Steps[len(r.Steps)-1].Elapsed
			was, is := inORT(t, p, f.Model, rest), inORT(t, p, m, rest)
			t.Logf("%s: top-1 %.4f -> %.4f, zeros %.3f, %v", c.steps, was, is, r.Steps[0].Figures["sparsity"], took.Round(time.Second))
			if was-is > c.loss {
				t.Errorf("top-1 falls by %.4f, want at most %.4f", was-is, c.loss)
			}
			if c.limit > 0 && took > c.limit {
				t.Errorf("took %v, want at most %v", took, c.limit)
			}
		})
	}
}

// inORT returns the top-1 of a model in ONNX Runtime.
func inORT(t *testing.T, p *ort.Process, m *graph.Model, data *dataset.Data) float64 {
	t.Helper()
	ctx := context.Background()
	var b bytes.Buffer
	if err := onnxio.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	s, err := p.Load(ctx, ort.Options{Model: b.Bytes(), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	e, err := benchmark.Evaluate(ctx, s, nil, m.Graph.Outputs()[0].Name(), data.All(ctx))
	if err != nil {
		t.Fatal(err)
	}
	return e.Metrics["top1"]
}

