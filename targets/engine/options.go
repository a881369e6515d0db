package engine

import (
	"runtime"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets"
)

// Options says how a model is compiled. The zero value is a good default.
type Options struct {
	// Target is the CPU to compile for; the zero value means the host.
	Target targets.Target

	// Emulate computes products of 8-bit integers as an int8 runtime on Target
	// does, saturation included, whatever CPU this is: see
	// [targets.Target.Emulated].
	Emulate bool

	// Threads is how many threads one run may use, the caller's included, but
	// no more than Go runs at once, which is what 0 means. Results do not
	// depend on it.
	Threads int

	// MaxMemory is how many bytes the weights and the intermediate values of
	// one run may take together; 0 means no limit. Compile refuses weights
	// that are larger; Run estimates its need from the shapes of the feeds
	// and refuses before it starts.
	MaxMemory int64

	// Seed starts the random operators that have no seed of their own. The
	// n-th run of two sessions with equal seeds draws the same numbers.
	Seed uint64

	// Outputs names values of the main graph that Run returns besides the
	// model's outputs.
	Outputs []string

	// Plain runs every node by itself instead of fusing nodes into operators
	// made for the target. Results then differ within rounding only.
	Plain bool

	// Observe, if set, is called after every node of every run, subgraphs
	// included, with the node of the compiled model (or of a function's body)
	// and its results, nil where omitted. Nodes are neither folded nor fused
	// then. Concurrent runs call it concurrently.
	Observe func(n *graph.Node, outs []tensor.Value)

	// Trace, if set, is called after every step of every run. Concurrent runs
	// call it concurrently.
	Trace func(Step)
}

// Step is one operator of a run, fused or not. Values are valid only until
// Trace returns.
type Step struct {
	Node    *graph.Node   // of the compiled model or of a function's body; the first of those fused
	Rest    []*graph.Node // the others of those fused
	Op      string        // the operator, or the name of the fused one
	Fused   bool
	In, Out []tensor.Value
	Elapsed time.Duration // subgraphs included
	Inner   time.Duration // of Elapsed, in the steps of subgraphs
}

func (o *Options) threads() int {
	most := runtime.GOMAXPROCS(0)
	if o.Threads > 0 {
		return min(o.Threads, most)
	}
	return most
}
