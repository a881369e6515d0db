package quantize

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// weightChannel returns the axis of n's weight that has the output channels.
func weightChannel(n *graph.Node) int {
	return op.Find("", n.Op, n.Opset()).Quant.Channel(&op.Call{Node: n, Version: n.Opset()})
}

// isDepthwise reports whether each output channel of n, a Conv, reads an input
// channel of its own. Runtimes have kernels of their own for these, which add
// in 32 bits.
func isDepthwise(n *graph.Node, w *tensor.Tensor) bool {
	return n.Op == "Conv" && int(n.Int("group", 1)) == w.Shape()[0] && w.Shape()[1] == 1
}

// pairings returns the orders in which a runtime may walk the weights of one
// output channel, and so which of them it pairs: as they are stored, or, for a
// convolution, with the input channels innermost.
func pairings(n *graph.Node, w *tensor.Tensor) []func(channel int) []int {
	s := w.Shape()
	if n.Op != "Conv" {
		axis := weightChannel(n)
		stored := func(c int) []int { return column(s, axis, c) }
		return []func(int) []int{stored}
	}
	taps, area := s[1:].Len(), s[2:].Len()
	stored := func(c int) []int {
		at := make([]int, taps)
		for i := range at {
			at[i] = c*taps + i
		}
		return at
	}
	channelsLast := func(c int) []int {
		at := make([]int, 0, taps)
		for tap := range area {
			for in := range s[1] {
				at = append(at, c*taps+in*area+tap)
			}
		}
		return at
	}
	return []func(int) []int{stored, channelsLast}
}

// column returns the positions of the elements of a matrix with index c on
// the given axis.
func column(s tensor.Shape, axis, c int) []int {
	other := 1 - axis
	strides := s.Strides()
	at := make([]int, s[other])
	for i := range at {
		at[i] = c*strides[axis] + i*strides[other]
	}
	return at
}

// inputChannel returns the axis of n's first operand that its weight sums
// over.
func inputChannel(n *graph.Node) int {
	if n.Op == "Conv" {
		return 1
	}
	return -1
}

// inputOf returns the function from an element of n's weight w to the channel
// of the input that it multiplies.
func inputOf(n *graph.Node, w *tensor.Tensor) func(i int) int {
	s := w.Shape()
	if n.Op != "Conv" {
		in, _ := channelOf(s, 1-weightChannel(n))
		return in
	}
	taps, area, perGroup := s[1:].Len(), s[2:].Len(), s[0]/int(n.Int("group", 1))
	return func(i int) int { return i/taps/perGroup*s[1] + i%taps/area }
}
