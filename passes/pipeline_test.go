package passes_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
)

const twoStep = `<ir_version: 9, opset_import: ["": 17]>
g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { a = Relu (x)  y = Add (a, w) }`

// shift adds amount to every weight.
func shift(name string, kind passes.Kind, amount float32) *passes.Pass {
	return passes.Define(passes.Pass{Name: name, Doc: "shift weights", Kind: kind}, struct{}{},
		func(j *passes.Job, _ struct{}) error {
			for _, v := range j.Model.Graph.Inits() {
				w := tensor.Data[float32](v.Init.Tensor)
				j.Model.Graph.SetInit(v, &graph.Literal{Tensor: tensor.Vector(w[0]+amount, w[1]+amount)})
				j.Changed(1)
			}
			return nil
		})
}

// rewrite makes nodes of one operator those of another.
func rewrite(name, from, to string, kind passes.Kind) *passes.Pass {
	return passes.Define(passes.Pass{Name: name, Doc: "rewrite", Kind: kind}, struct{}{},
		func(j *passes.Job, _ struct{}) error {
			for n := range j.Model.Graph.Nodes() {
				if n.Is(from) {
					n.Op = to
					j.Changed(1)
				}
			}
			return nil
		})
}

func parse(t *testing.T, text string) *graph.Model {
	t.Helper()
	m, err := graph.ParseModel(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func probe(context.Context) iter.Seq2[dataset.Sample, error] {
	return func(yield func(dataset.Sample, error) bool) {
		yield(dataset.Sample{Feeds: map[string]tensor.Value{"x": tensor.Vector[float32](1, -1)}}, nil)
	}
}

func steps(ps ...*passes.Pass) []passes.Step {
	var s []passes.Step
	for _, p := range ps {
		s = append(s, p.Default())
	}
	return s
}

func TestRollBack(t *testing.T) {
	m := parse(t, twoStep)
	want := graph.Format(m)
	line := passes.Pipeline{Steps: steps(shift("bend-weights", passes.Exact, 0.5)), Verify: passes.Verify{Probe: probe}}
	m, report, err := line.Run(context.Background(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := graph.Format(m); got != want {
		t.Errorf("the step was not taken back: %s", got)
	}
	if s := report.Steps[0]; s.Outcome != passes.RolledBack || !strings.Contains(s.Reason, "outputs drift by") {
		t.Errorf("report: %v", s)
	}
}

func TestFailOnBreach(t *testing.T) {
	line := passes.Pipeline{
		Steps:  steps(shift("bend-weights", passes.Lossy, 0.5)),
		Verify: passes.Verify{Probe: probe, Lossy: 0.01, OnBreach: passes.Fail},
	}
	_, _, err := line.Run(context.Background(), parse(t, twoStep), nil)
	var step *passes.StepError
	if !errors.As(err, &step) || step.Step.Pass.Name != "bend-weights" {
		t.Fatalf("got %v, want a StepError of bend-weights", err)
	}
}

// TestCulprit runs a fixpoint of which one member breaks its kind: it alone is
// taken back.
func TestCulprit(t *testing.T) {
	bad := rewrite("turn-sign", "Relu", "Neg", passes.Exact)
	good := rewrite("name-product", "Sum", "Add", passes.Exact)
	both := passes.Fixpoint(passes.Pass{Name: "both", Doc: "both"}, nil, bad, good)
	line := passes.Pipeline{Steps: steps(both), Verify: passes.Verify{Probe: probe}}
	m, report, err := line.Run(context.Background(), parse(t, strings.Replace(twoStep, "Add", "Sum", 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !m.Graph.First().Is("Relu") || !m.Graph.Last().Is("Add") {
		t.Errorf("got %s, want the change of one member only", graph.Format(m))
	}
	s := report.Steps[0]
	if s.Outcome != passes.Done || s.Changed != 1 || s.Members[0].Outcome != passes.RolledBack || s.Members[1].Changed != 1 {
		t.Errorf("report: %v, members %v", s, s.Members)
	}
}

func TestPanicIsReported(t *testing.T) {
	broken := passes.Define(passes.Pass{Name: "break-down", Doc: "x"}, struct{}{}, func(j *passes.Job, _ struct{}) error {
		j.Model.Graph.Remove(j.Model.Graph.First()) // is read
		return nil
	})
	after := shift("never-reached", passes.Exact, 1)
	m := parse(t, twoStep)
	want := graph.Format(m)
	back, _, err := passes.Pipeline{Steps: steps(broken, after)}.Run(context.Background(), m, nil)
	var step *passes.StepError
	if !errors.As(err, &step) {
		t.Fatalf("got %v, want a StepError", err)
	}
	if step.Stack == nil || len(step.Rest) != 2 || graph.Format(step.Before) != want || graph.Format(back) != want {
		t.Errorf("the reproducer is not the model before and the steps from there on")
	}
	if !strings.Contains(err.Error(), `step 1, pass "break-down": panic:`) {
		t.Errorf("message is %q", err)
	}
}

func TestNeeds(t *testing.T) {
	p := passes.Define(passes.Pass{Name: "look-at-data", Doc: "x", Needs: passes.Calibration | passes.Labels}, struct{}{},
		func(*passes.Job, struct{}) error { return nil })
	_, _, err := passes.Pipeline{Steps: steps(p)}.Run(context.Background(), parse(t, twoStep), nil)
	if want := `pass "look-at-data": needs calibration data, none was given`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := passes.Pipeline{Steps: steps(shift("bend-weights", passes.Exact, 0))}.Run(ctx, parse(t, twoStep), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
