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

// fold computes the nodes of g and of the graphs inside whose operands are all
// constant, and puts the branch of an If whose condition is constant in its
// place. A node whose evaluation fails stays, to fail when it runs.
func (s *Session) fold(ctx context.Context, low *lowering, g *graph.Graph) error {
	for n := range g.Nodes() {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, sub := range n.Subgraphs() {
			if err := s.fold(ctx, low, sub); err != nil {
				return err
			}
		}
		info := s.src.info[n]
		if info.def == nil || info.def.Eval == nil || info.def.Effects || len(n.Subgraphs()) > 0 {
			if n.Is("If") {
				low.foldIf(n)
			}
			continue
		}
		ins, ok := low.constants(n)
		if !ok {
			continue
		}
		compute := func() {
			e := &op.Eval{
				Call: op.Call{Node: n, Version: info.version}, Kernels: s.kernels, Context: ctx,
				In: ins, Out: make([]tensor.Value, n.NumOut()),
			}
			if call(&step{node: n, info: info, eval: info.def.Eval}, e) == nil {
				low.fix(n, e)
			}
		}
		if isQuantOp(n, "DequantizeLinear") && n.Out(0) != nil && manyWeights(ins) {
			low.later[n.Out(0)] = compute
		} else {
			compute()
		}
	}
	return nil
}

// fewWeights is up to how many weights are dequantized before it is known
// whether anything reads them so: most operators take the integers.
const fewWeights = 4 << 10

func manyWeights(ins []tensor.Value) bool {
	if len(ins) == 0 {
		return false
	}
	x, ok := ins[0].(*tensor.Tensor)
	return ok && x.Len() > fewWeights
}

// known returns what v always holds, nil if that is not known at compile time.
func (l *lowering) known(v *graph.Value) tensor.Value {
	if compute := l.later[v]; compute != nil {
		delete(l.later, v)
		compute()
	}
	if t := l.fixed[v]; t != nil {
		return t
	}
	if v.IsConst() {
		if t, err := dense(v.Init); err == nil {
			return t
		}
	}
	return nil
}

// constants returns the operands of n if all are known.
func (l *lowering) constants(n *graph.Node) ([]tensor.Value, bool) {
	ins := make([]tensor.Value, n.NumIn())
	for i, v := range n.Ins() {
		if v == nil {
			continue
		}
		if ins[i] = l.known(v); ins[i] == nil {
			return nil, false
		}
	}
	return ins, true
}

// foldIf puts the branch that a constant condition chooses in the place of n,
// an If.
func (l *lowering) foldIf(n *graph.Node) {
	if n.In(0) == nil {
		return
	}
	branch := chosenBranch(n, l.known(n.In(0)))
	if branch == nil || len(branch.Inputs()) > 0 || len(branch.Outputs()) < n.NumOut() {
		return
	}
	g := n.Graph()
	for i, v := range branch.Splice(n, nil) {
		old := n.Out(i)
		if old == nil || g.Replace(old, v) {
			continue
		}
		// v cannot take the name of an output over.
		id := graph.NewNode("", "Identity", []*graph.Value{v}, 1)
		version := g.Opset("")
		l.src.info[id] = nodeInfo{origin: l.src.info[n].origin, def: op.Find("", "Identity", version), version: version}
		g.InsertBefore(n, id)
		g.Replace(old, id.Out(0))
	}
	g.Remove(n)
}

// chosenBranch returns the branch of n, an If, that runs under cond, nil if
// that is no condition.
func chosenBranch(n *graph.Node, cond tensor.Value) *graph.Graph {
	t, ok := cond.(*tensor.Tensor)
	if !ok || t.DType() != tensor.Bool || t.Len() != 1 {
		return nil
	}
	name := "else_branch"
	if tensor.Data[bool](t)[0] {
		name = "then_branch"
	}
	a := n.Attr(name)
	if a == nil || len(a.Graphs) != 1 {
		return nil
	}
	return a.Graphs[0]
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
