package graph

import (
	"container/heap"
	"fmt"
	"iter"
	"strings"
)

// Scope says which graphs of a model a walk visits.
type Scope uint8

// The parts of a model; they are combined with |.
const (
	InMain      Scope = 1 << iota // the main graph
	InFunctions                   // the bodies of functions
	InTraining                    // the graphs of training_info
	InSubgraphs                   // the graphs inside those that are visited

	Everywhere = InMain | InFunctions | InTraining | InSubgraphs
)

// Graphs ranges over the graphs of a model that the scope names, each before
// the graphs inside it.
func (m *Model) Graphs(in Scope) iter.Seq[*Graph] {
	return func(yield func(*Graph) bool) {
		for _, g := range m.roots(in) {
			if in&InSubgraphs == 0 {
				if !yield(g) {
					return
				}
				continue
			}
			for s := range g.Walk() {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// roots returns the outermost graphs that the scope names.
func (m *Model) roots(in Scope) []*Graph {
	var gs []*Graph
	add := func(part Scope, g *Graph) {
		if g != nil && in&part != 0 {
			gs = append(gs, g)
		}
	}
	add(InMain, m.Graph)
	for _, f := range m.Functions {
		add(InFunctions, f.Body)
	}
	for _, t := range m.Training {
		add(InTraining, t.Init)
		add(InTraining, t.Algorithm)
	}
	return gs
}

// Nodes ranges over the nodes of the graphs that the scope names; each graph
// may be edited as under [Graph.Nodes].
func (m *Model) Nodes(in Scope) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for g := range m.Graphs(in) {
			for n := range g.Nodes() {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// Walk ranges over g and all graphs inside it, outer ones first. The inner
// graphs of a node are found when the walk comes to them, so that edits of
// the graph reached are seen.
func (g *Graph) Walk() iter.Seq[*Graph] {
	return func(yield func(*Graph) bool) { g.walk(yield) }
}

func (g *Graph) walk(yield func(*Graph) bool) bool {
	if !yield(g) {
		return false
	}
	for n := range g.Nodes() {
		for _, s := range n.Subgraphs() {
			if !s.walk(yield) {
				return false
			}
		}
	}
	return true
}

// CountNodes returns the number of nodes in the graphs that the scope names.
func (m *Model) CountNodes(in Scope) int {
	total := 0
	for g := range m.Graphs(in) {
		total += g.numNodes
	}
	return total
}

// CountOps returns the number of nodes of each operator, by "Op" or
// "domain::Op", in the graphs that the scope names.
func (m *Model) CountOps(in Scope) map[string]int {
	ops := map[string]int{}
	for n := range m.Nodes(in) {
		ops[n.opName()]++
	}
	return ops
}

// Reads ranges over the values that n depends on: its inputs, and the values
// of graphs around n's subgraphs that these read or give out. Omitted inputs
// are left out; a value that is read twice comes twice.
func (n *Node) Reads() iter.Seq[*Value] {
	return func(yield func(*Value) bool) {
		for _, v := range n.in {
			if v != nil && !yield(v) {
				return
			}
		}
		for v := range n.Captures() {
			if !yield(v) {
				return
			}
		}
	}
}

// Captures ranges over the values from outside n's subgraphs that are read or
// given out within them.
func (n *Node) Captures() iter.Seq[*Value] {
	return func(yield func(*Value) bool) {
		for _, s := range n.Subgraphs() {
			for g := range s.Walk() {
				for v := range g.operands() {
					if v.graph != nil && !v.graph.isWithin(s) && !yield(v) {
						return
					}
				}
			}
		}
	}
}

// operands ranges over the values that g's own nodes read and g gives out.
func (g *Graph) operands() iter.Seq[*Value] {
	return func(yield func(*Value) bool) {
		for n := g.first; n != nil; n = n.next {
			for _, v := range n.in {
				if v != nil && !yield(v) {
					return
				}
			}
		}
		for _, v := range g.outputs {
			if !yield(v) {
				return
			}
		}
	}
}

// isWithin reports whether g is s or inside s.
func (g *Graph) isWithin(s *Graph) bool {
	for ; g != nil; g = g.Outer() {
		if g == s {
			return true
		}
	}
	return false
}

// Holder returns the node of g that is n or has n in its subgraphs, nil if n
// is elsewhere.
func (g *Graph) Holder(n *Node) *Node {
	for n != nil && n.graph != nil && n.graph != g {
		n = n.graph.owner
	}
	if n == nil || n.graph != g {
		return nil
	}
	return n
}

// Sort puts the nodes of g, and of the graphs inside it, in an order in which
// each follows those it reads. Nodes that are free to stay keep their order;
// a graph in order is not changed. The error names a cycle.
func (g *Graph) Sort() error {
	for s := range g.Walk() {
		if err := s.sort(); err != nil {
			return err
		}
	}
	return nil
}

func (g *Graph) sort() error {
	order, err := g.Sorted()
	if err == nil {
		g.relink(order)
	}
	return err
}

// Sorted returns g's own nodes in the order that [Graph.Sort] would put them,
// and leaves g as it is.
//
// It is Kahn's algorithm, where of the nodes that are ready the one that
// stood first is taken next.
func (g *Graph) Sorted() ([]*Node, error) {
	nodes := make([]*Node, 0, g.numNodes)
	at := make(map[*Node]int, g.numNodes)
	for n := g.first; n != nil; n = n.next {
		at[n] = len(nodes)
		nodes = append(nodes, n)
	}
	waits := make([]int, len(nodes)) // reads of results not placed yet
	readers := make([][]int, len(nodes))
	for i, n := range nodes {
		for v := range n.Reads() {
			if p := v.producer; p != nil && p.graph == g {
				waits[i]++
				readers[at[p]] = append(readers[at[p]], i)
			}
		}
	}
	ready := &intHeap{}
	for i := range nodes {
		if waits[i] == 0 {
			ready.ints = append(ready.ints, i) // ascending, which is a heap
		}
	}
	order := make([]*Node, 0, len(nodes))
	for len(ready.ints) > 0 {
		i := heap.Pop(ready).(int)
		order = append(order, nodes[i])
		for _, r := range readers[i] {
			if waits[r]--; waits[r] == 0 {
				heap.Push(ready, r)
			}
		}
	}
	if len(order) < len(nodes) {
		return nil, g.cycleError(nodes, waits)
	}
	return order, nil
}

// relink gives g's list of nodes another order.
func (g *Graph) relink(order []*Node) {
	g.first, g.last, g.numNodes = nil, nil, 0
	for _, n := range order {
		g.link(n, g.last, nil)
	}
}

// cycleError names the nodes of one cycle. Every node that still waits reads
// another that does, so following such reads leads into a cycle.
func (g *Graph) cycleError(nodes []*Node, waits []int) error {
	waiting := map[*Node]bool{}
	var start *Node
	for i, n := range nodes {
		if waits[i] > 0 {
			waiting[n] = true
			if start == nil {
				start = n
			}
		}
	}
	var path []*Node
	at := map[*Node]int{}
	for n := start; n != nil; n = waitedFor(n, waiting) {
		if i, seen := at[n]; seen {
			path = path[i:]
			break
		}
		at[n] = len(path)
		path = append(path, n)
	}
	names := make([]string, len(path))
	for i, n := range path {
		names[i] = n.String()
	}
	return fmt.Errorf("graph %q: nodes read each other in a cycle: %s", g.Name, strings.Join(names, " reads "))
}

func waitedFor(n *Node, waiting map[*Node]bool) *Node {
	for v := range n.Reads() {
		if waiting[v.producer] && v.producer.graph == n.graph {
			return v.producer
		}
	}
	return nil
}

type intHeap struct{ ints []int }

func (h *intHeap) Len() int           { return len(h.ints) }
func (h *intHeap) Less(i, j int) bool { return h.ints[i] < h.ints[j] }
func (h *intHeap) Swap(i, j int)      { h.ints[i], h.ints[j] = h.ints[j], h.ints[i] }
func (h *intHeap) Push(x any)         { h.ints = append(h.ints, x.(int)) }
func (h *intHeap) Pop() any {
	x := h.ints[len(h.ints)-1]
	h.ints = h.ints[:len(h.ints)-1]
	return x
}
