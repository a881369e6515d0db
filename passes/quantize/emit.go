package quantize

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// emitter writes a plan into the graph.
type emitter struct {
	plan      *plan
	saturates bool // products of uint8 and int8 may saturate in pairs
	graph     *graph.Graph

	weights map[weightKey]*quantWeight
	dequant map[*graph.Value]*graph.Value // of a value that is quantized
	scalars map[params][2]*graph.Value    // scale and zero point
	made    map[*graph.Value]bool         // the results of every DequantizeLinear here
	// replaced are the float constants that nodes have stopped to read.
	replaced map[*graph.Value]bool
}

type weightKey struct {
	value *graph.Value
	axis  int
}

// quantWeight is a weight that has been quantized.
type quantWeight struct {
	scales []float32
	codes  *tensor.Tensor // int8
	value  *graph.Value   // dequantized
}

func (e *emitter) emit() {
	e.weights = map[weightKey]*quantWeight{}
	e.dequant = map[*graph.Value]*graph.Value{}
	e.scalars = map[params][2]*graph.Value{}
	e.made = map[*graph.Value]bool{}
	e.replaced = map[*graph.Value]bool{}
	var nodes []*graph.Node
	for n := range e.graph.Nodes() {
		if e.plan.nodes[n] {
			nodes = append(nodes, n)
		}
	}
	for _, n := range nodes {
		e.operands(n)
		if integerOps[n.Op] {
			e.weight(n)
		}
		if !e.plan.staysFloat(n) {
			e.result(n)
		}
	}
	e.dropFloats()
}

// dropFloats removes the float weights and biases that nothing reads any more.
func (e *emitter) dropFloats() {
	for _, v := range e.graph.Inits() {
		if e.replaced[v] && !v.Used() {
			e.graph.DropInit(v)
		}
	}
}

// replace makes v input i of n in place of a constant.
func (e *emitter) replace(n *graph.Node, i int, v *graph.Value) {
	if old := n.In(i); old != nil {
		e.replaced[old] = true
	}
	n.SetIn(i, v)
}

// operands makes n read its operands through the quantized form.
func (e *emitter) operands(n *graph.Node) {
	for i, v := range n.Ins() {
		switch {
		case v == nil || i > 0 && (passOps[n.Op] || integerOps[n.Op]):
		case v.IsConst():
			e.replace(n, i, e.constant(n, v))
		case e.made[v]:
		default:
			n.SetIn(i, e.quantized(v, n))
		}
	}
}

// quantized returns v, made by a float node or given by the caller, in its
// quantized form, which other readers of v do not see.
func (e *emitter) quantized(v *graph.Value, before *graph.Node) *graph.Value {
	if e.dequant[v] == nil {
		e.dequant[v] = e.pair(v, before)
	}
	return e.dequant[v]
}

// pair adds a QuantizeLinear of v and a DequantizeLinear before a node, or at
// the end.
func (e *emitter) pair(v *graph.Value, before *graph.Node) *graph.Value {
	s := e.scalar(v.Name(), e.plan.groups[v].params)
	q := e.add(before, "QuantizeLinear", v.Name()+"_quantized", v, s[0], s[1])
	d := e.add(before, "DequantizeLinear", v.Name()+"_dequantized", q, s[0], s[1])
	e.made[d] = true
	return d
}

// add adds a node before another, or at the end, and returns its result, which
// has the given name or one like it.
func (e *emitter) add(before *graph.Node, op, name string, in ...*graph.Value) *graph.Value {
	n := graph.NewNode("", op, in, 1)
	v := graph.NewBuilder(e.graph, before).Add(n).Out(0)
	e.graph.Rename(v, e.graph.Fresh(name))
	n.Name = v.Name()
	return v
}

// scalar returns the initializers of a scale and a zero point, named after the
// first value that has them.
func (e *emitter) scalar(name string, p params) [2]*graph.Value {
	s, ok := e.scalars[p]
	if !ok {
		s = [2]*graph.Value{
			e.graph.AddInit(name+"_scale", tensor.Scalar(p.scale)),
			e.graph.AddInit(name+"_zero_point", tensor.Scalar(p.zero)),
		}
		e.scalars[p] = s
	}
	return s
}

// result quantizes what n gives out and makes everyone read that. An
// activation that the range takes up goes.
func (e *emitter) result(n *graph.Node) {
	out := e.plan.result(n)
	g := e.plan.groups[out]
	if a := e.plan.absorbed[n]; a != nil {
		if lo, hi := g.params.bounds(); lo >= g.lo && hi <= g.hi*1.01 {
			e.absorb(n, a)
			out = n.Out(0)
			e.plan.groups[out] = g
		}
	}
	last := out.Producer()
	readers := out.Uses()
	d := e.pair(out, last.Next())
	e.dequant[out] = d
	for _, u := range readers {
		u.Node.SetIn(u.Index, d)
	}
	if out.IsOutput() {
		e.giveOut(out, d)
	}
}

// absorb removes the activation a after n.
func (e *emitter) absorb(n, a *graph.Node) {
	if !e.graph.Replace(a.Out(0), n.Out(0)) {
		panic("a computed value cannot take the place of its activation")
	}
	e.graph.Remove(a)
}

// giveOut makes d the output of the graph in place of v, under its name.
func (e *emitter) giveOut(v, d *graph.Value) {
	for i, o := range e.graph.Outputs() {
		if o != v {
			continue
		}
		name, t := v.Name(), v.Type
		e.graph.SetOutput(i, d)
		if v.IsOutput() {
			continue // given out twice, renamed with the last
		}
		e.graph.Rename(v, e.graph.Fresh(name+"_float"))
		v.Inferred = true
		e.graph.Rename(d, name)
		d.Type, d.Inferred = t, false
	}
}

// constant returns a constant operand in its quantized form.
func (e *emitter) constant(n *graph.Node, v *graph.Value) *graph.Value {
	if e.dequant[v] != nil {
		return e.dequant[v]
	}
	x := tensor.Float64s(v.Init.Tensor)
	lo, hi := extremes(tensor.Float32s(v.Init.Tensor))
	p := activationParams(lo, hi)
	q := make([]uint8, len(x))
	for i, y := range x {
		q[i] = p.quantize(y)
	}
	s := e.scalar(v.Name(), p)
	init := e.graph.AddInit(v.Name()+"_quantized", tensor.Of(v.Init.Tensor.Shape(), q))
	e.dequant[v] = e.add(n, "DequantizeLinear", v.Name()+"_dequantized", init, s[0], s[1])
	return e.dequant[v]
}

// weight quantizes the weight and the bias of n, whose input is quantized.
func (e *emitter) weight(n *graph.Node) {
	def := op.Find("", n.Op, n.Opset()).Quant
	axis := -1
	if e.plan.options.PerChannel {
		axis = def.Channel(&op.Call{Node: n, Version: n.Opset()})
	}
	x := e.inputScale(n)
	var bias []float64
	if def.Bias >= 0 && n.In(def.Bias) != nil {
		bias = tensor.Float64s(n.In(def.Bias).Init.Tensor)
	}
	w := e.quantWeight(n, n.In(def.Weight), axis, bias, x)
	if m := e.plan.means[e.plan.inputs[n]]; m != nil && def.Bias >= 0 {
		t := n.In(def.Weight).Init.Tensor
		more := biasCorrection(t, w.codes, weightChannel(n), w.scales, inputOf(n, t), m)
		bias = corrected(bias, more, w.scales, x)
	}
	if bias != nil {
		e.bias(n, def.Bias, bias, w.scales, x)
	}
	e.replace(n, def.Weight, w.value)
}

// inputScale returns the scale of n's first operand.
func (e *emitter) inputScale(n *graph.Node) float32 {
	s := n.In(0).Producer().In(1)
	return tensor.Data[float32](s.Init.Tensor)[0]
}

// quantWeight returns the quantized form of a weight, shared by all readers
// without a bias that would ask for other scales.
func (e *emitter) quantWeight(n *graph.Node, v *graph.Value, axis int, bias []float64, x float32) *quantWeight {
	key := weightKey{v, axis}
	if w := e.weights[key]; w != nil && bias == nil {
		return w
	}
	var floor []float64
	if bias != nil {
		floor = e.floor(v, axis, bias, x)
	}
	scales := weightScales(e.peaks(n, v.Init.Tensor, axis), floor)
	if w := e.weights[key]; w != nil && slices.Equal(w.scales, scales) {
		return w
	}
	w := &quantWeight{scales: scales, codes: quantizeWeight(v.Init.Tensor, axis, scales)}
	init := e.graph.AddInit(v.Name()+"_quantized", w.codes)
	w.value = e.dequantize(n, v.Name(), init, scales, tensor.New(tensor.Int8, tensor.Shape{len(scales)}), axis)
	e.weights[key] = w
	return w
}

// floor returns the least scales of a weight; one scale for all has to serve
// the largest bias.
func (e *emitter) floor(v *graph.Value, axis int, bias []float64, x float32) []float64 {
	floor := scaleFloor(bias, x)
	if _, n := channelOf(v.Init.Tensor.Shape(), axis); n == len(floor) {
		return floor
	}
	worst := 0.0
	for _, f := range floor {
		worst = max(worst, f)
	}
	_, n := channelOf(v.Init.Tensor.Shape(), axis)
	all := make([]float64, n)
	for i := range all {
		all[i] = worst
	}
	return all
}

// peaks returns what the scales of n's weight have to cover. Where products
// saturate in pairs, that is the sum of two weights that may meet.
func (e *emitter) peaks(n *graph.Node, w *tensor.Tensor, axis int) []float64 {
	p := peaks(w, axis)
	if !e.saturates || isDepthwise(n, w) {
		return p
	}
	for _, order := range pairings(n, w) {
		all := peaks(w, weightChannel(n))
		pairPeaks(all, w, order)
		if axis >= 0 {
			for c := range p {
				p[c] = max(p[c], all[c])
			}
			continue
		}
		p[0] = max(p[0], slices.Max(all))
	}
	return p
}

// dequantize adds a DequantizeLinear of an initializer before n. A list of one
// scale is written as a scalar, without an axis.
func (e *emitter) dequantize(n *graph.Node, name string, q *graph.Value, scales []float32, zero *tensor.Tensor, axis int) *graph.Value {
	scale := tensor.Vector(scales...)
	if axis < 0 {
		scale, zero = scale.Reshape(tensor.Shape{}), zero.Reshape(tensor.Shape{})
	}
	d := e.add(n, "DequantizeLinear", name+"_dequantized", q,
		e.graph.AddInit(name+"_scale", scale), e.graph.AddInit(name+"_zero_point", zero))
	if axis >= 0 {
		d.Producer().SetAttr(graph.IntAttr("axis", int64(axis)))
	}
	return d
}

// bias quantizes a bias with the scales of the products that it is added to.
func (e *emitter) bias(n *graph.Node, slot int, b []float64, weights []float32, x float32) {
	scales := make([]float32, len(weights))
	for i, w := range weights {
		scales[i] = x * w
	}
	name := n.In(1).Name() + "_bias"
	if v := n.In(slot); v != nil {
		name = v.Name()
	}
	axis := 0
	if len(scales) == 1 {
		axis = -1
	}
	init := e.graph.AddInit(name+"_quantized", biasParams(b, scales))
	e.replace(n, slot, e.dequantize(n, name, init, scales, tensor.New(tensor.Int32, tensor.Shape{len(scales)}), axis))
}
