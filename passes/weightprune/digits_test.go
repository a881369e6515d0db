package weightprune_test

import (
	"context"
	"os"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/catalog"
	"github.com/onnxpack/onnxpack/targets/engine"
)

const (
	digits      = "../../testdata/digits/model.onnx"
	digitImages = "images:../../testdata/digits?labels=../../testdata/digits/labels.tsv&preset=raw"
)

// pruned runs steps on a copy of a model.
func pruned(t *testing.T, m *graph.Model, data *dataset.Data, threads int, steps string) (*graph.Model, *passes.Report) {
	t.Helper()
	list, err := catalog.Parse(steps)
	if err != nil {
		t.Fatal(err)
	}
	env := &passes.Env{
		Calibration: data.All, Samples: data.Len(), Labelled: data.Labelled(), Threads: threads,
		Models: map[string]*graph.Model{"original": m},
	}
	m, r, err := passes.Pipeline{Steps: list}.Run(context.Background(), m.Clone(), env)
	if err != nil {
		t.Fatalf("%s: %v", steps, err)
	}
	return m, r
}

func top1(t *testing.T, m *graph.Model, data *dataset.Data) float64 {
	t.Helper()
	s, err := engine.Compile(context.Background(), m, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for sample, err := range data.All(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(context.Background(), sample.Feeds)
		if err != nil {
			t.Fatal(err)
		}
		scores := tensor.Float32s(out[m.Graph.Outputs()[0].Name()].(*tensor.Tensor))
		best := 0
		for i, x := range scores {
			if x > scores[best] {
				best = i
			}
		}
		if best == sample.Label {
			right++
		}
	}
	return float64(right) / float64(data.Len())
}

func openDigits(t *testing.T) (*graph.Model, *dataset.Data) {
	t.Helper()
	f, err := onnxio.Open(digits, onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	data, err := dataset.Open(digitImages, f.Model.Graph.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { data.Close() })
	return f.Model, data
}

// TestDigits prunes a small classifier in every way and judges it on pictures
// that did not calibrate.
func TestDigits(t *testing.T) {
	m, data := openDigits(t)
	calib, rest := data.Split(100)
	was := top1(t, m, rest)
	for _, c := range []struct {
		steps string
		loss  float64 // of top-1 that is allowed
	}{
		{"prune-magnitude=budget:0.02", 0.05},
		{"prune-magnitude=sparsity:0.5;scope:sensitivity;repair:refit|bias", 0.05},
		{"prune-wanda=sparsity:0.6;repair:dsnot", 0.08},
		{"prune-wanda=pattern:2:4;repair:refit", 0.03},
		{"prune-obs=sparsity:0.6;repair:refit", 0.05},
		{"prune-obs=sparsity:0.3;criterion:obd;scope:owl", 0.1},
		{"prune-sparsegpt=sparsity:0.7;scope:global;repair:refit", 0.05},
		{"prune-sparsegpt=sparsity:0.7;steps:3;repair:bias", 0.06},
		{"prune-sparsegpt=pattern:4x1;sparsity:0.6;scope:sensitivity", 0.06},
		{"prune-sparsegpt=size:90000", 0.1},
		{"prune-sparsegpt=sparsity:0.8;in_turn:true", 0.05},
	} {
		prunesDigits(t, m, calib, rest, was, c.steps, c.loss)
	}
}

// TestDigitsByGradients is the part of TestDigits that takes minutes.
func TestDigitsByGradients(t *testing.T) {
	if os.Getenv("ONNXPACK_LONG") == "" {
		t.Skip("ONNXPACK_LONG is not set")
	}
	m, data := openDigits(t)
	calib, rest := data.Split(100)
	was := top1(t, m, rest)
	for steps, loss := range map[string]float64{
		"prune-magnitude=sparsity:0.7;in_turn:true":                 0.05,
		"prune-taylor=sparsity:0.4;in_turn:true":                    0.05,
		"prune-taylor=sparsity:0.3;criterion:fisher;repair:bias":    0.05,
		"prune-taylor=sparsity:0.3;criterion:movement;in_turn:true": 0.1,
	} {
		prunesDigits(t, m, calib, rest, was, steps, loss)
	}
}

// prunesDigits prunes and expects that top-1 falls by no more than loss.
func prunesDigits(t *testing.T, m *graph.Model, calib, rest *dataset.Data, was float64, steps string, loss float64) {
	t.Helper()
	got, r := pruned(t, m, calib, 0, "simplify,"+steps)
	is := top1(t, got, rest)
	f := r.Steps[1].Figures
	t.Logf("%-70s zeros %.3f, compressed %6.0f of %6.0f, top-1 %.4f -> %.4f", steps, f["sparsity"], f["compressed bytes"], f["compressed bytes before"], was, is)
	if was-is > loss {
		t.Errorf("%s: top-1 falls from %.4f to %.4f", steps, was, is)
	}
}

// TestMends expects that a pruned model comes back to its original by biases,
// and further by weights, and that zeros stay.
func TestMends(t *testing.T) {
	m, data := openDigits(t)
	calib, rest := data.Split(100)
	m, _ = pruned(t, m, calib, 0, "simplify")
	was := top1(t, m, rest)
	const cut = "prune-magnitude=sparsity:0.6"
	lost := map[string]float64{}
	for _, steps := range []string{"", ",correct-bias", ",refit-weights"} {
		got, _ := pruned(t, m, calib, 0, cut+steps)
		lost[steps] = was - top1(t, got, rest)
		zeros, all := 0, 0
		for _, v := range got.Graph.Inits() {
			if w := v.Init.Tensor; w.Rank() > 1 && w.DType() == tensor.Float32 {
				all += w.Len()
				for _, x := range tensor.Data[float32](w) {
					if x == 0 {
						zeros++
					}
				}
			}
		}
		t.Logf("%s%s: top-1 falls by %.4f, %.3f of the weights are zero", cut, steps, lost[steps], float64(zeros)/float64(all))
		if float64(zeros) < 0.59*float64(all) {
			t.Errorf("%s%s: %d of %d weights are zero", cut, steps, zeros, all)
		}
	}
	if lost[",correct-bias"] >= lost[""] || lost[",refit-weights"] >= lost[",correct-bias"] {
		t.Errorf("losses are %v, want them to fall from nothing to biases to weights", lost)
	}
}

// TestMendsFolded fits a model whose normalizations were folded to one where they
// are not.
func TestMendsFolded(t *testing.T) {
	m, data := openDigits(t)
	calib, rest := data.Split(100)
	got, r := pruned(t, m, calib, 0, "simplify,prune-magnitude=sparsity:0.6,refit-weights")
	if s := r.Steps[2]; s.Changed != 4 || len(s.Skipped) > 0 {
		t.Errorf("%d layers are fitted, skipped are %v; want all 4", s.Changed, s.Skipped)
	}
	if was, is := top1(t, m, rest), top1(t, got, rest); was-is > 0.06 {
		t.Errorf("top-1 falls from %.4f to %.4f", was, is)
	}
}

// TestThreads expects the same bytes on any number of threads.
func TestThreads(t *testing.T) {
	m, data := openDigits(t)
	calib, _ := data.Split(20)
	for _, steps := range []string{"prune-sparsegpt=sparsity:0.7;repair:refit|bias", "prune-sparsegpt=sparsity:0.7;in_turn:true", "prune-magnitude=sparsity:0.5;criterion:random;scope:global", "prune-wanda=sparsity:0.6;scope:sensitivity"} {
		one, _ := pruned(t, m, calib, 1, "simplify,"+steps)
		three, _ := pruned(t, m, calib, 3, "simplify,"+steps)
		if graph.Format(one) != graph.Format(three) {
			t.Errorf("%s: results differ between one thread and three", steps)
		}
	}
}
