package simplify

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// affine is y = scale*x + shift, one pair for each channel.
type affine struct{ scale, shift []float64 }

// shifts reports whether any channel is shifted.
func (a affine) shifts() bool {
	for _, x := range a.shift {
		if x != 0 {
			return true
		}
	}
	return false
}

// finite reports whether all factors are numbers: a division by zero is left
// to the model.
func (a affine) finite() bool {
	for i := range a.scale {
		if x := a.scale[i] + a.shift[i]; x-x != 0 {
			return false
		}
	}
	return true
}

// normAffine returns what a BatchNormalization with constant statistics does
// at inference.
func normAffine(n *graph.Node) (affine, bool) {
	if !n.Is("BatchNormalization") || n.Int("training_mode", 0) != 0 || n.Int("spatial", 1) == 0 || usedBeyondFirst(n) {
		return affine{}, false
	}
	if n.Opset() < 7 && n.Int("is_test", 0) == 0 {
		return affine{}, false
	}
	var p [4][]float64 // gamma, beta, mean, variance
	for i := range p {
		t := constant(n.In(i + 1))
		if t == nil || !t.DType().IsFloat() || t.Rank() != 1 {
			return affine{}, false
		}
		p[i] = tensor.Float64s(t)
		if len(p[i]) != len(p[0]) {
			return affine{}, false
		}
	}
	eps := float64(n.Float("epsilon", 1e-5))
	a := affine{make([]float64, len(p[0])), make([]float64, len(p[0]))}
	for i := range a.scale {
		a.scale[i] = p[0][i] / math.Sqrt(p[3][i]+eps)
		a.shift[i] = p[1][i] - p[2][i]*a.scale[i]
	}
	return a, a.finite()
}

// arithmeticAffine returns what n, an Add, Sub, Mul or Div of a value x and a
// constant, does to the channels of x: a value of the given rank, with its
// channels on the given axis.
func arithmeticAffine(n *graph.Node, x *graph.Value, rank, axis, channels int) (affine, bool) {
	if !n.Is("Add", "Sub", "Mul", "Div") || n.NumIn() != 2 || n.Opset() < 7 || n.In(0) == n.In(1) {
		return affine{}, false
	}
	slot := 0
	if n.In(0) == x {
		slot = 1
	}
	c, ok := perChannel(constant(n.In(slot)), rank, axis, channels)
	if !ok {
		return affine{}, false
	}
	a := affine{make([]float64, channels), make([]float64, channels)}
	for i, v := range c {
		switch {
		case n.Op == "Add":
			a.scale[i], a.shift[i] = 1, v
		case n.Op == "Mul":
			a.scale[i] = v
		case n.Op == "Sub" && slot == 1:
			a.scale[i], a.shift[i] = 1, -v
		case n.Op == "Sub":
			a.scale[i], a.shift[i] = -1, v
		case slot == 1:
			a.scale[i] = 1 / v
		default: // a constant divided by x
			return affine{}, false
		}
	}
	return a, a.finite()
}

// perChannel returns the elements of t, broadcast to one for each channel of
// a value of the given rank, if t varies along the channels at most.
func perChannel(t *tensor.Tensor, rank, axis, channels int) ([]float64, bool) {
	if t == nil || !t.DType().IsFloat() || t.Rank() > rank {
		return nil, false
	}
	for i, d := range t.Shape() {
		if at := rank - t.Rank() + i; d != 1 && (at != axis || d != channels) {
			return nil, false
		}
	}
	x := tensor.Float64s(t)
	if len(x) == channels {
		return x, true
	}
	out := make([]float64, channels)
	for i := range out {
		out[i] = x[0]
	}
	return out, len(x) == 1
}

// linear is a node that multiplies by a constant weight and may add a bias.
type linear struct {
	node   *graph.Node
	weight *tensor.Tensor
	// out and in map an element of the weight to the output channel that it
	// helps to make and to the input channel that it multiplies.
	out, in    func(i int) int
	outs, ins  int
	rank, axis int // of the result: its axes (0 if not known), and which one has the channels
	hasBias    bool
	bias       []float64 // one for each output channel, zero without a bias
}

// linearOf returns n as a linear node; the error says why it is none.
func linearOf(n *graph.Node) (*linear, error) {
	w := constant(n.In(1))
	if w == nil {
		return nil, fmt.Errorf("its weight is not constant")
	}
	if !w.DType().IsFloat() {
		return nil, fmt.Errorf("its weight is %v, want floats", w)
	}
	l := &linear{node: n, weight: w}
	var err error
	switch n.Op {
	case "Conv":
		err = l.conv()
	case "ConvTranspose":
		err = l.convTranspose()
	case "Gemm":
		err = l.gemm()
	default:
		err = l.matMul()
	}
	if err != nil {
		return nil, err
	}
	return l, l.readBias()
}

func (l *linear) conv() error {
	s, g := l.weight.Shape(), int(l.node.Int("group", 1))
	if len(s) < 3 || g < 1 || s[0]%g != 0 {
		return fmt.Errorf("its weight %v does not fit %d groups", l.weight, g)
	}
	taps := s[1:].Len()
	area := s[2:].Len()
	l.outs, l.ins, l.rank, l.axis = s[0], s[1]*g, len(s), 1
	l.out = func(i int) int { return i / taps }
	l.in = func(i int) int { return i/taps/(s[0]/g)*s[1] + i%taps/area }
	return nil
}

func (l *linear) convTranspose() error {
	s, g := l.weight.Shape(), int(l.node.Int("group", 1))
	if len(s) < 3 || g < 1 || s[0]%g != 0 {
		return fmt.Errorf("its weight %v does not fit %d groups", l.weight, g)
	}
	taps := s[1:].Len()
	area := s[2:].Len()
	l.outs, l.ins, l.rank, l.axis = s[1]*g, s[0], len(s), 1
	l.in = func(i int) int { return i / taps }
	l.out = func(i int) int { return i/taps/(s[0]/g)*s[1] + i%taps/area }
	return nil
}

func (l *linear) gemm() error {
	s := l.weight.Shape()
	if len(s) != 2 {
		return fmt.Errorf("its weight is %v, want 2 axes", l.weight)
	}
	l.rank, l.axis = 2, 1
	l.plane(s, l.node.Int("transB", 0) != 0)
	return nil
}

func (l *linear) matMul() error {
	s := l.weight.Shape()
	if len(s) != 2 {
		return fmt.Errorf("its weight is %v, want 2 axes", l.weight)
	}
	l.rank = len(dims(l.node.In(0)))
	l.axis = l.rank - 1
	if l.rank < 2 {
		return fmt.Errorf("the shape of its input is not known")
	}
	l.plane(s, false)
	return nil
}

func (l *linear) plane(s tensor.Shape, transposed bool) {
	row := func(i int) int { return i / s[1] }
	column := func(i int) int { return i % s[1] }
	l.ins, l.outs, l.in, l.out = s[0], s[1], row, column
	if transposed {
		l.ins, l.outs, l.in, l.out = s[1], s[0], column, row
	}
}

func (l *linear) readBias() error {
	l.bias = make([]float64, l.outs)
	v := l.node.In(2)
	if l.node.Op == "MatMul" || v == nil {
		return nil
	}
	rank, axis := 1, 0
	if l.node.Op == "Gemm" {
		rank, axis = 2, 1
	}
	b, ok := perChannel(constant(v), rank, axis, l.outs)
	if !ok {
		return fmt.Errorf("its bias is not a constant for each channel")
	}
	beta := 1.0
	if l.node.Op == "Gemm" {
		beta = float64(l.node.Float("beta", 1))
	}
	for i, x := range b {
		l.bias[i] = beta * x
	}
	l.hasBias = true
	return nil
}

// after folds y = scale*x + shift of the result into weight and bias.
func (l *linear) after(a affine) {
	l.rescale(func(i int) float64 { return a.scale[l.out(i)] })
	for i := range l.bias {
		l.bias[i] = l.bias[i]*a.scale[i] + a.shift[i]
	}
	if l.hasBias || a.shifts() {
		l.writeBias()
	}
}

// before folds y = scale*x + shift of the input into weight and bias.
func (l *linear) before(a affine) {
	alpha := 1.0
	if l.node.Op == "Gemm" {
		alpha = float64(l.node.Float("alpha", 1))
	}
	for i, w := range tensor.Float64s(l.weight) {
		l.bias[l.out(i)] += alpha * w * a.shift[l.in(i)]
	}
	l.rescale(func(i int) float64 { return a.scale[l.in(i)] })
	if l.hasBias || a.shifts() {
		l.writeBias()
	}
}

func (l *linear) rescale(factor func(i int) float64) {
	w := tensor.Float64s(l.weight)
	scaled := make([]float64, len(w))
	for i, x := range w {
		scaled[i] = x * factor(i)
	}
	setConst(l.node, 1, tensor.FromFloat64s(l.weight.DType(), l.weight.Shape(), scaled))
}

// writeBias gives the node the bias. A MatMul, whose operands have two axes,
// becomes a Gemm.
func (l *linear) writeBias() {
	b := tensor.FromFloat64s(l.weight.DType(), tensor.Shape{l.outs}, l.bias)
	n := l.node
	n.DropAttr("beta")
	if n.Op == "MatMul" {
		n.Op = "Gemm"
	}
	if n.In(2) == nil {
		n.SetIn(2, n.Graph().AddInit(biasName(n), b))
		return
	}
	setConst(n, 2, b)
}

func biasName(n *graph.Node) string {
	if n.Name != "" {
		return n.Name + ".bias"
	}
	return n.In(1).Name() + ".bias"
}

// takesBias reports whether the node can have a bias.
func (l *linear) takesBias() bool { return l.node.Op != "MatMul" || l.rank == 2 }
