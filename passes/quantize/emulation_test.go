package quantize_test

import (
	"errors"
	"math"
	"testing"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/quantize"
	"github.com/onnxpack/onnxpack/passes/simplify"
	"github.com/onnxpack/onnxpack/targets"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// TestEmulation compares the engine's emulation of a CPU without VNNI with ONNX
// Runtime as on such a CPU. The model saturates there: the
// results of the two CPUs are far from each other.
func TestEmulation(t *testing.T) {
	vnni, avx2 := profile(t, "amd64-avx512-vnni"), profile(t, "amd64-avx2")
	old := olderORT(t, avx2)
	f, err := onnxio.Open("../../testdata/digits/model.onnx", onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := dataset.Open("images:../../testdata/digits", f.Model.Graph.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	line := passes.Pipeline{Steps: []passes.Step{simplify.Simplify.Default(), quantize.Static.Default()}}
	m, _, err := line.Run(t.Context(), f.Model, &passes.Env{Calibration: data.All, Target: &vnni})
	if err != nil {
		t.Fatal(err)
	}
	judge, err := old.Load(t.Context(), ort.Options{Model: encode(t, m), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer judge.Close(t.Context())
	exact, saturating := compiled(t, m, vnni), compiled(t, m, avx2)
	spoiled, apart := 0.0, 0.0
	for i := range 50 {
		sample, err := data.At(i)
		if err != nil {
			t.Fatal(err)
		}
		want := probabilities(t, judge, sample)
		spoiled = max(spoiled, distance(probabilities(t, exact, sample), want))
		apart = max(apart, distance(probabilities(t, saturating, sample), want))
	}
	t.Logf("from ONNX Runtime with AVX2: %.2g for exact sums, %.2g for the emulation", spoiled, apart)
	if apart > 5e-3 {
		t.Errorf("the emulation is %v from ONNX Runtime, want at most 5e-3, roundings of single numbers", apart)
	}
	if spoiled < 1e-2 {
		t.Errorf("exact sums are %v from ONNX Runtime with AVX2: nothing saturates, and the test shows nothing", spoiled)
	}
}

// olderORT starts ONNX Runtime as on a CPU of the given profile.
func olderORT(t *testing.T, as targets.Target) *ort.Process {
	t.Helper()
	if err := ort.CanHold(); err != nil {
		t.Skip(err)
	}
	if _, err := as.Kernels(); err != nil {
		t.Skip(err)
	}
	install, err := ort.Find(t.Context())
	if errors.Is(err, ort.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := ort.Start(t.Context(), install.As(as.Name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func profile(t *testing.T, name string) targets.Target {
	t.Helper()
	p, err := targets.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func compiled(t *testing.T, m *graph.Model, as targets.Target) *engine.Session {
	t.Helper()
	s, err := engine.Compile(t.Context(), m, engine.Options{Target: as, Emulate: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func probabilities(t *testing.T, r benchmark.Runner, s dataset.Sample) []float32 {
	t.Helper()
	out, err := r.Run(t.Context(), s.Feeds)
	if err != nil {
		t.Fatal(err)
	}
	return tensor.Float32s(out["probabilities"].(*tensor.Tensor))
}

func distance(a, b []float32) float64 {
	most := 0.0
	for i := range a {
		most = max(most, math.Abs(float64(a[i]-b[i])))
	}
	return most
}
