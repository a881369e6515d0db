package conformance

import (
	"context"
	"errors"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Runner is an engine with a model loaded.
type Runner interface {
	Run(ctx context.Context, feeds map[string]tensor.Value) (map[string]tensor.Value, error)
}

// Options says which tests run and how. The zero value runs all of them on
// the embedded engine.
type Options struct {
	// Load makes a runner of a test's model, which was read from path; nil
	// compiles it for the embedded engine.
	Load func(ctx context.Context, m *graph.Model, path string) (Runner, error)
	// Match chooses tests by name; nil takes all.
	Match func(name string) bool
	// Progress, if set, is told each test's verdict: nil if it passed.
	Progress func(c Case, err error)
}

// Result says how the tests went.
type Result struct {
	Passed  int    `json:"passed"`
	Failed  []Note `json:"failed"`
	Skipped []Note `json:"skipped"`
}

// Note names a test and what is to say about it.
type Note struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// ErrSkip marks a test that says nothing: it has no data.
var ErrSkip = errors.New("the test holds no data to compare with")

// Run runs the tests under the given folders.
func Run(ctx context.Context, dirs []string, o Options) (*Result, error) {
	res := &Result{Failed: []Note{}, Skipped: []Note{}}
	for _, dir := range dirs {
		cases, err := Find(dir)
		if err != nil {
			return nil, err
		}
		for _, c := range cases {
			if o.Match != nil && !o.Match(c.Name) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			res.add(c, RunCase(ctx, c, o), o)
		}
	}
	return res, nil
}

func (r *Result) add(c Case, err error, o Options) {
	switch {
	case err == nil:
		r.Passed++
	case errors.Is(err, ErrSkip):
		r.Skipped = append(r.Skipped, Note{c.Name, err.Error()})
	default:
		r.Failed = append(r.Failed, Note{c.Name, err.Error()})
	}
	if o.Progress != nil {
		o.Progress(c, err)
	}
}

// RunCase runs one test and returns why it failed, [ErrSkip] if it holds no
// data.
func RunCase(ctx context.Context, c Case, o Options) error {
	if len(c.Sets) == 0 {
		return ErrSkip
	}
	f, err := onnxio.Open(c.Model, onnxio.OpenOptions{})
	if err != nil {
		return err
	}
	defer f.Close()
	m := f.Model
	load := o.Load
	if load == nil {
		load = func(ctx context.Context, m *graph.Model, _ string) (Runner, error) {
			return engine.Compile(ctx, m, engine.Options{})
		}
	}
	r, err := load(ctx, m, c.Model)
	if err != nil {
		return err
	}
	for i, s := range c.Sets {
		if err := runSet(ctx, r, m.Graph, s, c.Tolerance); err != nil {
			return fmt.Errorf("data set %d: %w", i, err)
		}
	}
	return nil
}

func runSet(ctx context.Context, r Runner, g *graph.Graph, s Set, tol Tolerance) error {
	feeds, err := s.feeds(g)
	if err != nil {
		return err
	}
	got, err := r.Run(ctx, feeds)
	if err != nil {
		return err
	}
	outs := g.Outputs()
	if len(s.Outputs) > len(outs) {
		return fmt.Errorf("%d results are expected of a model with %d", len(s.Outputs), len(outs))
	}
	for i, file := range s.Outputs {
		if file == "" {
			continue
		}
		want, err := onnxio.ReadValue(file, outs[i].Type)
		if err != nil {
			return err
		}
		if err := Compare(got[outs[i].Name()], want, tol); err != nil {
			return fmt.Errorf("output %q: %w", outs[i].Name(), err)
		}
	}
	return nil
}

// feeds reads the inputs of a set. The files count the graph's inputs, or
// only those without a default if there are just as many files.
func (s *Set) feeds(g *graph.Graph) (map[string]tensor.Value, error) {
	ins := g.Inputs()
	feeds := map[string]tensor.Value{}
	if s.Ramp {
		for _, v := range g.Feeds() {
			t, err := ramp(v)
			if err != nil {
				return nil, err
			}
			feeds[v.Name()] = t
		}
		return feeds, nil
	}
	if need := g.Feeds(); len(s.Inputs) == len(need) {
		ins = need
	}
	if len(s.Inputs) > len(ins) {
		return nil, fmt.Errorf("%d inputs are given to a model with %d", len(s.Inputs), len(ins))
	}
	for i, file := range s.Inputs {
		if file == "" {
			continue
		}
		v, err := onnxio.ReadValue(file, ins[i].Type)
		if err != nil {
			return nil, err
		}
		feeds[ins[i].Name()] = v
	}
	return feeds, nil
}

// ramp returns the tensor of elements i/n that the light models are tested
// with; unknown dimensions are 1.
func ramp(v *graph.Value) (*tensor.Tensor, error) {
	if v.Type == nil || v.Type.Kind != graph.KindTensor || v.Type.Elem != tensor.Float32 || v.Type.Shape == nil {
		return nil, fmt.Errorf("input %q is %v, want a float tensor", v.Name(), v.Type)
	}
	shape := make(tensor.Shape, len(v.Type.Shape))
	for i, d := range v.Type.Shape {
		shape[i] = 1
		if d.IsKnown() {
			shape[i] = d.Size
		}
	}
	if err := shape.Check(); err != nil {
		return nil, fmt.Errorf("input %q: %w", v.Name(), err)
	}
	x := make([]float32, shape.Len())
	for i := range x {
		x[i] = float32(float64(i) / float64(len(x)))
	}
	return tensor.Of(shape, x), nil
}
