package engine

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// machineDomain is the domain of fused operators in a session's private
// graph. No model holds them.
const machineDomain = "onnxpack.machine"

// machine is a fused operator. It may be evaluated concurrently.
type machine interface {
	name() string
	eval(*op.Eval) error
}

// optimizer rewrites the graphs of a source, one after the other, into fused
// operators.
type optimizer struct {
	src     *source
	graph   *graph.Graph // the one being rewritten
	low     *lowering
	kernels *kernel.Table
	threads int
	memory  packer                            // of packed weights
	narrow  map[*tensor.Tensor]*tensor.Tensor // the 16-bit floats that constants were widened from
	notes   []string
}

// optimize rewrites the main graph and those inside.
func (o *optimizer) optimize() {
	if o.versionsAgree() {
		op.InferModel(o.src.graph.Model(), op.InferOptions{})
	}
	var t team
	t.enter(o.threads)
	defer t.leave()
	o.memory.split = t.split
	o.rewrite(o.src.graph)
	o.memory.finish(t.split)
}

// rewrite runs every rewriting of g in order, and then of the graphs inside.
func (o *optimizer) rewrite(g *graph.Graph) {
	o.graph = g
	for _, rewrite := range []func(){
		o.widenHalves,
		o.spellQuantized,
		o.hoistQuantize,
		o.combineTables,
		o.combineActivations,
		o.combineGelu,
		o.combineGeluTanh,
		o.combineLayerNorm,
		o.combineAttention,
		o.combineOneHot,
		o.combineFocus,
		o.fuseDynamicConvs,
		o.sparseConvs,
		o.layoutImages,
		o.fuseBottlenecks,
		o.joinInPlace,
		o.fuseQuantProducts,
		o.fuseDynamicProducts,
		o.fuseQuantRows,
		o.packWeightOnly,
		o.fuseProducts,
		o.packRecurrent,
		o.dropDead,
	} {
		rewrite()
	}
	for n := range g.Nodes() {
		for _, s := range n.Subgraphs() {
			o.rewrite(s)
		}
	}
}

// versionsAgree reports whether every node means what it does in the opsets of
// the model; bodies of functions may use others, and shape inference goes by
// the model's.
func (o *optimizer) versionsAgree() bool {
	for g := range o.src.graph.Walk() {
		for n := range g.Nodes() {
			if o.src.info[n].version != n.Opset() {
				return false
			}
		}
	}
	return true
}

// note records why a node stays as it is.
func (o *optimizer) note(n *graph.Node, format string, args ...any) {
	o.notes = append(o.notes, fmt.Sprintf("%v: %s", n, fmt.Sprintf(format, args...)))
}

// constant returns the contents of v if they are known at compile time.
func (o *optimizer) constant(v *graph.Value) *tensor.Tensor {
	if v == nil {
		return nil
	}
	t, _ := o.low.known(v).(*tensor.Tensor)
	return t
}

// constants returns the contents of float32 operands if all are known.
func (o *optimizer) floats(vs ...*graph.Value) ([][]float32, bool) {
	out := make([][]float32, len(vs))
	for i, v := range vs {
		t := o.constant(v)
		if t == nil || t.DType() != tensor.Float32 {
			return nil, false
		}
		out[i] = tensor.Data[float32](t)
	}
	return out, true
}

// insert puts a fused operator with one result in front of a node. Messages
// call it by the name of origin.
func (o *optimizer) insert(before *graph.Node, m machine, origin *graph.Node, ins ...*graph.Value) *graph.Node {
	n := graph.NewNode(machineDomain, m.name(), ins, 1)
	n.Name = origin.Name
	o.src.info[n] = nodeInfo{origin: o.src.info[origin].origin, machine: m}
	o.graph.InsertBefore(before, n)
	return n
}

// replace puts the results of a fused operator in place of the last of the
// nodes it stands for, and removes them.
func (o *optimizer) replace(n *graph.Node, stands ...*graph.Node) bool {
	g := o.graph
	last := stands[len(stands)-1]
	n.Out(0).Type, n.Out(0).Inferred = last.Out(0).Type, true
	if !g.Replace(last.Out(0), n.Out(0)) {
		g.Remove(n)
		return false
	}
	o.standFor(n, stands)
	for _, s := range slices.Backward(stands) {
		g.Remove(s)
	}
	return true
}

// standFor notes which nodes of the model n computes.
func (o *optimizer) standFor(n *graph.Node, stands []*graph.Node) {
	info := o.src.info[n]
	for _, s := range stands {
		fused := o.src.info[s]
		for _, origin := range append([]*graph.Node{fused.origin}, fused.rest...) {
			if origin != info.origin && !slices.Contains(info.rest, origin) {
				info.rest = append(info.rest, origin)
			}
		}
	}
	o.src.info[n] = info
}

// next returns the only reader of n's only result, in n's own graph, and
// which input of the reader it is.
func next(n *graph.Node) (*graph.Node, int) {
	if n.NumOut() != 1 {
		return nil, 0
	}
	u, ok := n.Out(0).SoleUse()
	if !ok || u.Node.Graph() != n.Graph() {
		return nil, 0
	}
	return u.Node, u.Index
}

// dropDead removes nodes whose results nothing reads, and constants that
// nothing reads: packed ones need not be kept as they were.
func (o *optimizer) dropDead() {
	for n := range o.graph.Backward() {
		info := o.src.info[n]
		effects := info.machine == nil && (info.def == nil || info.def.Effects)
		if !effects && !slices.ContainsFunc(n.Outs(), func(v *graph.Value) bool { return v != nil && v.Used() }) {
			o.graph.Remove(n)
		}
	}
	for _, v := range o.graph.Inits() {
		if !v.Used() && !v.IsInput() {
			o.graph.DropInit(v)
		}
	}
}

// combineActivations makes one operator of activations that models spell as
// two:
//
//	y = Mul(x, Sigmoid(x))                             Silu
//	y = Mul(x, HardSigmoid<alpha = 1/6, beta = 0.5>(x))  HardSwish
func (o *optimizer) combineActivations() {
	for n := range o.graph.Nodes() {
		var act activation
		switch {
		case n.Is("Sigmoid"):
			act = silu
		case n.Is("HardSigmoid") && isSixth(n.Float("alpha", 0.2)) && n.Float("beta", 0.5) == 0.5:
			act = hardSwish
		default:
			continue
		}
		mul, i := next(n)
		if mul == nil || !mul.Is("Mul") || mul.In(1-i) != n.In(0) || !o.isFloat32(n.In(0)) {
			continue
		}
		o.replace(o.insert(mul, &unary{act: act}, n, n.In(0)), n, mul)
	}
}

func isSixth(x float32) bool { return x > 1.0/6-1e-6 && x < 1.0/6+1e-6 }
