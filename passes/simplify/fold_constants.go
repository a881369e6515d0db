package simplify

import (
	"context"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// FoldConstants computes nodes whose operands are all constant.
var FoldConstants = passes.Define(passes.Pass{
	Name: "fold-constants",
	Doc: `compute nodes whose operands are all constant

A node stays if its results would take many more bytes than the operands that
it reads, as a ConstantOfShape can, and so does DequantizeLinear, which is how
small weights are written.`,
	Kind: passes.Exact,
}, foldConstants{MaxGrowth: 64 << 10}, runFoldConstants)

type foldConstants struct {
	MaxGrowth int `opt:"max-growth" help:"bytes by which results may exceed the operands"`
}

func runFoldConstants(j *passes.Job, o foldConstants) error {
	f := folder{ctx: j.Context(), kernels: kernel.Generic(), maxGrowth: o.MaxGrowth}
	eachNode(j, func(n *graph.Node) {
		why, done := f.fold(n)
		switch {
		case done:
			j.Changed(1)
		case why != "":
			j.Skip(n, "%s", why)
		}
	})
	return nil
}

// folder computes nodes with the portable kernels, so that the results do not
// depend on the CPU.
type folder struct {
	ctx       context.Context
	kernels   *kernel.Table
	maxGrowth int
}

// fold puts constants in the place of n. If it does not, why says what stood
// in the way of a node that could be computed.
func (f *folder) fold(n *graph.Node) (why string, done bool) {
	d := op.Find(n.Domain, n.Op, n.Opset())
	if d == nil || d.Eval == nil || d.Effects || n.Is("DequantizeLinear", "Constant") || !foldable(n) {
		return "", false
	}
	e := &op.Eval{
		Call: op.Call{Node: n, Version: n.Opset()}, Kernels: f.kernels, Context: f.ctx,
		In: make([]tensor.Value, n.NumIn()), Out: make([]tensor.Value, n.NumOut()),
	}
	size := 0
	for i, v := range n.Ins() {
		if v != nil {
			t := constant(v)
			e.In[i] = t
			size += t.Size()
		}
	}
	if f.oversized(n, size) {
		return "its result would be much larger than its operands", false
	}
	if err := d.Eval(e); err != nil {
		return err.Error(), false
	}
	for i, v := range n.Outs() {
		t, ok := e.Out[i].(*tensor.Tensor)
		if v == nil {
			continue
		}
		if !ok || t.Size() > size+f.maxGrowth {
			return "its result is much larger than its operands", false
		}
	}
	replaceResults(n, e.Out)
	return "", true
}

// foldable reports whether all operands of n are constant, and all results
// can be.
func foldable(n *graph.Node) bool {
	if !mayHoldConsts(n.Graph()) || len(n.Subgraphs()) > 0 || n.NumIn() == 0 {
		return false
	}
	for _, v := range n.Ins() {
		if v != nil && constant(v) == nil {
			return false
		}
	}
	for _, v := range n.Outs() {
		if v != nil && v.IsOutput() {
			return false
		}
	}
	return true
}

// oversized reports whether the result of n is known to be too large before
// it is computed.
func (f *folder) oversized(n *graph.Node, operands int) bool {
	for _, v := range n.Outs() {
		if s, ok := dims(v).Static(); ok && s.Check() == nil && elem(v).Bytes(s.Len()) > operands+f.maxGrowth {
			return true
		}
	}
	return n.Is("ConstantOfShape", "Expand", "Tile", "Range", "Resize", "Pad") && dims(n.Out(0)) == nil
}

// replaceResults puts initializers in the place of n's results. Their names
// stay.
func replaceResults(n *graph.Node, results []tensor.Value) {
	g := n.Graph()
	var names []string
	var inits []*graph.Value
	for i, v := range n.Outs() {
		if v == nil {
			continue
		}
		init := g.AddInit(v.Name(), results[i].(*tensor.Tensor))
		g.ReplaceUses(v, init)
		names, inits = append(names, v.Name()), append(inits, init)
	}
	g.Remove(n)
	for i, name := range names {
		if g.Value(name) == nil {
			g.Rename(inits[i], name)
		}
	}
}
