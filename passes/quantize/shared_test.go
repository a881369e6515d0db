package quantize_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
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
	if shared == "" {
		t.Skip("ONNXPACK_SHARED is not set")
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
			f32, tf := top1(t, p, before, rest)
			i8, ti := top1(t, p, after, rest)
			t.Logf("top-1 %.4f -> %.4f, bytes %.3f, latency %v -> %v, quantized in %v", f32, i8, size, tf, ti, took.Round(time.Millisecond))
			if f32-i8 > c.loss {
				t.Errorf("accuracy falls by %.4f, want at most %.4f", f32-i8, c.loss)
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
	line := passes.Pipeline{Steps: []passes.Step{simplify.Simplify.Default(), s}}
	m, report, err := line.Run(context.Background(), m, &passes.Env{Calibration: calib.All})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Steps {
		t.Log(s)
	}
	for _, s := range report.Steps[1].Skipped {
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

// top1 returns the share of samples whose label has the highest score, and
// the median time of a run.
func top1(t *testing.T, p *ort.Process, model []byte, data *dataset.Data) (float64, time.Duration) {
	t.Helper()
	ctx := context.Background()
	s, err := p.Load(ctx, ort.Options{Model: model, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	right, n := 0, 0
	var times []time.Duration
	for sample, err := range data.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(ctx, sample.Feeds)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			if times, err = s.Time(ctx, sample.Feeds, 20); err != nil {
				t.Fatal(err)
			}
		}
		for _, v := range out {
			if argmax(tensor.Float32s(v.(*tensor.Tensor))) == sample.Label {
				right++
			}
		}
		n++
	}
	return float64(right) / float64(n), median(times)
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

func median(d []time.Duration) time.Duration {
	best := d[0]
	for _, x := range d {
		best = min(best, x)
	}
	return best
}
