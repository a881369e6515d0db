package simplify

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// SinkTransposes moves transposes behind operators that do not mind the order
// of axes.
var SinkTransposes = passes.Define(passes.Pass{
	Name: "sink-transposes",
	Doc: `move transposes behind operators that do not mind the order of axes

	t = Transpose <perm = p> (x)      a = Relu (x)
	y = Relu (t)                  =>  y = Transpose <perm = p> (a)

They sink through elementwise operators, whose other operands are transposed
in the same way or constant, through Concat, Unsqueeze and reductions, and meet
others that undo them, or a convolution whose weights take the operator up. A
transpose that several nodes read stays.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if n.Domain == "" && n.NumOut() == 1 && mayHoldConsts(n.Graph()) && sink(n) {
			j.Changed(1)
		}
	})
	return nil
})

// elementwise are the operators that work element by element, on operands
// that broadcast.
var elementwise = func() map[string]bool {
	m := map[string]bool{}
	for _, op := range []string{
		"Abs", "Cast", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
		"LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus",
		"Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
		"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean",
	} {
		m[op] = true
	}
	return m
}()

// sink moves the transposes of n's operands behind n.
func sink(n *graph.Node) bool {
	perm := sunkPerm(n)
	if perm == nil {
		return false
	}
	switch {
	case elementwise[n.Op]:
		return sinkElementwise(n, perm)
	case n.Op == "Concat":
		return sinkConcat(n, perm)
	case n.Op == "Unsqueeze":
		return sinkUnsqueeze(n, perm)
	case reduction(n.Op):
		return sinkReduction(n, perm)
	}
	return false
}

// sunkPerm returns the order of axes of n's transposed operands, if there are
// any, all have the same, and nothing else reads them.
func sunkPerm(n *graph.Node) []int64 {
	var perm []int64
	for _, v := range n.Ins() {
		t := producer(n, v, "Transpose")
		if t == nil {
			continue
		}
		p := permOf(t)
		if p == nil || perm != nil && !slices.Equal(p, perm) || !readBy(v, n) {
			return nil
		}
		perm = p
	}
	return perm
}

// readBy reports whether n is the only node that reads v.
func readBy(v *graph.Value, n *graph.Node) bool {
	for _, u := range v.Uses() {
		if u.Node != n {
			return false
		}
	}
	return !v.IsOutput()
}

func sinkElementwise(n *graph.Node, perm []int64) bool {
	if n.Opset() < 7 {
		return false
	}
	consts := map[int]*tensor.Tensor{}
	for i, v := range n.Ins() {
		switch {
		case v == nil || producer(n, v, "Transpose") != nil:
		case n.Op == "Clip" && i > 0:
		case constant(v) != nil && constant(v).Rank() <= len(perm) && constant(v).DType() != tensor.String:
			if constant(v).Len() > 1 {
				consts[i] = untranspose(constant(v), perm)
			} else if constant(v).Rank() > 0 {
				consts[i] = constant(v).Reshape(tensor.Shape{})
			}
		default:
			return false
		}
	}
	for i, v := range n.Ins() {
		if t := consts[i]; t != nil {
			n.SetIn(i, n.Graph().AddInit(v.Name(), t))
		}
	}
	liftOperands(n)
	transposeResult(n, perm)
	return true
}

// untranspose returns a constant that broadcasts with x as t does with x
// transposed by perm.
func untranspose(t *tensor.Tensor, perm []int64) *tensor.Tensor {
	full := make(tensor.Shape, len(perm))
	for i := range full {
		full[i] = 1
	}
	copy(full[len(perm)-t.Rank():], t.Shape())
	shape := make(tensor.Shape, len(perm))
	steps := make([]int, len(perm))
	from := full.Strides()
	for i, p := range perm {
		shape[p], steps[p] = full[i], from[i]
	}
	codes := tensor.New(t.DType(), shape)
	size := t.DType().Bits() / 8
	if size == 0 {
		panic("a constant of an elementwise operator is packed")
	}
	index := make([]int, len(shape))
	for i := range t.Len() {
		at := 0
		for a, x := range index {
			at += x * steps[a]
		}
		copy(codes.Bytes()[i*size:(i+1)*size], t.Bytes()[at*size:])
		for a := len(index) - 1; a >= 0; a-- {
			if index[a]++; index[a] < shape[a] {
				break
			}
			index[a] = 0
		}
	}
	return codes
}

// liftOperands makes n read what its transposed operands read.
func liftOperands(n *graph.Node) {
	for i, v := range n.Ins() {
		if t := producer(n, v, "Transpose"); t != nil {
			n.SetIn(i, t.In(0))
		}
	}
}

// transposeResult puts a Transpose after n that gives out what n did before.
func transposeResult(n *graph.Node, perm []int64) {
	g := n.Graph()
	old := n.Out(0)
	d := old.Type
	t := graph.NewNode("", "Transpose", []*graph.Value{nil}, 1, graph.IntsAttr("perm", perm...))
	g.InsertAfter(n, t)
	name := old.Name()
	if !g.Replace(old, t.Out(0)) {
		panic("a new node's result could not take the place of an old one's")
	}
	if g.Value(name) == old {
		g.Rename(old, g.Fresh(name+"_sunk"))
		g.Rename(t.Out(0), name)
	}
	t.SetIn(0, old)
	t.Out(0).Type, t.Out(0).Inferred = d, t.Out(0).Inferred || !t.Out(0).IsOutput()
	old.Type, old.Inferred = beforePerm(d, perm), true
}

// beforePerm returns the type of what a Transpose turns into type t.
func beforePerm(t *graph.Type, perm []int64) *graph.Type {
	if t == nil || t.Kind != graph.KindTensor || len(t.Shape) != len(perm) {
		return nil
	}
	d := make(graph.Dims, len(perm))
	for i, p := range perm {
		d[p] = t.Shape[i]
	}
	return graph.TensorOf(t.Elem, d)
}

func sinkConcat(n *graph.Node, perm []int64) bool {
	for _, v := range n.Ins() {
		if producer(n, v, "Transpose") == nil {
			return false
		}
	}
	axis, err := tensor.Axis(int(n.Int("axis", 1)), len(perm))
	if err != nil {
		return false
	}
	n.SetAttr(graph.IntAttr("axis", perm[axis]))
	liftOperands(n)
	transposeResult(n, perm)
	return true
}

// sinkUnsqueeze keeps the new axes where they are: the others are put in order
// around them.
func sinkUnsqueeze(n *graph.Node, perm []int64) bool {
	axes, given, ok := listOf(n, 13, "axes", 1)
	rank := len(perm) + len(axes)
	if !given || !ok || n.In(0).Producer() == nil || !n.In(0).Producer().Is("Transpose") {
		return false
	}
	isNew := make([]bool, rank)
	for _, a := range axes {
		x, err := tensor.Axis(int(a), rank)
		if err != nil {
			return false
		}
		isNew[x] = true
	}
	var kept []int64 // places of the old axes
	for i, is := range isNew {
		if !is {
			kept = append(kept, int64(i))
		}
	}
	sunk := make([]int64, rank)
	old := 0
	for i := range sunk {
		if isNew[i] {
			sunk[i] = int64(i)
			continue
		}
		sunk[i] = kept[perm[old]]
		old++
	}
	liftOperands(n)
	transposeResult(n, sunk)
	return true
}

// reduction reports whether op reduces over the axes that it is given.
func reduction(op string) bool {
	switch op {
	case "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
		"ReduceProd", "ReduceSum", "ReduceSumSquare":
		return true
	}
	return false
}

// axesSince returns the version since which a reduction takes its axes as an
// input.
func axesSince(op string) int64 {
	if op == "ReduceSum" {
		return 13
	}
	return 18
}

func sinkReduction(n *graph.Node, perm []int64) bool {
	since := axesSince(n.Op)
	axes, given, ok := listOf(n, since, "axes", 1)
	if !ok || !given || len(axes) == 0 || producer(n, n.In(0), "Transpose") == nil {
		return false
	}
	reduced := make([]bool, len(perm))
	mapped := make([]int64, len(axes))
	for i, a := range axes {
		x, err := tensor.Axis(int(a), len(perm))
		if err != nil {
			return false
		}
		reduced[x], mapped[i] = true, perm[x]
	}
	slices.Sort(mapped)
	setList(n, since, "axes", 1, mapped)
	liftOperands(n)
	if n.Int("keepdims", 1) == 0 {
		perm = withoutAxes(perm, reduced)
	}
	if !slices.IsSorted(perm) {
		transposeResult(n, perm)
	}
	return true
}

// withoutAxes returns the order in which the axes that are not reduced come.
func withoutAxes(perm []int64, reduced []bool) []int64 {
	var rest []int64
	for i, p := range perm {
		if !reduced[i] {
			rest = append(rest, p)
		}
	}
	rank := slices.Clone(rest)
	slices.Sort(rank)
	for i, p := range rest {
		rest[i] = int64(slices.Index(rank, p))
	}
	return rest
}
