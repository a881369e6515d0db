package onnxgo

import (
	"context"
	"fmt"
	"math"
	"strings"

	onnx "github.com/owulveryck/onnx-go"
	gonum "gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	gorgonia "gorgonia.org/tensor"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Backend is an onnx-go backend.ComputationBackend: a graph that onnx-go
// fills, and Run computes. It may be run again with other inputs.
type Backend struct {
	// Opset is the version of ONNX's operators that the model speaks, which
	// onnx-go does not tell. 0 means 10, or 9 where an operator has a form
	// that 10 dropped.
	Opset int64

	// Options are those of the engine.
	Options engine.Options

	edges    *simple.WeightedDirectedGraph
	nodes    []*Node
	operands map[int64][]*Node // by the node of a result
	ops      []operation

	session *engine.Session
	shape   string // what the session was compiled for
	results []*Node
}

// operation is one call of ApplyOperation.
type operation struct {
	onnx.Operation
	outs []*Node
}

// Node is a value of the model.
type Node struct {
	id       int64
	name     string
	value    gorgonia.Tensor
	backend  *Backend
	made     bool // an operation makes it
	used     bool // an operation reads it
	declared bool // the model states its type
	fed      bool // it was set after the model had been read
}

// NewBackend returns an empty backend for the opset that the model asks for.
func NewBackend() *Backend {
	return &Backend{edges: simple.NewWeightedDirectedGraph(0, math.Inf(1)), operands: map[int64][]*Node{}}
}

// ID returns the node's number.
func (n *Node) ID() int64 { return n.id }

// SetName is onnx.Namer's.
func (n *Node) SetName(name string) { n.name = name }

// GetName is onnx.Namer's.
func (n *Node) GetName() string { return n.name }

// SetTensor gives the node a value. onnx-go calls it with an empty tensor to
// state a type, with a weight, and, once the model has been read, with an
// input.
func (n *Node) SetTensor(t gorgonia.Tensor) error {
	n.value = t
	if len(n.backend.ops) > 0 {
		n.fed = true
	} else {
		n.declared = true
	}
	return nil
}

// GetTensor returns the node's value.
func (n *Node) GetTensor() gorgonia.Tensor { return n.value }

// NewNode returns a node that AddNode adds.
func (b *Backend) NewNode() gonum.Node {
	return &Node{id: int64(len(b.nodes)), backend: b}
}

// AddNode adds a node that NewNode made.
func (b *Backend) AddNode(n gonum.Node) {
	b.edges.AddNode(n)
	b.nodes = append(b.nodes, n.(*Node))
}

// NewWeightedEdge returns an edge from a result to an operand, whose weight
// is the operand's position.
func (b *Backend) NewWeightedEdge(from, to gonum.Node, w float64) gonum.WeightedEdge {
	return b.edges.NewWeightedEdge(from, to, w)
}

// SetWeightedEdge records an operand. An operand that stands in two positions
// is recorded for both, though the graph has one edge for them.
func (b *Backend) SetWeightedEdge(e gonum.WeightedEdge) {
	from, to, at := e.From().ID(), e.To().(*Node), int(e.Weight())
	list := b.operands[from]
	for len(list) <= at {
		list = append(list, nil)
	}
	list[at] = to
	b.operands[from] = list
	if from != to.ID() {
		b.edges.SetWeightedEdge(e)
	}
}

// ApplyOperation records an operator whose results are the given nodes.
func (b *Backend) ApplyOperation(op onnx.Operation, outs ...gonum.Node) error {
	o := operation{Operation: op}
	for _, n := range outs {
		n := n.(*Node)
		n.made = true
		o.outs = append(o.outs, n)
	}
	for _, n := range b.inputs(&o) {
		if n != nil {
			n.used = true
		}
	}
	b.ops = append(b.ops, o)
	b.session = nil
	return nil
}

// inputs returns the operands of an operation, nil for omitted ones.
func (b *Backend) inputs(o *operation) []*Node {
	var list []*Node
	for _, n := range o.outs {
		if n.name != "" {
			list = b.operands[n.id]
			break
		}
	}
	in := make([]*Node, len(list))
	for i, n := range list {
		if n != nil && !n.absent() {
			in[i] = n
		}
	}
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	return in
}

// absent reports whether n stands for an operand that is not there: onnx-go
// gives one to operators without inputs, and names omitted ones "".
func (n *Node) absent() bool {
	return n.name == "" || n.value == nil && !n.made && strings.HasSuffix(n.name, "/input")
}

// Run computes the model for the inputs that were set. It compiles the model
// first if it has not, or if the inputs' types or shapes are others.
func (b *Backend) Run() error {
	feeds := map[string]tensor.Value{}
	var shape strings.Builder
	for _, n := range b.nodes {
		if !n.fed || n.made {
			continue
		}
		t, err := FromGorgonia(n.value)
		if err != nil {
			return fmt.Errorf("input %q: %w", n.name, err)
		}
		feeds[n.name] = t
		fmt.Fprintf(&shape, "%s %v\n", n.name, t)
	}
	ctx := context.Background()
	if b.session == nil || b.shape != shape.String() {
		m, err := b.model(feeds)
		if err != nil {
			return err
		}
		if b.session, err = engine.Compile(ctx, m, b.Options); err != nil {
			return err
		}
		b.shape = shape.String()
	}
	out, err := b.session.Run(ctx, feeds)
	if err != nil {
		return err
	}
	return b.take(out)
}

// take gives the results to their nodes.
func (b *Backend) take(out map[string]tensor.Value) error {
	for _, n := range b.results {
		t, ok := out[n.name].(*tensor.Tensor)
		if !ok {
			return fmt.Errorf("output %q is a %T, which onnx-go has no tensor for", n.name, out[n.name])
		}
		v, err := ToGorgonia(t)
		if err != nil {
			return fmt.Errorf("output %q: %w", n.name, err)
		}
		n.value = v
	}
	return nil
}

// Node returns the node with the given number, nil if there is none.
func (b *Backend) Node(id int64) gonum.Node { return b.edges.Node(id) }

// Nodes returns all nodes.
func (b *Backend) Nodes() gonum.Nodes { return b.edges.Nodes() }

// From returns the operands of a result.
func (b *Backend) From(id int64) gonum.Nodes { return b.edges.From(id) }

// To returns the results that an operand goes into.
func (b *Backend) To(id int64) gonum.Nodes { return b.edges.To(id) }

// HasEdgeBetween reports whether one is an operand of the other.
func (b *Backend) HasEdgeBetween(x, y int64) bool { return b.edges.HasEdgeBetween(x, y) }

// HasEdgeFromTo reports whether v is an operand of u.
func (b *Backend) HasEdgeFromTo(u, v int64) bool { return b.edges.HasEdgeFromTo(u, v) }

// Edge returns the edge from u to v, nil if there is none.
func (b *Backend) Edge(u, v int64) gonum.Edge { return b.edges.Edge(u, v) }

// WeightedEdge returns the edge from u to v, nil if there is none.
func (b *Backend) WeightedEdge(u, v int64) gonum.WeightedEdge { return b.edges.WeightedEdge(u, v) }

// Weight returns the position that v has among the operands of u.
func (b *Backend) Weight(u, v int64) (float64, bool) { return b.edges.Weight(u, v) }
