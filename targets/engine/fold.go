package engine

import (
	"context"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// maxFolded bounds the bytes of a result that is kept in place of the node
// that makes it, beyond the bytes of the node's operands.
const maxFolded = 16 << 20

// fold computes the nodes of the main graph whose operands are all constant.
// A node whose evaluation fails stays, to fail when it runs.
func (s *Session) fold(ctx context.Context, low *lowering) error {
	for n := range s.src.graph.Nodes() {
		if err := ctx.Err(); err != nil {
			return err
		}
		info := s.src.info[n]
		if info.def == nil || info.def.Eval == nil || info.def.Effects || len(n.Subgraphs()) > 0 {
			continue
		}
		ins, ok := low.constants(n)
		if !ok {
			continue
		}
		e := &op.Eval{
			Call: op.Call{Node: n, Version: info.version}, Kernels: s.kernels, Context: ctx,
			In: ins, Out: make([]tensor.Value, n.NumOut()),
		}
		if call(&step{node: n, info: info, eval: info.def.Eval}, e) == nil {
			low.fix(n, e)
		}
	}
	return nil
}

// constants returns the operands of n if all are known.
func (l *lowering) constants(n *graph.Node) ([]tensor.Value, bool) {
	ins := make([]tensor.Value, n.NumIn())
	for i, v := range n.Ins() {
		switch {
		case v == nil:
		case l.fixed[v] != nil:
			ins[i] = l.fixed[v]
		case v.IsConst():
			t, err := dense(v.Init)
			if err != nil {
				return nil, false
			}
			ins[i] = t
		default:
			return nil, false
		}
	}
	return ins, true
}

// fix records the results of a folded node, unless they are missing or much
// larger than its operands.
func (l *lowering) fix(n *graph.Node, e *op.Eval) {
	in, out := 0, 0
	for _, v := range e.In {
		if t, ok := v.(*tensor.Tensor); ok {
			in += t.Size()
		}
	}
	for i, v := range e.Out {
		if v == nil && n.Out(i) != nil {
			return
		}
		if t, ok := v.(*tensor.Tensor); ok {
			out += t.Size()
		}
	}
	if out > in+maxFolded {
		return
	}
	for i, v := range e.Out {
		if n.Out(i) != nil {
			l.fixed[n.Out(i)] = v
		}
	}
}
