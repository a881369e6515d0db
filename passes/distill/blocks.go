package distill

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

type sampleOf = dataset.Sample

// block is a residual block: sum = Add (skip, branch), the branch being
// computed from skip alone. Without it, sum is skip.
type block struct {
	sum  *graph.Node
	skip *graph.Value
}

// residualBlocks lists the blocks of m's main graph in order. Types are to be
// inferred; skip and sum must have the same shape.
func residualBlocks(m *graph.Model) []block {
	var list []block
	for n := range m.Graph.Nodes() {
		if !n.Is("Add") || n.Out(0) == nil || n.Out(0).IsOutput() {
			continue
		}
		for i, skip := range n.Ins() {
			if isBranch(n, n.In(1-i), skip) {
				list = append(list, block{n, skip})
				break
			}
		}
	}
	return list
}

// isBranch reports whether end is computed from skip and constants alone, by
// nodes that serve nothing but the sum.
func isBranch(sum *graph.Node, end, skip *graph.Value) bool {
	if end == nil || skip == nil || end == skip || end.Producer() == nil || skip.IsConst() || !sameType(skip, sum.Out(0)) {
		return false
	}
	inside := map[*graph.Node]bool{}
	reached := false
	todo := []*graph.Node{end.Producer()}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if inside[n] {
			continue
		}
		inside[n] = true
		for v := range n.Reads() {
			switch {
			case v == skip:
				reached = true
			case v.Init != nil:
			case v.Producer() == nil: // another input
				return false
			default:
				todo = append(todo, v.Producer())
			}
		}
	}
	return reached && servesOnly(inside, sum)
}

// servesOnly reports whether what the nodes make is read by them and by sum
// alone.
func servesOnly(inside map[*graph.Node]bool, sum *graph.Node) bool {
	for n := range inside {
		for _, v := range n.Outs() {
			if v == nil {
				continue
			}
			if v.IsOutput() || slices.ContainsFunc(v.Uses(), func(u graph.Use) bool { return u.Node != sum && !inside[u.Node] }) {
				return false
			}
		}
	}
	return true
}

func sameType(a, b *graph.Value) bool {
	return a.Type != nil && b.Type != nil && len(a.Type.Shape) > 0 && len(a.Type.Shape) == len(b.Type.Shape) &&
		slices.EqualFunc(a.Type.Shape, b.Type.Shape, func(x, y graph.Dim) bool {
			return !x.IsUnknown() && x.Sym == y.Sym && x.Size == y.Size
		})
}

// drop takes the block out of its graph, with the weights that only it used.
func (b block) drop() {
	g := b.sum.Graph()
	g.ReplaceUses(b.sum.Out(0), b.skip)
	dead := []*graph.Node{b.sum}
	for len(dead) > 0 {
		n := dead[0]
		dead = dead[1:]
		if n.Graph() != g || slices.ContainsFunc(n.Outs(), func(v *graph.Value) bool { return v != nil && v.Used() }) {
			continue
		}
		ins := n.Ins()
		g.Remove(n)
		for _, v := range ins {
			switch {
			case v == nil || v.Used():
			case v.IsConst():
				g.DropInit(v)
			case v.Producer() != nil:
				dead = append(dead, v.Producer())
			}
		}
	}
}
