package simplify

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// DropNoop removes nodes that give out what they get.
var DropNoop = passes.Define(passes.Pass{
	Name: "drop-noop",
	Doc: `remove nodes that give out what they get

A cast to the type a value has, a reshape or expand to its shape, a transpose
that keeps the order, a slice of all, a pad by nothing, a concat or split of
one, a resize by one, a pool of one element, arithmetic with a neutral
constant, and the like.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if n.Domain != "" || n.Out(0) == nil || usedBeyondFirst(n) {
			return
		}
		rule := noops[n.Op]
		if rule == nil {
			return
		}
		v := rule(n)
		switch {
		case v == nil:
		case bypass(n, v):
			j.Changed(1)
		default:
			j.Skip(n, "%q and %q both keep their names", v.Name(), n.Out(0).Name())
		}
	})
	return nil
})

// noops says for each operator which input a node gives out unchanged, nil if
// that is not known.
var noops = map[string]func(n *graph.Node) *graph.Value{
	"Cast":               noopCast,
	"CastLike":           noopCastLike,
	"Reshape":            noopShaper,
	"Flatten":            noopShaper,
	"Expand":             noopShaper,
	"Squeeze":            noopShaper,
	"Unsqueeze":          noopUnsqueeze,
	"Tile":               noopTile,
	"Transpose":          noopTranspose,
	"Slice":              noopSlice,
	"Pad":                noopPad,
	"Concat":             noopSingle,
	"Sum":                noopSingle,
	"Max":                noopSingle,
	"Min":                noopSingle,
	"Mean":               noopSingle,
	"Split":              noopSplit,
	"Resize":             noopResize,
	"Upsample":           noopResize,
	"MaxPool":            noopPool,
	"AveragePool":        noopPool,
	"LpPool":             noopPool,
	"Add":                neutral(0, true),
	"Sub":                neutral(0, false),
	"Mul":                neutral(1, true),
	"Div":                neutral(1, false),
	"Pow":                neutral(1, false),
	"Or":                 neutralBool(false),
	"Xor":                neutralBool(false),
	"And":                neutralBool(true),
	"Relu":               noopRelu,
	"Abs":                noopRelu,
	"Where":              noopWhere,
	"Ceil":               noopRound,
	"Floor":              noopRound,
	"Round":              noopRound,
	"BatchNormalization": noopBN,
	"ReduceMean":         noopReduce,
	"ReduceSum":          noopReduce,
	"ReduceMax":          noopReduce,
	"ReduceMin":          noopReduce,
	"ReduceProd":         noopReduce,
}

func noopCast(n *graph.Node) *graph.Value {
	if d := elem(n.In(0)); d.Valid() && int64(d) == n.Int("to", 0) {
		return n.In(0)
	}
	return nil
}

func noopCastLike(n *graph.Node) *graph.Value {
	if d := elem(n.In(0)); d.Valid() && d == elem(n.In(1)) {
		return n.In(0)
	}
	return nil
}

// noopShaper serves operators that keep elements and their order: equal
// shapes say it all. Two unknown dimensions are never equal.
func noopShaper(n *graph.Node) *graph.Value {
	if sameDims(dims(n.In(0)), dims(n.Out(0))) {
		return n.In(0)
	}
	if n.Is("Reshape") && keepsAll(n) {
		return n.In(0)
	}
	return nil
}

// keepsAll reports whether a Reshape copies every dimension of its input, one
// of them perhaps by way of -1.
func keepsAll(n *graph.Node) bool {
	in := dims(n.In(0))
	target, given, ok := listOf(n, 5, "shape", 1)
	if !given || !ok || in == nil || len(target) != len(in) || n.Int("allowzero", 0) != 0 {
		return false
	}
	inferred := 0
	for i, t := range target {
		switch {
		case t == -1:
			inferred++
		case t != 0 && !(in[i].IsKnown() && int64(in[i].Size) == t):
			return false
		}
	}
	return inferred <= 1
}

func noopUnsqueeze(n *graph.Node) *graph.Value {
	if axes, given, ok := listOf(n, 13, "axes", 1); given && ok && len(axes) == 0 {
		return n.In(0)
	}
	return nil
}

func noopTile(n *graph.Node) *graph.Value {
	if n.Opset() < 6 {
		return nil
	}
	if repeats, ok := constInts(n.In(1)); ok && all(repeats, 1) {
		return n.In(0)
	}
	return nil
}

func all(list []int64, want int64) bool {
	for _, x := range list {
		if x != want {
			return false
		}
	}
	return true
}

func noopTranspose(n *graph.Node) *graph.Value {
	perm := n.Ints("perm")
	if perm == nil {
		if d := dims(n.In(0)); d != nil && len(d) <= 1 {
			return n.In(0)
		}
		return nil
	}
	for i, p := range perm {
		if int64(i) != p {
			return nil
		}
	}
	return n.In(0)
}

// noopSlice knows a slice of all by its shape, if it goes forward.
func noopSlice(n *graph.Node) *graph.Value {
	s, ok := sliceOf(n)
	if !ok {
		return nil
	}
	in := dims(n.In(0))
	for i, axis := range s.axes {
		switch {
		case s.steps[i] != 1:
			return nil
		case s.starts[i] == 0 && s.ends[i] >= math.MaxInt32:
		case in == nil || !coversAll(in, int(axis), s.starts[i], s.ends[i]):
			return nil
		}
	}
	return n.In(0)
}

func coversAll(in graph.Dims, axis int, start, end int64) bool {
	axis, err := tensor.Axis(axis, len(in))
	if err != nil || !in[axis].IsKnown() {
		return false
	}
	size := int64(in[axis].Size)
	return (start == 0 || start <= -size) && end >= size
}

func noopPad(n *graph.Node) *graph.Value {
	if n.Opset() < 2 {
		return nil
	}
	if pads, given, ok := listOf(n, 11, "pads", 1); given && ok && all(pads, 0) {
		return n.In(0)
	}
	return nil
}

func noopSingle(n *graph.Node) *graph.Value {
	if n.NumIn() == 1 {
		return n.In(0)
	}
	return nil
}

func noopSplit(n *graph.Node) *graph.Value {
	if n.NumOut() == 1 && sameDims(dims(n.In(0)), dims(n.Out(0))) {
		return n.In(0)
	}
	return nil
}

func noopResize(n *graph.Node) *graph.Value {
	if n.Str("coordinate_transformation_mode", "") == "tf_crop_and_resize" {
		return nil
	}
	in, out := dims(n.In(0)), dims(n.Out(0))
	if _, ok := in.Static(); !ok || !sameDims(in, out) {
		return nil
	}
	for _, slot := range []int{1, 2} { // scales near one can keep a shape and still move elements
		if t := constant(n.In(slot)); t != nil && t.DType().IsFloat() && t.Len() > 0 {
			if x, ok := uniform(n.In(slot)); !ok || x != 1 {
				return nil
			}
		} else if n.In(slot) != nil && t == nil {
			return nil
		}
	}
	return n.In(0)
}

func noopPool(n *graph.Node) *graph.Value {
	if n.Attr("kernel_shape") != nil && all(n.Ints("kernel_shape"), 1) &&
		all(n.Ints("strides"), 1) && all(n.Ints("pads"), 0) && n.Op != "LpPool" {
		return n.In(0)
	}
	return nil
}

// neutral returns the rule of an operator for which x op c = x. The constant
// must not broadcast x to another shape.
func neutral(c float64, commutes bool) func(*graph.Node) *graph.Value {
	return func(n *graph.Node) *graph.Value {
		oneWay := !commutes || n.Opset() < 7 // the old form broadcasts its second operand only
		for slot := range 2 {
			if slot == 0 && oneWay {
				continue
			}
			if x, ok := uniform(n.In(slot)); ok && x == c && keepsShape(n, slot) {
				return n.In(1 - slot)
			}
		}
		return nil
	}
}

func neutralBool(c bool) func(*graph.Node) *graph.Value {
	return func(n *graph.Node) *graph.Value {
		for slot := range 2 {
			t := constant(n.In(slot))
			if t == nil || t.DType() != tensor.Bool || t.Len() == 0 {
				continue
			}
			same := true
			for _, b := range t.Bytes() {
				same = same && (b != 0) == c
			}
			if same && keepsShape(n, slot) {
				return n.In(1 - slot)
			}
		}
		return nil
	}
}

// keepsShape reports whether the constant operand in the given slot of a
// binary operator leaves shape and type of the other as they are.
func keepsShape(n *graph.Node, slot int) bool {
	c, x := n.In(slot), n.In(1-slot)
	if elem(x) == tensor.Undefined || elem(x) != elem(n.Out(0)) && elem(n.Out(0)) != tensor.Undefined {
		return false
	}
	return broadcastsInto(constant(c).Shape(), dims(x))
}

// broadcastsInto reports whether a constant of shape s, broadcast with a
// value of shape d, gives the shape d.
func broadcastsInto(s tensor.Shape, d graph.Dims) bool {
	if s.Len() == 1 && d != nil && len(s) <= len(d) {
		return true
	}
	if d == nil || len(s) > len(d) {
		return len(s) == 0
	}
	for i, n := range s {
		x := d[len(d)-len(s)+i]
		if n != 1 && !(x.IsKnown() && x.Size == n) {
			return false
		}
	}
	return true
}

// noopRelu knows operands that are not negative: Relu(Relu(x)), Abs(Relu(x)),
// Relu(Sigmoid(x)) and the like.
func noopRelu(n *graph.Node) *graph.Value {
	p := producer(n, n.In(0), "Relu", "Sigmoid", "Softmax", "Abs", "HardSigmoid", "Softplus", "Exp", "Sqrt")
	if p == nil {
		return nil
	}
	return n.In(0)
}

// noopWhere knows a choice whose condition is constant and takes all of one
// side, if that has the shape of the result.
func noopWhere(n *graph.Node) *graph.Value {
	t := constant(n.In(0))
	if t == nil || t.DType() != tensor.Bool || t.Len() == 0 {
		return nil
	}
	for _, b := range t.Bytes() {
		if (b != 0) != (t.Bytes()[0] != 0) {
			return nil
		}
	}
	side := n.In(2)
	if t.Bytes()[0] != 0 {
		side = n.In(1)
	}
	if sameDims(dims(side), dims(n.Out(0))) {
		return side
	}
	return nil
}

func noopRound(n *graph.Node) *graph.Value {
	if producer(n, n.In(0), "Ceil", "Floor", "Round") != nil {
		return n.In(0)
	}
	return nil
}

// noopBN knows a normalisation that neither scales nor shifts.
func noopBN(n *graph.Node) *graph.Value {
	a, ok := normAffine(n)
	if !ok {
		return nil
	}
	for i := range a.scale {
		if a.scale[i] != 1 || a.shift[i] != 0 {
			return nil
		}
	}
	return n.In(0)
}

// noopReduce knows reductions over no axes, and over axes of one element that
// are kept.
func noopReduce(n *graph.Node) *graph.Value {
	axes, given, ok := listOf(n, axesSince(n.Op), "axes", 1)
	if !ok {
		return nil
	}
	if (!given || len(axes) == 0) && n.Int("noop_with_empty_axes", 0) != 0 {
		return n.In(0)
	}
	in := dims(n.In(0))
	if in == nil || n.Int("keepdims", 1) == 0 {
		return nil
	}
	if !given || len(axes) == 0 {
		for i := range in {
			axes = append(axes, int64(i))
		}
	}
	for _, a := range axes {
		i, err := tensor.Axis(int(a), len(in))
		if err != nil || !in[i].IsKnown() || in[i].Size != 1 {
			return nil
		}
	}
	return n.In(0)
}
