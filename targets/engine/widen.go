package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// widenHalves has operators over 16-bit floats compute in float32, for which
// there are kernels. Constants are widened now:
//
//	c = Conv(x, w)  r = Relu(c)             over float16
//
// becomes
//
//	v = Cast<to = 1>(x)  d = Conv(v, w32)  s = Relu(d)  r = Cast<to = 10>(s)
//
// Between operators that are widened values are not rounded to 16 bits, not
// even where the model casts to them: that is how a model was stored, and more
// exact. A cast to 16 bits that is cast back at once stays, since rounding is
// all that it does.
func (o *optimizer) widenHalves() {
	w := widening{optimizer: o, wide: map[*graph.Value]*graph.Value{}, rounded: map[*graph.Value]bool{}}
	for n := range o.graph.Nodes() {
		switch {
		case n.Is("Cast"):
			w.cast(n)
		case n.Domain == "" && slices.Contains(arithmetic, n.Op), n.Domain == "com.microsoft" && slices.Contains(fusedArithmetic, n.Op):
			w.node(n)
		case n.Domain == "" && slices.Contains(moving, n.Op) && slices.ContainsFunc(n.Ins(), w.has):
			w.node(n)
		}
	}
}

// arithmetic and fusedArithmetic are operators that compute with 16-bit floats
// as with float32, and moving are those that only move elements: they are left
// to fewer bytes unless an operand is wide already.
var (
	arithmetic = []string{
		"Abs", "Add", "AveragePool", "BatchNormalization", "Ceil", "Celu", "Clip", "Conv", "ConvTranspose", "Cos", "CumSum",
		"Div", "Einsum", "Elu", "Equal", "Erf", "Exp", "Floor", "GRU", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
		"Greater", "GreaterOrEqual", "GroupNormalization", "HardSigmoid", "HardSwish", "InstanceNormalization",
		"LRN", "LSTM", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "LpNormalization", "MatMul",
		"Max", "MaxPool", "Mean", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "RMSNormalization", "RNN", "Reciprocal",
		"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
		"Relu", "Resize", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus", "Softsign", "Sqrt", "Sub", "Sum",
		"Swish", "Tanh", "ThresholdedRelu", "Upsample",
	}
	fusedArithmetic = []string{
		"BiasGelu", "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul", "Gelu", "QuickGelu", "SimplifiedLayerNormalization",
		"SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
	}
	moving = []string{
		"Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "SpaceToDepth",
		"Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
	}
)

// widening knows the float32 values that 16-bit ones of the graph are made
// from.
type widening struct {
	*optimizer
	wide    map[*graph.Value]*graph.Value
	rounded map[*graph.Value]bool // by casts of the model
}

func (w *widening) has(v *graph.Value) bool { return w.wide[v] != nil }

func isHalf(v *graph.Value) bool {
	return v != nil && v.Type != nil && v.Type.Kind == graph.KindTensor && (v.Type.Elem == tensor.Float16 || v.Type.Elem == tensor.BFloat16)
}

// node widens the 16-bit operands and results of n.
func (w *widening) node(n *graph.Node) {
	values := append(n.Ins(), n.Outs()...)
	if !slices.ContainsFunc(values, isHalf) || slices.ContainsFunc(values, func(v *graph.Value) bool { return v != nil && v.Type == nil }) || w.mixed(n) {
		return
	}
	for i, v := range n.Ins() {
		if isHalf(v) {
			n.SetIn(i, w.widened(n, v))
		}
	}
	for _, v := range n.Outs() {
		if isHalf(v) {
			w.narrowed(n, v)
		}
	}
}

// mixed reports whether operands of n that its schema wants of one type are of
// several.
func (w *widening) mixed(n *graph.Node) bool {
	info := w.src.info[n]
	if info.def == nil {
		return true
	}
	schema := info.def.Schema(info.version)
	if schema == nil || len(schema.In) == 0 {
		return true
	}
	types := map[string]tensor.DType{}
	for i, v := range n.Ins() {
		formal := schema.In[min(i, len(schema.In)-1)]
		if v == nil || formal.Var == "" || formal.Mixed {
			continue
		}
		if have, ok := types[formal.Var]; ok && have != v.Type.Elem {
			return true
		}
		types[formal.Var] = v.Type.Elem
	}
	return false
}

// cast has a cast from 16 bits read the float32 value that they are made from,
// and knows that of a cast to them.
func (w *widening) cast(n *graph.Node) {
	x := n.In(0)
	switch {
	case isHalf(x) && !isHalf(n.Out(0)) && w.has(x) && !w.rounded[x]:
		if w.isFloat32(n.Out(0)) && w.graph.Replace(n.Out(0), w.wide[x]) {
			w.graph.Remove(n)
			return
		}
		n.SetIn(0, w.wide[x])
	case w.isFloat32(x) && isHalf(n.Out(0)) && !w.has(n.Out(0)):
		w.wide[n.Out(0)], w.rounded[n.Out(0)] = x, true
	}
}

// widened returns v, 16-bit floats that n reads, in float32.
func (w *widening) widened(n *graph.Node, v *graph.Value) *graph.Value {
	if wide := w.wide[v]; wide != nil {
		return wide
	}
	if t := w.constant(v); t != nil {
		w.wide[v] = w.graph.AddInit(v.Name()+"_wide", w.wideTensor(t))
		return w.wide[v]
	}
	c := w.caster(n, v, tensor.Float32)
	w.graph.InsertBefore(n, c)
	w.wide[v] = c.Out(0)
	return w.wide[v]
}

// narrowed has n, whose result v is of 16 bits, give it in float32; others read
// a cast of it.
func (w *widening) narrowed(n *graph.Node, v *graph.Value) {
	c := w.caster(n, v, v.Type.Elem)
	w.graph.InsertAfter(n, c)
	w.graph.Replace(v, c.Out(0))
	c.SetIn(0, v)
	v.Type, v.Inferred = retyped(v, tensor.Float32), true
	w.wide[c.Out(0)] = v
}

// caster returns a cast of v to the given type, which belongs to n.
func (w *widening) caster(n *graph.Node, v *graph.Value, to tensor.DType) *graph.Node {
	c := graph.NewNode("", "Cast", []*graph.Value{v}, 1, graph.IntAttr("to", int64(to)))
	c.Name = n.Name
	w.src.info[c] = nodeInfo{origin: w.src.info[n].origin, def: op.Find("", "Cast", spellVersion), version: spellVersion}
	c.Out(0).Type, c.Out(0).Inferred = retyped(v, to), true
	return c
}

// wideTensor returns the elements of t in float32.
func (w *widening) wideTensor(t *tensor.Tensor) *tensor.Tensor {
	wide := tensor.New(tensor.Float32, t.Shape())
	if t.DType() == tensor.BFloat16 {
		w.kernels.BF16ToF32(tensor.Data[float32](wide), tensor.Data[uint16](t))
	} else {
		w.kernels.F16ToF32(tensor.Data[float32](wide), tensor.Data[uint16](t))
	}
	t.Evict()
	if w.narrow == nil {
		w.narrow = map[*tensor.Tensor]*tensor.Tensor{}
	}
	w.narrow[wide] = t
	return wide
}
