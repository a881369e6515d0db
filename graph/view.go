package graph

import (
	gonum "gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/iterator"
)

// View shows the nodes of one graph, as they are when it is made, to gonum's
// graph algorithms: a directed graph with an edge from each node to those
// that read its results, in their subgraphs too. Several such reads between
// two nodes are one edge; only the view collapses them.
type View struct {
	nodes []*Node
	ids   map[*Node]int64
	from  [][]int64 // of each node, the readers, without repetition
	to    [][]int64
	edges map[[2]int64]bool
}

// ViewNode is a node in a view; its ID is its place in the graph's order.
type ViewNode struct {
	*Node
	id int64
}

// ID returns the node's place in the order of its graph.
func (n ViewNode) ID() int64 { return n.id }

// ViewEdge says that T reads a result of F.
type ViewEdge struct{ F, T ViewNode }

// From returns the node that is read.
func (e ViewEdge) From() gonum.Node { return e.F }

// To returns the node that reads.
func (e ViewEdge) To() gonum.Node { return e.T }

// ReversedEdge returns the edge from reader to read.
func (e ViewEdge) ReversedEdge() gonum.Edge { return ViewEdge{e.T, e.F} }

// NewView returns a view of g's nodes.
func NewView(g *Graph) *View {
	w := &View{ids: make(map[*Node]int64, g.numNodes), edges: map[[2]int64]bool{}}
	for n := g.first; n != nil; n = n.next {
		w.ids[n] = int64(len(w.nodes))
		w.nodes = append(w.nodes, n)
	}
	w.from = make([][]int64, len(w.nodes))
	w.to = make([][]int64, len(w.nodes))
	for i, n := range w.nodes {
		for v := range n.Reads() {
			if p, ok := w.ids[v.producer]; ok {
				w.connect(p, int64(i))
			}
		}
	}
	return w
}

func (w *View) connect(from, to int64) {
	e := [2]int64{from, to}
	if w.edges[e] {
		return
	}
	w.edges[e] = true
	w.from[from] = append(w.from[from], to)
	w.to[to] = append(w.to[to], from)
}

// Of returns the view's node for n; its graph must be the one viewed.
func (w *View) Of(n *Node) ViewNode { return ViewNode{n, w.ids[n]} }

// Node returns the node with the given ID, nil if there is none.
func (w *View) Node(id int64) gonum.Node {
	if id < 0 || id >= int64(len(w.nodes)) {
		return nil
	}
	return ViewNode{w.nodes[id], id}
}

// Nodes returns all nodes in order.
func (w *View) Nodes() gonum.Nodes {
	ids := make([]int64, len(w.nodes))
	for i := range ids {
		ids[i] = int64(i)
	}
	return w.iterate(ids)
}

// From returns the nodes that read results of the node id.
func (w *View) From(id int64) gonum.Nodes { return w.iterate(w.neighbours(w.from, id)) }

// To returns the nodes whose results the node id reads.
func (w *View) To(id int64) gonum.Nodes { return w.iterate(w.neighbours(w.to, id)) }

func (w *View) neighbours(lists [][]int64, id int64) []int64 {
	if id < 0 || id >= int64(len(lists)) {
		return nil
	}
	return lists[id]
}

func (w *View) iterate(ids []int64) gonum.Nodes {
	if len(ids) == 0 {
		return gonum.Empty
	}
	nodes := make([]gonum.Node, len(ids))
	for i, id := range ids {
		nodes[i] = ViewNode{w.nodes[id], id}
	}
	return iterator.NewOrderedNodes(nodes)
}

// HasEdgeBetween reports whether either node reads the other.
func (w *View) HasEdgeBetween(x, y int64) bool {
	return w.HasEdgeFromTo(x, y) || w.HasEdgeFromTo(y, x)
}

// HasEdgeFromTo reports whether node v reads node u.
func (w *View) HasEdgeFromTo(u, v int64) bool { return w.edges[[2]int64{u, v}] }

// Edge returns the edge from u to v, nil if v does not read u.
func (w *View) Edge(u, v int64) gonum.Edge {
	if !w.HasEdgeFromTo(u, v) {
		return nil
	}
	return ViewEdge{ViewNode{w.nodes[u], u}, ViewNode{w.nodes[v], v}}
}

var _ gonum.Directed = (*View)(nil)
