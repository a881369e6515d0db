package engine

import (
	"slices"
	"sync"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Much of a model with symbolic dimensions computes shapes from shapes: Shape,
// Gather, Concat, arithmetic on the result. For feeds of one size all of that
// comes out the same every time. So a session notes at the first run with
// feeds of a size what such steps give, and leaves them out of the later
// ones.

// specializations are the programs for feeds of the last few sizes.
type specializations struct {
	any bool // the main program or a body in it has steps that may be left out

	mu    sync.Mutex
	known map[string]*body
}

// maxSpecializations bounds the sizes that a session remembers.
const maxSpecializations = 16

// forFeeds returns a copy of the program of a main graph in which the steps
// that give the same results for all feeds of one size are marked.
func (p *program) forFeeds() *program {
	sized := make([]bool, len(p.initial))
	for i, v := range p.graph.Inputs() {
		sized[p.inputs[i]] = v.Type != nil && v.Type.Kind == graph.KindTensor
	}
	return p.marked(sized)
}

// anyOpen reports whether p or a body in it has steps that are marked.
func (p *program) anyOpen() bool {
	return p.open || slices.ContainsFunc(p.steps, func(st step) bool {
		return slices.ContainsFunc(st.bodies, func(b *body) bool { return b.now.Load().anyOpen() })
	})
}

// marked returns a copy of p, with bodies of its own, in which the steps are
// marked that give the same results every time. sized says of the slots that
// are filled before the first step whether their sizes are the same every
// time.
func (p *program) marked(sized []bool) *program {
	q := *p
	q.sized, q.open = sized, false
	q.steps = slices.Clone(p.steps)
	k := newKnowledge(&q)
	for i := range q.steps {
		st := &q.steps[i]
		st.bodies = slices.Clone(st.bodies)
		for j, b := range st.bodies {
			st.bodies[j] = newBody(b.now.Load().within(&q, k))
		}
		st.fixed = k.learn(st)
		q.open = q.open || st.fixed
	}
	return &q
}

// within returns p, a body in q, as marked by what k knows of the slots of q.
// What q's slots hold from the beginning becomes a constant of p.
func (p *program) within(q *program, k *sizeKnowledge) *program {
	inner := *p
	inner.initial, inner.captures = slices.Clone(p.initial), nil
	sized := make([]bool, len(p.initial))
	inner.fixed = make([]bool, len(p.initial))
	for _, c := range p.captures {
		if v := q.initial[c.outer]; v != nil {
			inner.initial[c.inner] = v
			continue
		}
		inner.captures = append(inner.captures, c)
		sized[c.inner], inner.fixed[c.inner] = k.sized[c.outer], k.fixed[c.outer]
	}
	return inner.marked(sized)
}

// sizeKnowledge says of slots whether the shape, and whether the contents too,
// of what they hold is the same every time.
type sizeKnowledge struct{ sized, fixed []bool }

// newKnowledge is what is known of p before its first step.
func newKnowledge(p *program) *sizeKnowledge {
	k := &sizeKnowledge{slices.Clone(p.sized), make([]bool, len(p.initial))}
	copy(k.fixed, p.fixed)
	for s, v := range p.initial {
		if v != nil {
			k.sized[s], k.fixed[s] = true, true
		}
	}
	for _, s := range p.inputs {
		k.sized[s], k.fixed[s] = p.sized[s], false
	}
	return k
}

// learn reports whether the results of a step are fixed, and notes what is
// known of them.
func (k *sizeKnowledge) learn(st *step) bool {
	pure := len(st.bodies) == 0 && !joins(st.info.machine) && (st.info.machine != nil || !st.info.def.Effects)
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

// programFor returns what runs feeds of the given sizes, beginning with main.
func (s *specializations) programFor(key string, main *program) *body {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.known[key]
	if b == nil {
		if s.known == nil || len(s.known) >= maxSpecializations {
			s.known = map[string]*body{}
		}
		b = newBody(main.forFeeds())
		s.known[key] = b
	}
	return b
}

// settled returns p without its fixed steps, whose results are in held, and
// with the branches that conditions among these choose in the place of their
// If steps. What that lets be known marks further steps.
func (p *program) settled(held []tensor.Value) *program {
	q := *p
	q.steps = nil
	q.initial, q.sized, q.fixed, q.names = slices.Clone(p.initial), slices.Clone(p.sized), slices.Clone(p.fixed), slices.Clone(p.names)
	for i := range p.steps {
		if !p.steps[i].fixed {
			q.add(p.steps[i])
			continue
		}
		for _, s := range p.steps[i].out {
			if s >= 0 {
				q.initial[s] = held[s]
			}
		}
	}
	m := q.marked(q.sized)
	m.liveness()
	return m
}

// add appends a step, or the steps of the branch that it is known to choose.
func (p *program) add(st step) {
	if st.node.Is("If") && st.in[0] >= 0 {
		if g := chosenBranch(st.node, p.initial[st.in[0]]); g != nil {
			if b := st.body(g); b != nil {
				p.splice(&st, b.now.Load())
				return
			}
		}
	}
	p.steps = append(p.steps, st)
}

// splice appends the steps of a branch in the place of the If step st.
func (p *program) splice(st *step, branch *program) {
	to := make([]int, len(branch.initial)) // slots of branch -> of p
	for s := range to {
		to[s] = -1
	}
	for _, c := range branch.captures {
		to[c.inner] = c.outer
	}
	var passed [][2]int // slots of branch and p: results that the branch does not make itself
	for i, s := range branch.outputs {
		switch {
		case i >= len(st.out) || st.out[i] < 0:
		case to[s] < 0 && branch.initial[s] == nil:
			to[s] = st.out[i]
		default:
			passed = append(passed, [2]int{s, st.out[i]})
		}
	}
	for s := range to {
		if to[s] < 0 {
			to[s] = p.newSlot(branch.names[s], branch.initial[s])
		}
	}
	for _, inner := range branch.steps {
		p.add(inner.over(to))
	}
	for _, s := range passed {
		from := to[s[0]]
		if v := p.initial[from]; v != nil {
			p.initial[s[1]] = v
			continue
		}
		p.steps = append(p.steps, step{
			node: passNode, info: nodeInfo{origin: st.info.origin, machine: pass{}}, eval: pass{}.eval,
			in: []int{from}, out: []int{s[1]},
		})
	}
}

func (p *program) newSlot(name string, v tensor.Value) int {
	p.initial = append(p.initial, v)
	p.names = append(p.names, name)
	p.sized = append(p.sized, false)
	return len(p.initial) - 1
}

// over returns the step for slots that are numbered otherwise.
func (st step) over(to []int) step {
	renumber := func(slots []int) []int {
		out := slices.Clone(slots)
		for i, s := range out {
			if s >= 0 {
				out[i] = to[s]
			}
		}
		return out
	}
	st.in, st.out, st.fixed = renumber(st.in), renumber(st.out), false
	st.bodies = slices.Clone(st.bodies)
	for i, b := range st.bodies {
		inner := *b.now.Load()
		inner.captures = slices.Clone(inner.captures)
		for j, c := range inner.captures {
			inner.captures[j].outer = to[c.outer]
		}
		st.bodies[i] = newBody(&inner)
	}
	return st
}

// pass hands its operand on.
type pass struct{}

var passNode = graph.NewNode(machineDomain, pass{}.name(), nil, 0)

func (pass) name() string { return "Pass" }

func (pass) eval(e *op.Eval) error {
	e.SetOut(0, e.In[0])
	return nil
}
