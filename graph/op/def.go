// Package op says what operators mean: one [Def] for each, holding all that
// the project knows of it.
//
// It is on floor 2. A Def holds facts and local rules only; it refuses to
// know policy (which scale, which channel, which neighbour to fuse), other
// nodes, and CPUs. A rule that is nil is not known: whoever needs it leaves
// the node alone and says so.
//
// Operators stand in files by family, as ONNX groups them; each family has a
// list, and all.go joins the lists.
package op

import (
	"github.com/onnxpack/onnxpack/graph"
)

// Def is what is known of one operator over a range of its domain's versions.
// Rules look at the version in force (ctx.Version) where it matters.
type Def struct {
	Domain string // "" is ai.onnx
	Name   string
	Since  int64 // first opset version this speaks for
	Until  int64 // last opset version this speaks for, 0 for "and later"

	// Body is the operator in ONNX text, a function over other operators. It
	// stands in for any rule below that is nil.
	Body string

	// BodyFor makes the body of a composite operator whose form depends on
	// the call; it takes the place of Body.
	BodyFor func(*Call) (string, error)

	Infer func(*Infer) error // types and shapes of the results
	Eval  func(*Eval) error  // values of the results
	Grad  func(*Grad) error  // nodes that compute the gradients of the inputs
	Axes  func(*Axes)        // which axis of which operand becomes which axis of a result
	Quant *Quant             // how the operator behaves between quantized values
	Cost  func(*Infer) Cost  // work of one call

	// Effects says that a call does more than map inputs to results, or gives
	// other results on another call (random operators): it is neither folded
	// nor merged with an equal one.
	Effects bool
}

// Call is one application of an operator: the node, and the version of its
// domain that is in force.
type Call struct {
	Node    *graph.Node
	Version int64
}

// Wants reports whether result i is named, so that someone may read it.
func (c *Call) Wants(i int) bool { return c.Node.Out(i) != nil }

// Has reports whether input i is given.
func (c *Call) Has(i int) bool { return c.Node.In(i) != nil }

// Quant is how an operator takes part in a quantized graph.
type Quant struct {
	Class QuantClass

	// Weight and Bias are the input slots of the constant operands of a
	// QuantInteger operator, -1 if it has none.
	Weight, Bias int

	// Channel returns the axis of the weight that has a scale of its own for
	// each index, -1 if the operator takes one scale for the whole weight.
	Channel func(*Call) int
}

// QuantClass says what a quantizer may do around an operator.
type QuantClass uint8

// The classes. An operator without a Quant is opaque: its operands stay float.
const (
	// QuantPass operators only move or select elements: the scale of the
	// input is that of the result (Reshape, MaxPool, Transpose).
	QuantPass QuantClass = iota + 1
	// QuantInteger operators have an integer kernel with a constant weight
	// (Conv, Gemm, MatMul).
	QuantInteger
	// QuantBinary operators have an integer kernel over activations (Add, Mul).
	QuantBinary
	// QuantUnary operators have an integer kernel over one activation
	// (Sigmoid, LeakyRelu, GlobalAveragePool).
	QuantUnary
)

// Cost is the work of one call.
type Cost struct {
	MACs  int64 // multiply-accumulates of matrix products and convolutions
	Flops int64 // all arithmetic; a multiply-accumulate counts twice
	Bytes int64 // operands read and results written
	Known bool  // false if a shape that the work depends on is not known
}

// Add returns the sum of two costs; it is known if both are.
func (c Cost) Add(d Cost) Cost {
	return Cost{c.MACs + d.MACs, c.Flops + d.Flops, c.Bytes + d.Bytes, c.Known && d.Known}
}
