package engine

import (
	"fmt"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// admit refuses a run that needs more memory than the session may use.
func (s *Session) admit(feeds map[string]tensor.Value) error {
	if s.opts.MaxMemory == 0 {
		return nil
	}
	need, err := s.needs.get(shapesOf(s.inputs, feeds), func() (memoryNeed, error) { return peakMemory(s.model, op.TypesOf(feeds)), nil })
	if err != nil {
		return err
	}
	if need.bytes > s.opts.MaxMemory-s.weights {
		return fmt.Errorf("%v: the run needs %d bytes for intermediate values and %d for weights, the limit is %d",
			need.node, need.bytes, s.weights, s.opts.MaxMemory)
	}
	return nil
}

// admitWeights refuses a model whose weights alone need more memory than the
// session may use.
func (s *Session) admitWeights() error {
	s.weights = weightBytes(s.model)
	if limit := s.opts.MaxMemory; limit > 0 && s.weights > limit {
		return fmt.Errorf("the model needs %d bytes for weights, the limit is %d", s.weights, limit)
	}
	return nil
}

// weightBytes returns the size of m's initializers.
func weightBytes(m *graph.Model) int64 {
	total := int64(0)
	for g := range m.Graphs(graph.InMain | graph.InFunctions | graph.InSubgraphs) {
		for _, v := range g.Inits() {
			total += int64(v.Init.DType().Bytes(v.Init.Shape().Len()))
		}
	}
	return total
}

// shapesOf is a key for the types and shapes of feeds.
func shapesOf(inputs []input, feeds map[string]tensor.Value) string {
	var b strings.Builder
	for _, in := range inputs {
		b.WriteString(describe(feeds[in.name]))
		b.WriteByte(';')
	}
	return b.String()
}

// memoryNeed is the most bytes that values take at once, and where.
type memoryNeed struct {
	bytes int64
	node  *graph.Node
}

// PeakMemory estimates how many bytes the intermediate values and results of a
// run of m take at once, for inputs of the given types: from what shape
// inference tells of the sizes of values, each of which lives from its maker
// to its last reader. Values whose size depends on data count nothing.
func PeakMemory(m *graph.Model, types map[string]*graph.Type) int64 {
	return peakMemory(m, types).bytes
}

func peakMemory(m *graph.Model, types map[string]*graph.Type) memoryNeed {
	c := m.Clone()
	if err := c.Graph.Sort(); err != nil {
		return memoryNeed{} // no session compiles a graph with a cycle
	}
	op.InferModel(c, op.InferOptions{Inputs: types})
	return graphMemory(c.Graph)
}

func graphMemory(g *graph.Graph) memoryNeed {
	last := map[*graph.Value]*graph.Node{}
	for n := range g.Nodes() {
		for v := range n.Reads() {
			last[v] = n
		}
	}
	for _, v := range g.Outputs() {
		last[v] = nil
	}
	var peak memoryNeed
	now := int64(0)
	for n := range g.Nodes() {
		for _, v := range n.Outs() {
			now += bytesOf(v)
		}
		inner := int64(0)
		for _, s := range n.Subgraphs() {
			inner = max(inner, graphMemory(s).bytes)
		}
		if now+inner > peak.bytes {
			peak = memoryNeed{now + inner, n}
		}
		now -= released(g, n, last)
	}
	return peak
}

// released returns the bytes of the values that live no longer than n.
func released(g *graph.Graph, n *graph.Node, last map[*graph.Value]*graph.Node) int64 {
	bytes := int64(0)
	seen := map[*graph.Value]bool{}
	for v := range n.Reads() {
		if v.Graph() == g && v.Producer() != nil && last[v] == n && !seen[v] {
			seen[v] = true
			bytes += bytesOf(v)
		}
	}
	for _, v := range n.Outs() {
		if _, read := last[v]; v != nil && !read {
			bytes += bytesOf(v)
		}
	}
	return bytes
}

// bytesOf returns the size of a tensor of known shape, else 0.
func bytesOf(v *graph.Value) int64 {
	if v == nil || v.Type == nil || v.Type.Kind != graph.KindTensor {
		return 0
	}
	s, ok := v.Type.Shape.Static()
	if !ok || s.Check() != nil {
		return 0
	}
	return int64(v.Type.Elem.Bytes(s.Len()))
}
