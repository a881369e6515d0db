package quantize_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/quantize"
	"github.com/onnxpack/onnxpack/passes/simplify"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// judged are the models that quantization is held to, with their data below
// ONNXPACK_SHARED, how many samples calibrate, how many of the others judge
// in the short run, and how much accuracy may be lost.
var judged = []struct {
	model, data string
	calibration int
	loss        float64
}{
	{"lenet_openvino", "idx:data/mnist/test5000-images-idx3-ubyte.gz+data/mnist/test5000-labels-idx1-ubyte.gz?preset=raw", 200, 0.015},
	{"cifar10_resnet20", "cifar10:data/cifar10/test_2000.bin?preset=cifar10-torchvision", 200, 0.015},
	{"mlperftiny_resnet8_large_f32", "cifar10:data/cifar10/test_2000.bin?preset=raw", 200, 0.015},
	{"squeezenet1.1", "images:data/imagenet?preset=imagenet-torchvision", 100, 0.025},
	{"mobilenetv2_tv", "images:data/imagenet?preset=imagenet-torchvision", 100, 0.015},
	{"magika_v3_3", "npy:data/magika/standard_v3_3_bytes.npy?labels=data/magika/standard_v3_3_labels.tsv", 20, 0.015},
}

// TestAccuracy quantizes real models and compares file size, accuracy and
// latency with the originals in ONNX Runtime.
func TestAccuracy(t *testing.T) {
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
		t.Run(c.model, func(t *testing.T) {
			f, err := onnxio.Open(filepath.Join("models", c.model+".onnx"), onnxio.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			data, err := dataset.Open(c.data, f.Model.Graph.Inputs())
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			calib, rest := data.Split(c.calibration)
			before := encode(t, f.Model)
			start := time.Now()
			m := quantized(t, f.Model, calib)
			took := time.Since(start)
			after := encode(t, m)
			if out := os.Getenv("QUANTIZE_OUT"); out != "" {
				os.WriteFile(filepath.Join(out, c.model+".onnx"), after, 0o644)
			}
			size := float64(len(after)) / float64(len(before))
			was, is := judge(t, p, before, rest), judge(t, p, after, rest)
			agree, sqnr := compare(was.scores, is.scores)
			t.Logf("top-1 %.4f -> %.4f, same class %.4f, SQNR %.2f dB, bytes %.3f, latency %v -> %v, quantized in %v",
				was.top1, is.top1, agree, sqnr, size, was.latency, is.latency, took.Round(time.Millisecond))
			if was.top1-is.top1 > c.loss {
				t.Errorf("accuracy falls by %.4f, want at most %.4f", was.top1-is.top1, c.loss)
			}
			if size > 0.30 {
				t.Errorf("file is %.3f of the original, want at most 0.30", size)
			}
		})
	}
}

func quantized(t *testing.T, m *graph.Model, calib *dataset.Data) *graph.Model {
	t.Helper()
	s, err := quantize.Static.Step(staticSettings()...)
	if err != nil {
		t.Fatal(err)
	}
	line := passes.Pipeline{Steps: []passes.Step{simplify.Simplify.Default(), quantize.Equalize.Default(), s}}
	m, report, err := line.Run(context.Background(), m, &passes.Env{Calibration: calib.All})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Steps {
		t.Log(s)
	}
	for _, s := range report.Steps[2].Skipped {
		t.Logf("skipped %s: %s", s.Where, s.Reason)
	}
	return m
}

// staticSettings are the options under test, perhaps from the environment.
func staticSettings() []passes.Setting {
	steps, err := passes.ParseSteps("quantize-static="+os.Getenv("QUANTIZE_OPTIONS"), []*passes.Pass{quantize.Static})
	if err != nil {
		panic(err)
	}
	return steps[0].Settings
}

func encode(t *testing.T, m *graph.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := onnxio.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// verdict is what ONNX Runtime makes of a model.
type verdict struct {
	top1    float64
	latency time.Duration // the least of some runs
	scores  [][]float32   // by sample
}

func judge(t *testing.T, p *ort.Process, model []byte, data *dataset.Data) verdict {
	t.Helper()
	ctx := context.Background()
	s, err := p.Load(ctx, ort.Options{Model: model, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	var v verdict
	for sample, err := range data.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(ctx, sample.Feeds)
		if err != nil {
			t.Fatal(err)
		}
		if v.scores == nil {
			times, err := s.Time(ctx, sample.Feeds, 20)
			if err != nil {
				t.Fatal(err)
			}
			v.latency = slices.Min(times)
		}
		for _, x := range out {
			scores := slices.Clone(tensor.Float32s(x.(*tensor.Tensor)))
			v.scores = append(v.scores, scores)
			if argmax(scores) == sample.Label {
				v.top1++
			}
		}
	}
	v.top1 /= float64(len(v.scores))
	return v
}

// compare returns the share of samples with the same class, and the ratio of
// signal to quantization noise of all scores.
func compare(want, got [][]float32) (agree, sqnr float64) {
	var signal, noise float64
	for i, w := range want {
		if argmax(w) == argmax(got[i]) {
			agree++
		}
		for k, x := range w {
			signal += float64(x) * float64(x)
			noise += float64(x-got[i][k]) * float64(x-got[i][k])
		}
	}
	return agree / float64(len(want)), 10 * math.Log10(signal/noise)
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}
