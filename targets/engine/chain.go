package engine

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// convChain is a convolution with what can be computed along with it:
//
//	c = Conv(x, w, b)  n = BatchNormalization(c, …)  a = Add(n, r)  y = Relu(a)
//	c = Conv(x, w, b)  n = BatchNormalization(c, …)  a = Relu(n)  y = Add(a, r)
type convChain struct {
	l        *layout
	nodes    []*graph.Node // in order, the convolution first
	window   window
	groups   int
	rank     int            // of the operand
	weights  *tensor.Tensor // of the convolution, scaled per filter
	up       *upWindow      // of a transposed convolution with a stride
	bias     []float32      // nil if none
	residual *graph.Value   // nil if none
	added    residual       // where it is
	act      activation
}

// chain is a group of nodes that one image operator stands for.
type chain interface {
	axes() int             // of the operand
	stands() []*graph.Node // in order
	operands() []*graph.Value
	machine() imageMachine
}

func (l *layout) findChains() {
	for n := range l.graph.Nodes() {
		if !n.Is("Conv", "ConvTranspose") {
			continue
		}
		c := l.chainOf(n)
		if c == nil {
			continue
		}
		nodes := c.stands()
		l.chains[nodes[len(nodes)-1]] = c
		for _, m := range nodes {
			l.absorbed[m] = true
		}
	}
}

// chainOf returns the chain that a convolution begins, nil if it cannot work
// on images.
func (l *layout) chainOf(n *graph.Node) chain {
	if n.Is("Conv") {
		if q := l.quantChain(n); q != nil {
			return q
		}
	}
	if c := l.floatChain(n); c != nil {
		c.extend()
		return c
	}
	return nil
}

// floatChain returns the chain of n alone, nil if it cannot work on images.
func (l *layout) floatChain(n *graph.Node) *convChain {
	w := l.constant(n.In(1))
	switch {
	case w == nil:
		l.note(n, "not moved to images: the weight is not constant")
		return nil
	case w.DType() != tensor.Float32 || w.Rank() != 3 && w.Rank() != 4:
		l.note(n, "not moved to images: the weight is %v, want float with 3 or 4 axes", w)
		return nil
	}
	s := w.Shape()
	c := &convChain{l: l, nodes: []*graph.Node{n}, weights: w.Reshape(withRows(s)), rank: len(s), groups: int(n.Int("group", 1))}
	if c.groups < 1 || s.Len() == 0 || s[0]%c.groups != 0 {
		l.note(n, "not moved to images: weight %v in %d groups", w, c.groups)
		return nil
	}
	var err error
	if c.window, err = windowOf(n, s[2:]...); err != nil {
		l.note(n, "not moved to images: %v", err)
		return nil
	}
	if n.Is("ConvTranspose") && l.transposedChain(n, c, c.weights) == nil {
		return nil
	}
	if v := n.In(2); v != nil {
		b, ok := l.floats(v)
		if !ok || len(b[0]) != c.filters() {
			l.note(n, "not moved to images: the bias is not constant")
			return nil
		}
		c.bias = b[0]
	}
	return c
}

// withRows returns the shape of filters, or of a tensor, with 4 axes: where
// there is one axis behind the channels, there is one row.
func withRows(s tensor.Shape) tensor.Shape {
	if len(s) == 3 {
		return tensor.Shape{s[0], s[1], 1, s[2]}
	}
	return s
}

// extend takes the nodes that follow into the chain as far as they fit.
func (c *convChain) extend() {
	for {
		last := c.nodes[len(c.nodes)-1]
		n, i := next(last)
		if n == nil || c.l.absorbed[n] || !c.take(n, i) {
			return
		}
		c.nodes = append(c.nodes, n)
	}
}

// take adds what n, which reads the chain's result as input i, computes.
func (c *convChain) take(n *graph.Node, i int) bool {
	if c.act.name != "" {
		return c.takeLast(n, i)
	}
	if act, ok := c.l.activationOf(n); ok && i == 0 {
		c.act = act
		return true
	}
	if c.residual != nil {
		return false
	}
	if scale, shift, ok := c.l.normalization(n); ok && i == 0 && len(scale) == c.filters() {
		c.scale(scale, shift)
		return true
	}
	if !n.Is("Add", "Mul") || n.Opset() < 7 {
		return false
	}
	other := n.In(1 - i)
	if t := c.l.constant(other); t != nil {
		return c.takeConstant(n, t)
	}
	if n.Op == "Add" && c.addsImages() && c.l.isFloat32(other) && len(other.Type.Shape) == c.rank {
		c.residual, c.added = other, beforeActivation
		return true
	}
	return false
}

// takeLast takes the addition of an image as large as the result behind the
// activation.
func (c *convChain) takeLast(n *graph.Node, i int) bool {
	if c.residual != nil || !n.Is("Add") || n.Opset() < 7 || !c.addsImages() {
		return false
	}
	other := n.In(1 - i)
	if c.l.constant(other) != nil || !c.l.isFloat32(other) || !sameDims(n.In(i), other) {
		return false
	}
	c.residual, c.added = other, behindActivation
	return true
}

// addsImages reports whether the operator that computes the chain can add a
// residual.
func (c *convChain) addsImages() bool { return !c.depthwise() && c.up == nil }

// takeConstant adds or multiplies by one number for all filters, or one for
// each.
func (c *convChain) takeConstant(n *graph.Node, t *tensor.Tensor) bool {
	s := t.Shape()
	channel := len(s) - (c.rank - 1)
	if t.DType() != tensor.Float32 || t.Len() != 1 && (t.Len() != c.filters() || channel < 0 || s[channel] != c.filters()) || len(s) > c.rank {
		return false
	}
	src := tensor.Data[float32](t)
	each := make([]float32, c.filters())
	for k := range each {
		each[k] = src[k%len(src)]
	}
	ones, zeros := make([]float32, len(each)), make([]float32, len(each))
	fill(ones, 1)
	if n.Op == "Add" {
		c.scale(ones, each)
	} else {
		c.scale(each, zeros)
	}
	return true
}

func (c *convChain) filters() int { return c.weights.Shape()[0] }

// depthwise reports whether each filter sees just the channel of its number.
func (c *convChain) depthwise() bool {
	return c.groups > 1 && c.groups == c.filters() && c.weights.Shape()[1] == 1
}

// scale multiplies each filter's result by a number and adds another.
func (c *convChain) scale(scale, shift []float32) {
	w := c.weights.Clone()
	data, per := tensor.Data[float32](w), w.Len()/c.filters()
	bias := make([]float32, c.filters())
	for f, s := range scale {
		row := data[f*per : (f+1)*per]
		for i := range row {
			row[i] *= s
		}
		if c.bias != nil {
			bias[f] = c.bias[f] * s
		}
		bias[f] += shift[f]
	}
	c.weights, c.bias = w, bias
}

func (c *convChain) axes() int { return c.rank }

func (c *convChain) stands() []*graph.Node { return c.nodes }

// operands returns the chain's inputs: the image and the residual, if any.
func (c *convChain) operands() []*graph.Value {
	if c.residual == nil {
		return []*graph.Value{c.nodes[0].In(0)}
	}
	return []*graph.Value{c.nodes[0].In(0), c.residual}
}

// machine returns the operator that computes the chain.
func (c *convChain) machine() imageMachine {
	if c.up != nil {
		return newUpConv(c.l.kernels, &c.l.memory, c.up, c.groups, c.weights, c.bias, c.act)
	}
	if c.depthwise() {
		return newDepthwise(c.window, c.weights, c.bias, c.act)
	}
	m := newConv(c.l.kernels, &c.l.memory, c.window, c.groups, c.weights, c.bias, c.act)
	m.added = c.added
	return m
}
