package engine

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// describe names a value's type and shape for messages.
func describe(v tensor.Value) string {
	switch v := v.(type) {
	case *tensor.Tensor:
		return v.String()
	case *tensor.Sparse:
		return "sparse " + v.Values.DType().String() + v.Shape.String()
	case *tensor.Seq:
		if len(v.Items) == 0 {
			return "seq()"
		}
		return fmt.Sprintf("seq(%d of %s)", len(v.Items), describe(v.Items[0]))
	case *tensor.Map:
		return fmt.Sprintf("map(%d keys %v)", len(v.Values), v.Keys.DType())
	case tensor.None:
		return "none"
	}
	return "nothing"
}

// fits reports why v cannot be fed to an input of type t.
func fits(v tensor.Value, t *graph.Type) error {
	if t == nil || t.Kind == graph.KindNone || t.Kind == graph.KindOpaque {
		return nil
	}
	ok := false
	switch v := v.(type) {
	case nil:
	case *tensor.Tensor:
		switch t.Kind {
		case graph.KindOptional:
			return fits(v, t.Item)
		case graph.KindTensor, graph.KindSparse:
			ok = v != nil && (t.Elem == tensor.Undefined || v.DType() == t.Elem) && t.Shape.Admits(v.Shape())
		}
	case *tensor.Sparse:
		ok = t.Kind == graph.KindSparse && v.Values.DType() == t.Elem && t.Shape.Admits(v.Shape)
	case *tensor.Seq:
		if t.Kind == graph.KindOptional {
			return fits(v, t.Item)
		}
		ok = t.Kind == graph.KindSequence
	case *tensor.Map:
		ok = t.Kind == graph.KindMap || t.Kind == graph.KindOptional
	case tensor.None:
		ok = t.Kind == graph.KindOptional
	}
	if !ok {
		return fmt.Errorf("%s is given, want %v", describe(v), t)
	}
	return nil
}

// fitsKind reports whether v is of the kind of t: tensor, sequence, map or
// optional.
func fitsKind(v tensor.Value, t *graph.Type) bool {
	if t.Kind == graph.KindOptional {
		if _, none := v.(tensor.None); none {
			return true
		}
		return t.Item == nil || fitsKind(v, t.Item)
	}
	switch v.(type) {
	case *tensor.Tensor:
		return t.Kind == graph.KindTensor
	case *tensor.Sparse:
		return t.Kind == graph.KindTensor || t.Kind == graph.KindSparse
	case *tensor.Seq:
		return t.Kind == graph.KindSequence
	case *tensor.Map:
		return t.Kind == graph.KindMap
	}
	return false
}
