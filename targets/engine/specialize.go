package engine

import (
	"slices"
	"sync"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Much of a model with symbolic dimensions computes shapes from shapes: Shape,
// Gather, Concat, arithmetic on the result. For feeds of one size all of that
// comes out the same every time. So a session notes at the first run with
// feeds of a size what such steps give, and leaves them out of the later
// ones.

// specializations are the programs for feeds of the last few sizes.
type specializations struct {
	any bool // the main program has steps that may be left out

	mu    sync.Mutex
	known map[string]*program
}

// maxSpecializations bounds the sizes that a session remembers.
const maxSpecializations = 16

// markFixed marks the steps of p that give the same results for all feeds of
// one size, and reports whether there are any.
func markFixed(p *program) bool {
	k := sizeKnowledge{sized: map[int]bool{}, fixed: map[int]bool{}}
	for s, v := range p.initial {
		k.sized[s], k.fixed[s] = v != nil, v != nil
	}
	for i, v := range p.graph.Inputs() {
		k.sized[p.inputs[i]] = v.Type != nil && v.Type.Kind == graph.KindTensor
	}
	found := false
	for i := range p.steps {
		st := &p.steps[i]
		st.fixed = k.learn(st)
		found = found || st.fixed
	}
	return found
}

// sizeKnowledge says of slots whether the shape, and whether the contents too,
// of what they hold depends on the sizes of the feeds alone.
type sizeKnowledge struct{ sized, fixed map[int]bool }

// learn reports whether the results of a step are fixed, and notes what is
// known of them.
func (k *sizeKnowledge) learn(st *step) bool {
	pure := len(st.subs) == 0 && (st.info.machine != nil || !st.info.def.Effects)
	sized, fixed := pure && !dataShaped(st.node), pure
	for i, s := range st.in {
		if s < 0 {
			continue
		}
		sized = sized && k.sized[s] && (k.fixed[s] || !shapes(st.node, i))
		fixed = fixed && k.fixed[s]
	}
	if st.node.Is("Shape", "Size") && k.sized[st.in[0]] {
		fixed = true
	}
	for _, s := range st.out {
		if s >= 0 {
			k.sized[s], k.fixed[s] = sized || fixed, fixed
		}
	}
	return fixed
}

// dataShaped reports whether the shape of n's results depends on more than
// the shapes of its operands and the contents of those that [shapes] names.
// Operators that are not known to be otherwise count as such.
func dataShaped(n *graph.Node) bool {
	if n.Domain == machineDomain {
		return false
	}
	return n.Domain != "" || !slices.Contains(shapedByShape, n.Op)
}

// shapes reports whether the contents of input i of n bear on the shapes of
// its results.
func shapes(n *graph.Node, i int) bool {
	return n.Domain == "" && i > 0 && slices.Contains(shapedByOperand, n.Op) || n.Is("ConstantOfShape", "Range")
}

// shapedByOperand are the operators of which operands after the first state
// the shape of the result.
var shapedByOperand = []string{
	"CenterCropPad", "Expand", "OneHot", "Pad", "Resize", "Reshape", "Slice", "Split", "Squeeze", "Tile", "TopK",
	"Unsqueeze", "Upsample", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceL1", "ReduceL2",
	"ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
}

// shapedByShape are the operators whose results' shapes depend on the
// operands' shapes, and on the contents of those that shapedByOperand says.
var shapedByShape = append([]string{
	"Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool",
	"BatchNormalization", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil",
	"Celu", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "ConvInteger", "ConvTranspose", "Cos", "Cosh",
	"CumSum", "DepthToSpace", "DequantizeLinear", "Div", "DynamicQuantizeLinear", "Einsum", "Elu", "Equal", "Erf", "Exp",
	"EyeLike", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool",
	"GlobalMaxPool", "Greater", "GreaterOrEqual", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity",
	"InstanceNormalization", "IsInf", "IsNaN", "LRN", "LSTM", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual",
	"Log", "LogSoftmax", "MatMul", "MatMulInteger", "Max", "MaxPool", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not",
	"Or", "PRelu", "Pow", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "RNN", "Range", "Reciprocal", "Relu",
	"Round", "ScatterElements", "ScatterND", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Softmax",
	"Softplus", "Softsign", "SpaceToDepth", "Sqrt", "Sub", "Sum", "Tan", "Tanh", "Transpose", "Trilu", "Where", "Xor",
}, shapedByOperand...)

// programFor returns the program for feeds of the given sizes, nil if there
// is none yet.
func (s *specializations) programFor(key string) *program {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[key]
}

// add notes the program for feeds of the given sizes, made of p and what a
// run's slots held after the fixed steps.
func (s *specializations) add(key string, p *program, held []tensor.Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxSpecializations {
		s.known = map[string]*program{}
	}
	s.known[key] = p.withoutFixed(held)
}

// withoutFixed returns p without its fixed steps, whose results are in held.
func (p *program) withoutFixed(held []tensor.Value) *program {
	q := *p
	q.steps = nil
	q.initial = slices.Clone(p.initial)
	for i := range p.steps {
		if !p.steps[i].fixed {
			q.steps = append(q.steps, p.steps[i])
			continue
		}
		for _, s := range p.steps[i].out {
			if s >= 0 {
				q.initial[s] = held[s]
			}
		}
	}
	for i := range q.steps {
		st := &q.steps[i]
		st.drop = slices.DeleteFunc(slices.Clone(st.drop), func(s int) bool { return q.initial[s] != nil })
	}
	return &q
}
