package op

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Eval is one call while it is computed. Inputs are read only; results are
// allocated through New and handed over with SetOut.
type Eval struct {
	Call
	In  []tensor.Value // nil where omitted
	Out []tensor.Value // one for each result of the node

	Kernels *kernel.Table
	Context context.Context

	// Alloc returns a tensor for a result or for scratch, contents
	// unspecified; nil means the garbage-collected heap.
	Alloc func(tensor.DType, tensor.Shape) *tensor.Tensor
	// AllocFramed is Alloc for a tensor that the call draws a frame in and
	// otherwise fills. It reports whether an equal frame lies there already, from
	// an earlier call. nil means that none ever does.
	AllocFramed func(Frame) (t *tensor.Tensor, drawn bool)
	// Split runs f over 0..n-1 in ranges of at least grain, perhaps in
	// parallel; nil means here and now.
	Split func(n, grain int, f func(lo, hi int))
	// Sub runs a subgraph of the node. What it returns stays in place until
	// the call ends, or hands it to Free.
	Sub func(g *graph.Graph, args []tensor.Value) ([]tensor.Value, error)
	// Free takes back a value that Sub or Alloc returned and that the call
	// reads no more; nil means that nobody wants it.
	Free func(v tensor.Value)
	// Constant reports whether input i is the same at every call of this Eval;
	// nil means that none is.
	Constant func(i int) bool
	// Rand is the source of a random operator without a seed attribute.
	Rand *rand.Rand

	kept any // see keep
}

// Tensor returns input i as a dense tensor, nil if it is omitted. A value of
// another kind is reported by the engine before Eval is called, from the
// operator's schema.
func (e *Eval) Tensor(i int) *tensor.Tensor {
	if i >= len(e.In) {
		return nil
	}
	t, _ := e.In[i].(*tensor.Tensor)
	return t
}

// New returns a tensor to put a result in; its contents are unspecified.
func (e *Eval) New(d tensor.DType, s tensor.Shape) *tensor.Tensor {
	if e.Alloc == nil || d == tensor.String {
		return tensor.New(d, s)
	}
	return e.Alloc(d, s)
}

// Frame is a border of equal elements in a tensor of images [N, H, W, C].
type Frame struct {
	DType                    tensor.DType
	Shape                    [4]int // border included
	Top, Left, Bottom, Right int    // how many pixels wide it is
	Value                    any    // of its elements, of a comparable type
}

// NewFramed returns a tensor to put a result in. Its frame is as f says if
// drawn is true, all else is unspecified.
func (e *Eval) NewFramed(f Frame) (t *tensor.Tensor, drawn bool) {
	if e.AllocFramed == nil {
		return e.New(f.DType, f.Shape[:]), false
	}
	return e.AllocFramed(f)
}

// free takes back values that the call reads no more.
func (e *Eval) free(vs ...tensor.Value) {
	for _, v := range vs {
		if e.Free != nil && v != nil {
			e.Free(v)
		}
	}
}

// keep returns what make derives from input i alone, at later calls too if the
// input is constant. A rule keeps one thing.
func keep[T any](e *Eval, i int, make func() (T, error)) (T, error) {
	if e.Constant == nil || !e.Constant(i) {
		return make()
	}
	if v, ok := e.kept.(T); ok {
		return v, nil
	}
	v, err := make()
	if err == nil {
		e.kept = v
	}
	return v, err
}

// SetOut hands over result i; one that nobody wants is dropped.
func (e *Eval) SetOut(i int, v tensor.Value) {
	if i < len(e.Out) {
		e.Out[i] = v
	}
}

// Parallel runs f over 0..n-1 in ranges of at least grain.
func (e *Eval) Parallel(n, grain int, f func(lo, hi int)) {
	if e.Split == nil || n <= grain {
		if n > 0 {
			f(0, n)
		}
		return
	}
	e.Split(n, grain, f)
}

// Errorf returns an error about input i that states its shape and the node:
// `node "conv_7" (Conv): input 1 float[8,3]: weight has 2 axes, want 4`. The
// engine puts the node in front.
func (e *Eval) Errorf(i int, format string, args ...any) error {
	what := "omitted"
	if t := e.Tensor(i); t != nil {
		what = t.String()
	}
	return fmt.Errorf("input %d %s: %w", i, what, fmt.Errorf(format, args...))
}
