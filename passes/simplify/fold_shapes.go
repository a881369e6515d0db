package simplify

import (
	"strconv"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// FoldShapes makes constants of what is computed from shapes.
var FoldShapes = passes.Define(passes.Pass{
	Name: "fold-shapes",
	Doc: `make constants of what is computed from shapes

	s = Shape (x)                               y = Reshape (x, [0,256])
	n = Gather (s, 0)
	m = Unsqueeze (n, [0])
	t = Concat <axis = 0> (m, [256])        =>
	y = Reshape (x, t)

A value that shape inference knows becomes an initializer. The target of a
Reshape may have one unknown dimension (-1) and others that are those of its
input (0); the target of an Expand may have dimensions of its input (1).`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !mayHoldConsts(n.Graph()) {
			return
		}
		if foldTarget(n) || foldContents(j, n) {
			j.Changed(1)
		}
	})
	return nil
})

// foldContents puts an initializer in the place of n if all elements of its
// result are known.
func foldContents(j *passes.Job, n *graph.Node) bool {
	if n.NumOut() != 1 || n.Out(0) == nil || n.Out(0).IsOutput() || n.Is("Constant") || len(n.Subgraphs()) > 0 {
		return false
	}
	v := n.Out(0)
	rank, d := len(dims(v)), elem(v)
	list, ok := numbers(j.Facts.Contents(v))
	if !ok || dims(v) == nil || rank > 1 || rank == 0 && len(list) != 1 || !d.IsInteger() {
		return false
	}
	shape := tensor.Shape{}
	if rank == 1 {
		shape = tensor.Shape{len(list)}
	}
	replaceResults(n, []tensor.Value{tensor.FromInt64s(d, shape, list)})
	return true
}

// numbers returns contents that are all known. Negative ones are written as
// constant expressions.
func numbers(d graph.Dims) ([]int64, bool) {
	if d == nil {
		return nil, false
	}
	list := make([]int64, len(d))
	for i, x := range d {
		if x.IsKnown() {
			list[i] = int64(x.Size)
			continue
		}
		v, err := strconv.ParseInt(x.Sym, 10, 64)
		if err != nil {
			return nil, false
		}
		list[i] = v
	}
	return list, true
}

// foldTarget makes the target of a Reshape or Expand constant, if the shapes
// around the node allow.
func foldTarget(n *graph.Node) bool {
	if !n.Is("Reshape", "Expand") || n.NumIn() != 2 || constant(n.In(1)) != nil {
		return false
	}
	in, out := dims(n.In(0)), dims(n.Out(0))
	var target []int64
	ok := false
	if n.Op == "Reshape" {
		target, ok = reshapeTarget(in, out)
	} else {
		target, ok = expandTarget(in, out)
	}
	if !ok {
		return false
	}
	n.DropAttr("allowzero")
	n.SetIn(1, n.Graph().AddInit(n.In(1).Name(), tensor.Vector(target...)))
	return true
}

// expandTarget returns the constant operand of an Expand from shape in to
// shape out.
func expandTarget(in, out graph.Dims) ([]int64, bool) {
	if in == nil || out == nil || len(in) > len(out) {
		return nil, false
	}
	target := make([]int64, len(out))
	for i, d := range out {
		at := i - (len(out) - len(in))
		switch {
		case d.IsKnown():
			target[i] = int64(d.Size)
		case at >= 0 && sameDim(in[at], d):
			target[i] = 1
		default:
			return nil, false
		}
	}
	return target, true
}
