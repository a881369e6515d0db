package benchmark

import (
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

// Runner is an engine with a model loaded: a session of the embedded engine
// or of ONNX Runtime.
type Runner interface {
	Run(ctx context.Context, feeds map[string]tensor.Value) (map[string]tensor.Value, error)
}

// Evaluation says how well a model does on samples. Metrics holds those that
// could be computed:
//
//   - top1, top5: the share of labelled samples whose label has the highest
//     score, or one of the five highest, in the first output;
//   - agreement: the share of samples on which model and reference have the
//     same highest score;
//   - max_abs: the largest absolute difference from the reference, over all
//     outputs; cosine: the least cosine similarity of a sample's outputs;
//   - sqnr_db: the reference's energy against that of the difference, in
//     decibels.
type Evaluation struct {
	N       int                `json:"n"`
	Metrics map[string]float64 `json:"metrics"`
}

// Evaluate runs the model, and the reference if there is one, over samples,
// one at a time. The output named scores is what labels and agreement look
// at.
func Evaluate(ctx context.Context, model, reference Runner, scores string, samples iter.Seq2[dataset.Sample, error]) (*Evaluation, error) {
	var acc Accuracy
	var drift Drift
	n := 0
	for s, err := range samples {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if err := evaluateSample(ctx, model, reference, scores, s, &acc, &drift); err != nil {
			return nil, fmt.Errorf("sample %d: %w", n, err)
		}
		n++
	}
	e := &Evaluation{N: n, Metrics: map[string]float64{}}
	acc.addTo(e.Metrics)
	drift.addTo(e.Metrics)
	return e, nil
}

func evaluateSample(ctx context.Context, model, reference Runner, scores string, s dataset.Sample, acc *Accuracy, drift *Drift) error {
	got, err := model.Run(ctx, s.Feeds)
	if err != nil {
		return err
	}
	if s.Label >= 0 {
		t, ok := got[scores].(*tensor.Tensor)
		if !ok {
			return fmt.Errorf("output %q is no tensor of scores", scores)
		}
		if err := acc.Add(t, s.Label); err != nil {
			return fmt.Errorf("output %q: %w", scores, err)
		}
	}
	if reference == nil {
		return nil
	}
	want, err := reference.Run(ctx, s.Feeds)
	if err != nil {
		return fmt.Errorf("reference: %w", err)
	}
	return drift.Add(got, want, scores)
}

// Accuracy counts right answers of a classifier.
type Accuracy struct{ n, top1, top5 int }

// Add counts one sample: scores, one for each class with axes of size 1
// beside, and the right class.
func (a *Accuracy) Add(scores *tensor.Tensor, label int) error {
	if !scores.DType().IsFloat() && !scores.DType().IsInteger() {
		return fmt.Errorf("%v cannot be scores", scores)
	}
	x := tensor.Float64s(scores)
	if label < 0 || label >= len(x) {
		return fmt.Errorf("label %d for scores of %d classes", label, len(x))
	}
	a.n++
	rank := 0 // scores above the label's, and equal ones of lower classes
	for i, v := range x {
		if v > x[label] || v == x[label] && i < label || math.IsNaN(x[label]) && i != label {
			rank++
		}
	}
	if rank < 1 {
		a.top1++
	}
	if rank < 5 {
		a.top5++
	}
	return nil
}

func (a *Accuracy) addTo(m map[string]float64) {
	if a.n > 0 {
		m["top1"] = float64(a.top1) / float64(a.n)
		m["top5"] = float64(a.top5) / float64(a.n)
	}
}

// Drift sums up how far results are from those of a reference.
type Drift struct {
	n, agree      int
	maxAbs        float64
	cosine        float64 // least so far, of samples
	signal, noise float64
}

// Add counts the outputs of one sample; outputs that are not tensors of
// numbers are passed over. It is an error if a shape differs.
func (d *Drift) Add(got, want map[string]tensor.Value, scores string) error {
	var dot, gg, ww float64
	for name, w := range want {
		wt, ok := w.(*tensor.Tensor)
		if !ok || !wt.DType().IsFloat() && !wt.DType().IsInteger() {
			continue
		}
		gt, ok := got[name].(*tensor.Tensor)
		if !ok || !gt.Shape().Equal(wt.Shape()) {
			return fmt.Errorf("output %q is %v, the reference's %v", name, gt, wt)
		}
		g, w := tensor.Float64s(gt), tensor.Float64s(wt)
		for i := range w {
			diff := g[i] - w[i]
			if g[i] == w[i] || math.IsNaN(g[i]) && math.IsNaN(w[i]) {
				diff = 0
			}
			d.maxAbs = max(d.maxAbs, math.Abs(diff))
			d.noise += diff * diff
			dot += g[i] * w[i]
			gg += g[i] * g[i]
			ww += w[i] * w[i]
		}
		if name == scores && argmax(g) == argmax(w) {
			d.agree++
		}
	}
	d.signal += ww
	c := 1.0
	if gg != ww || dot != gg {
		c = dot / math.Sqrt(gg*ww)
	}
	if d.n == 0 || c < d.cosine || math.IsNaN(c) {
		d.cosine = c
	}
	d.n++
	return nil
}

func argmax(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// maxDB stands for the ratio of a signal to no noise at all, which JSON
// cannot hold.
const maxDB = 300

func (d *Drift) addTo(m map[string]float64) {
	if d.n == 0 {
		return
	}
	m["agreement"] = float64(d.agree) / float64(d.n)
	finite(m, "max_abs", d.maxAbs)
	finite(m, "cosine", d.cosine)
	db := float64(maxDB)
	if d.noise > 0 {
		db = min(maxDB, 10*math.Log10(d.signal/d.noise))
	}
	finite(m, "sqnr_db", db)
}

func finite(m map[string]float64, name string, x float64) {
	if !math.IsNaN(x) && !math.IsInf(x, 0) {
		m[name] = x
	}
}
