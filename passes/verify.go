package passes

import (
	"context"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Verify says how the outputs of a model are watched while it is changed.
type Verify struct {
	// Probe are the samples that outputs are compared on; nil compares none.
	Probe Data
	// Samples is how many of them are used; 0 means 2.
	Samples int
	// Exact and Rounding bound Drift.Max of passes of these kinds; 0 means
	// 1e-6 and 1e-4.
	Exact, Rounding float64
	// Lossy bounds Drift.RMS of lossy passes; 0 does not bound it.
	Lossy float64
	// OnBreach says what happens to a step that breaks its bound.
	OnBreach Breach
}

// Breach is what happens to a step that moves the outputs too far.
type Breach uint8

// What may happen.
const (
	RollBack Breach = iota // the step is taken back, and the report says so
	Fail                   // the run fails
)

// verifier compares the outputs of a model with those before a step.
type verifier struct {
	Verify
	threads int
	want    []map[string]tensor.Value // of the model before the step, by sample
	got     []map[string]tensor.Value // of the model after it
}

func newVerifier(v Verify, threads int) *verifier {
	if v.Probe == nil {
		return nil
	}
	if v.Samples == 0 {
		v.Samples = 2
	}
	if v.Exact == 0 {
		v.Exact = 1e-6
	}
	if v.Rounding == 0 {
		v.Rounding = 1e-4
	}
	return &verifier{Verify: v, threads: threads}
}

// baseline computes the outputs before the first step.
func (v *verifier) baseline(ctx context.Context, m *graph.Model) error {
	if v.want != nil {
		return nil
	}
	want, err := v.outputs(ctx, m)
	if err != nil {
		return fmt.Errorf("the model cannot be run to be verified: %w", err)
	}
	v.want = want
	return nil
}

// drift returns how far the outputs of m are from those before the step.
func (v *verifier) drift(ctx context.Context, m *graph.Model) (Drift, error) {
	got, err := v.outputs(ctx, m)
	if err != nil {
		return Drift{}, fmt.Errorf("leaves a model that does not run: %w", err)
	}
	v.got = got
	var worst Drift
	for i := range got {
		d, err := compareOutputs(v.want[i], got[i])
		if err != nil {
			return Drift{}, err
		}
		worst = worst.worst(d)
	}
	return worst, nil
}

// accept makes the outputs after the step those that the next is held to.
func (v *verifier) accept() { v.want = v.got }

// breach says why a drift is too large for the kind of a pass, "" if it is not.
func (v *verifier) breach(k Kind, d Drift) string {
	is, bound := d.Max, v.Exact
	switch k {
	case Rounding:
		bound = v.Rounding
	case Lossy:
		is, bound = d.RMS, v.Lossy
		if bound == 0 {
			return ""
		}
	}
	if is <= bound {
		return ""
	}
	return fmt.Sprintf("outputs drift by %.3g, want at most %.3g for %v passes", is, bound, k)
}

func (v *verifier) outputs(ctx context.Context, m *graph.Model) ([]map[string]tensor.Value, error) {
	s, err := engine.Compile(ctx, m, engine.Options{Threads: v.threads})
	if err != nil {
		return nil, err
	}
	var all []map[string]tensor.Value
	for sample, err := range v.Probe(ctx) {
		if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		out, err := s.Run(ctx, sample.Feeds)
		if err != nil {
			return nil, err
		}
		if all = append(all, out); len(all) == v.Samples {
			break
		}
	}
	return all, nil
}

func compareOutputs(want, got map[string]tensor.Value) (Drift, error) {
	var worst Drift
	for name, w := range want {
		g, ok := got[name]
		if !ok {
			return Drift{}, fmt.Errorf("output %q is gone", name)
		}
		d, err := Compare(w, g)
		if err != nil {
			return Drift{}, fmt.Errorf("output %q: %w", name, err)
		}
		worst = worst.worst(d)
	}
	return worst, nil
}
