package quantize

import (
	"math"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// What runtimes have integer kernels for between DequantizeLinear and
// QuantizeLinear (ONNX Runtime's QDQ selectors).
var (
	// integerOps multiply by a constant weight. Those in floatResult may give
	// out float from integer operands.
	integerOps  = map[string]bool{"Conv": true, "Gemm": true, "MatMul": true}
	floatResult = map[string]bool{"Gemm": true, "MatMul": true}
	// passOps give out elements of their first input, at its scale.
	passOps = map[string]bool{
		"MaxPool": true, "Reshape": true, "Flatten": true, "Squeeze": true, "Unsqueeze": true,
		"Transpose": true, "Slice": true, "Resize": true, "DepthToSpace": true,
	}
	// mixOps compute with the scale of each operand.
	mixOps = map[string]bool{
		"Add": true, "Mul": true, "Concat": true, "AveragePool": true, "GlobalAveragePool": true,
		"Sigmoid": true, "LeakyRelu": true,
	}
)

// plan says which nodes of the main graph are quantized, and with which
// ranges.
type plan struct {
	job     *passes.Job
	options StaticOptions
	cores   []*graph.Node // with weights, in order
	nodes   map[*graph.Node]bool
	// absorbed maps a quantized node to the Relu or Clip after it that its
	// range takes up.
	absorbed map[*graph.Node]*graph.Node
	groups   map[*graph.Value]*group // of every value that is quantized
	// inputs are the first operands of cores, as they are before the graph is
	// changed, and means those of their channels.
	inputs map[*graph.Node]*graph.Value
	means  map[*graph.Value]*channelMeans
}

// group is a set of values with the same scale.
type group struct {
	values []*graph.Value
	seen   *histogram
	params params
	lo, hi float64 // bounds that an absorbed activation must keep; infinite if none
}

func newPlan(j *passes.Job, o StaticOptions) *plan {
	p := &plan{
		job: j, options: o,
		nodes: map[*graph.Node]bool{}, absorbed: map[*graph.Node]*graph.Node{}, groups: map[*graph.Value]*group{},
		inputs: map[*graph.Node]*graph.Value{}, means: map[*graph.Value]*channelMeans{},
	}
	for n := range j.Model.Nodes(graph.InMain | graph.InSubgraphs) {
		p.consider(n)
	}
	p.followers()
	p.trim()
	for n := range j.Model.Graph.Nodes() {
		if p.nodes[n] {
			p.absorb(n)
		}
	}
	p.group()
	return p
}

// consider takes n as a core if it multiplies by a constant weight and the
// options want it.
func (p *plan) consider(n *graph.Node) {
	if n.Domain != "" || !slices.Contains(p.options.Ops, n.Op) {
		return
	}
	name := nameOf(n)
	switch {
	case len(p.options.Include) > 0 && !passes.Match(p.options.Include, name):
		p.job.Skip(n, "it is not included")
	case passes.Match(p.options.Exclude, name):
		p.job.Skip(n, "it is excluded")
	default:
		if why := unfit(n); why != "" {
			p.job.Skip(n, "%s", why)
			return
		}
		if n.Graph() != p.job.Model.Graph {
			p.job.Skip(n, "it stands in a subgraph, whose values are not calibrated")
			return
		}
		p.cores = append(p.cores, n)
		p.nodes[n] = true
		p.inputs[n] = n.In(0)
	}
}

// unfit says why the weight of n cannot be quantized, "" if it can.
func unfit(n *graph.Node) string {
	d := op.Find("", n.Op, n.Opset())
	if d == nil || d.Quant == nil || d.Quant.Class != op.QuantInteger {
		return "its integer form is not known"
	}
	w := n.In(d.Quant.Weight)
	if w == nil || !w.IsConst() || w.Init.Tensor == nil {
		return "its weight is not constant"
	}
	t := w.Init.Tensor
	switch {
	case t.DType() != tensor.Float32:
		return "its weight is " + t.DType().String() + ", want float"
	case n.In(0).IsConst():
		return "both its operands are constant"
	case n.Op == "MatMul" && t.Rank() != 2:
		return "its weight is a stack of matrices"
	case n.Op == "Gemm" && (n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.In(2) != nil && n.Float("beta", 1) != 1):
		return "it scales or transposes"
	}
	if b := n.In(2); n.NumIn() > 2 && b != nil {
		if !b.IsConst() || b.Init.Tensor == nil || b.Init.Tensor.Rank() != 1 {
			return "its bias is not a constant for each channel"
		}
	}
	return ""
}

// followers adds the nodes that carry quantized values on.
func (p *plan) followers() {
	has := map[*graph.Value]bool{} // is available as uint8
	for n := range p.job.Model.Graph.Nodes() {
		if n.Out(0) == nil {
			continue
		}
		switch {
		case p.nodes[n]:
			has[n.Out(0)] = true
		case n.Domain == "" && passOps[n.Op] && has[n.In(0)] && passes8(n):
			p.nodes[n], has[n.Out(0)] = true, true
		case n.Domain == "" && mixOps[n.Op] && slices.ContainsFunc(n.Ins(), func(v *graph.Value) bool { return has[v] }) && mixes8(n):
			p.nodes[n], has[n.Out(0)] = true, true
		case isBound(n) && has[n.In(0)]:
			has[n.Out(0)] = true
		}
	}
}

// passes8 reports whether n, one of passOps, exists for uint8.
func passes8(n *graph.Node) bool {
	switch n.Op {
	case "MaxPool":
		return n.Opset() >= 12 && (n.NumOut() < 2 || n.Out(1) == nil || !n.Out(1).Used())
	case "Resize":
		return n.Str("mode", "nearest") == "nearest"
	}
	return true
}

// mixes8 reports whether the operands of n, one of mixOps, can be quantized.
func mixes8(n *graph.Node) bool {
	for _, v := range n.Ins() {
		if v == nil || v.Type == nil || v.Type.Kind != graph.KindTensor || v.Type.Elem != tensor.Float32 {
			return false
		}
	}
	return n.Op != "Add" || !isStream(n)
}

// isStream reports whether n, an Add, is a step of a stream that runs through
// a network and that block after block adds to without an activation between.
// Rounding it at every step would add up, so it stays float; the blocks read it
// in quantized form.
func isStream(n *graph.Node) bool {
	for _, u := range n.Out(0).Uses() {
		if u.Node.Is("Add") {
			return true
		}
	}
	for _, v := range n.Ins() {
		if p := v.Producer(); p != nil && p.Is("Add") {
			return true
		}
	}
	return false
}

// isBound reports whether n is a Relu, or a Clip with constant bounds.
func isBound(n *graph.Node) bool {
	_, _, ok := boundOf(n)
	return ok
}

// boundOf returns the bounds of a Relu, or of a Clip with constant ones.
func boundOf(n *graph.Node) (lo, hi float64, ok bool) {
	lo, hi = math.Inf(-1), math.Inf(1)
	switch {
	case n.Is("Relu"):
		return 0, hi, true
	case !n.Is("Clip"):
		return lo, hi, false
	case n.Opset() < 11:
		return float64(n.Float("min", float32(lo))), float64(n.Float("max", float32(hi))), true
	}
	read := func(v *graph.Value, x float64) float64 {
		if v == nil {
			return x
		}
		if !v.IsConst() || v.Init.Tensor == nil || v.Init.Tensor.Len() != 1 {
			ok = false
			return x
		}
		return tensor.Float64s(v.Init.Tensor)[0]
	}
	ok = true
	lo, hi = read(n.In(1), lo), read(n.In(2), hi)
	return lo, hi, ok
}

// trim takes back followers that no quantized node reads: quantizing them
// gains nothing and costs accuracy.
func (p *plan) trim() {
	cores := map[*graph.Node]bool{}
	for _, n := range p.cores {
		cores[n] = true
	}
	for n := range p.job.Model.Graph.Backward() {
		if p.nodes[n] && !cores[n] && !p.read8(n.Out(0)) {
			delete(p.nodes, n)
		}
	}
}

// read8 reports whether a quantized node reads v, perhaps after an
// activation.
func (p *plan) read8(v *graph.Value) bool {
	for _, u := range v.Uses() {
		if p.nodes[u.Node] || isBound(u.Node) && u.Index == 0 && p.read8(u.Node.Out(0)) {
			return true
		}
	}
	return false
}

// absorb notes the activation that n's range can take up: the only reader of
// its result, with zero between its bounds.
func (p *plan) absorb(n *graph.Node) {
	if passOps[n.Op] || p.staysFloat(n) {
		return
	}
	u, ok := n.Out(0).SoleUse()
	if !ok || u.Index != 0 || u.Node.Graph() != n.Graph() {
		return
	}
	if lo, hi, ok := boundOf(u.Node); ok && lo <= 0 && hi > 0 {
		p.absorbed[n] = u.Node
	}
}

// staysFloat reports whether n gives out float: an operator that can, whose
// result no quantized node reads.
func (p *plan) staysFloat(n *graph.Node) bool {
	return floatResult[n.Op] && !p.read8(n.Out(0))
}

// result returns the value that n gives out, its activation applied.
func (p *plan) result(n *graph.Node) *graph.Value {
	if a := p.absorbed[n]; a != nil {
		return a.Out(0)
	}
	return n.Out(0)
}

// group makes the groups: one for each value that is quantized, joined where
// an operator passes elements on, and where a Concat is all that reads an
// operand.
func (p *plan) group() {
	for n := range p.job.Model.Graph.Nodes() {
		if !p.nodes[n] {
			continue
		}
		for _, v := range p.operands(n) {
			if v != nil {
				p.enter(v)
			}
		}
		if !p.staysFloat(n) {
			g := p.enter(p.result(n))
			if a := p.absorbed[n]; a != nil {
				lo, hi, _ := boundOf(a)
				g.lo, g.hi = max(g.lo, lo), min(g.hi, hi)
			}
		}
		if passOps[n.Op] {
			p.join(n.In(0), n.Out(0))
		}
	}
}

// operands returns the inputs of n that are quantized with a range: those that
// are computed. Others are nil.
func (p *plan) operands(n *graph.Node) []*graph.Value {
	if passOps[n.Op] || integerOps[n.Op] {
		return []*graph.Value{n.In(0)}
	}
	ins := n.Ins()
	for i, v := range ins {
		if v.IsConst() {
			ins[i] = nil
		}
	}
	return ins
}

func (p *plan) enter(v *graph.Value) *group {
	if p.groups[v] == nil {
		p.groups[v] = &group{values: []*graph.Value{v}, seen: newHistogram(), lo: math.Inf(-1), hi: math.Inf(1)}
	}
	return p.groups[v]
}

// join makes one group of those of v and w.
func (p *plan) join(v, w *graph.Value) {
	a, b := p.enter(v), p.enter(w)
	if a == b {
		return
	}
	a.values = append(a.values, b.values...)
	a.seen.merge(b.seen)
	a.lo, a.hi = max(a.lo, b.lo), min(a.hi, b.hi)
	for _, x := range b.values {
		p.groups[x] = a
	}
}

// calibrate observes every group's values on the calibration data.
func (p *plan) calibrate() error {
	var values []*graph.Value
	for v := range p.groups {
		values = append(values, v)
	}
	slices.SortFunc(values, func(v, w *graph.Value) int { return strings.Compare(v.Name(), w.Name()) })
	channels := map[*graph.Value]int{} // axis of an input of a core
	if p.options.BiasCorrection {
		for _, n := range p.cores {
			v := p.inputs[n]
			channels[v], p.means[v] = inputChannel(n), &channelMeans{}
		}
	}
	return p.job.Observe(values, func(v *graph.Value, t *tensor.Tensor) {
		if t.DType() != tensor.Float32 {
			return
		}
		p.groups[v].seen.add(tensor.Data[float32](t))
		if m := p.means[v]; m != nil {
			m.add(t, (channels[v]+t.Rank())%t.Rank())
		}
	})
}

// choose joins the operands of concats with their results, and computes the
// parameters of every group.
func (p *plan) choose() {
	for n := range p.job.Model.Graph.Backward() {
		if p.nodes[n] && n.Op == "Concat" {
			p.joinConcat(n)
		}
	}
	for _, g := range p.groups {
		g.params = p.paramsOf(g)
	}
}

// joinConcat gives an operand that only n reads the scale of n's result, so
// that its elements are rounded once, unless that would undo an activation
// that the operand's range has taken up.
func (p *plan) joinConcat(n *graph.Node) {
	out := p.groups[p.result(n)]
	for _, v := range p.operands(n) {
		if v == nil || p.groups[v] == out {
			continue
		}
		if _, sole := v.SoleUse(); !sole {
			continue
		}
		g := p.groups[v]
		if len(g.values) == 1 && out.seen.min >= g.lo && out.seen.max <= g.hi {
			p.join(p.result(n), v)
		}
	}
}

// paramsOf returns the parameters of g by the method that the options name.
func (p *plan) paramsOf(g *group) params {
	lo, hi := g.seen.min, g.seen.max
	if g.seen.count == 0 {
		lo, hi = 0, 0
	} else if p.options.Method == "percentile" {
		lo, hi = g.seen.percentile(p.options.Percentile / 100)
	} else if p.options.Method == "mse" {
		lo, hi = g.seen.leastSquares(255)
	}
	return activationParams(max(lo, g.lo), min(hi, g.hi))
}
