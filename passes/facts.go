package passes

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
)

// Facts is what shape inference knows of a model beyond the types of its
// values, which it writes to the values themselves.
type Facts struct {
	inferred *op.Inference
}

// InferFacts derives the types of all values of m anew, and returns what else
// that brings to light. Where inference ends, types are left unknown.
func InferFacts(m *graph.Model) *Facts {
	return &Facts{op.InferModel(m, op.InferOptions{})}
}

// Contents returns the elements of v, an integer tensor of at most one axis,
// as far as they are known; nil if v is none, or nothing is known.
func (f *Facts) Contents(v *graph.Value) graph.Dims { return f.inferred.Contents(v) }
