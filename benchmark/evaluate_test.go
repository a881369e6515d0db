package benchmark

import (
	"context"
	"iter"
	"math"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

// answers is a runner that gives each sample its input plus an error.
type answers struct{ err float32 }

func (a answers) Run(_ context.Context, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	x := tensor.Float32s(feeds["x"].(*tensor.Tensor))
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = v + a.err
	}
	return map[string]tensor.Value{"y": tensor.Of(tensor.Shape{1, len(y)}, y)}, nil
}

func samples(labels ...int) iter.Seq2[dataset.Sample, error] {
	return func(yield func(dataset.Sample, error) bool) {
		for _, l := range labels {
			x := tensor.Vector[float32](6, 5, 4, 3, 2, 1)
			if !yield(dataset.Sample{Feeds: map[string]tensor.Value{"x": x}, Label: l}, nil) {
				return
			}
		}
	}
}

func TestEvaluateLabels(t *testing.T) {
	e, err := Evaluate(t.Context(), answers{}, nil, "y", samples(0, 1, 4, 5))
	if err != nil {
		t.Fatal(err)
	}
	if e.N != 4 || e.Metrics["top1"] != 0.25 || e.Metrics["top5"] != 0.75 {
		t.Errorf("%+v, want 4 samples, top1 0.25, top5 0.75", e)
	}
	if _, has := e.Metrics["agreement"]; has {
		t.Error("agreement without a reference")
	}
	if _, err := Evaluate(t.Context(), answers{}, nil, "y", samples(6)); err == nil {
		t.Error("a label beyond the classes is accepted")
	}
}

func TestEvaluateReference(t *testing.T) {
	e, err := Evaluate(t.Context(), answers{err: 0.5}, answers{}, "y", samples(-1, -1))
	if err != nil {
		t.Fatal(err)
	}
	want := 10 * math.Log10((36+25+16+9+4+1)/(6*0.25))
	if m := e.Metrics; m["agreement"] != 1 || m["max_abs"] != 0.5 || math.Abs(m["sqnr_db"]-want) > 1e-6 || m["cosine"] > 1 || m["cosine"] < 0.98 {
		t.Errorf("%+v", m)
	}
	same, err := Evaluate(t.Context(), answers{}, answers{}, "y", samples(-1))
	if err != nil || same.Metrics["sqnr_db"] != maxDB || same.Metrics["cosine"] != 1 {
		t.Errorf("equal outputs give %+v, %v", same, err)
	}
}
