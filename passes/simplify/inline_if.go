package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// InlineIf puts the branch that is taken in the place of an If whose
// condition is constant.
var InlineIf = passes.Define(passes.Pass{
	Name: "inline-if",
	Doc: `put the branch that is taken in the place of an If whose condition is constant

Names that the graph around uses already are given numbers.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("If") {
			return
		}
		t := constant(n.In(0))
		if t == nil || t.DType() != tensor.Bool || t.Len() != 1 {
			return
		}
		name := "else_branch"
		if t.Bytes()[0] != 0 {
			name = "then_branch"
		}
		a := n.Attr(name)
		if a == nil || len(a.Graphs) != 1 {
			return
		}
		inlineBranch(n, a.Graphs[0])
		j.Changed(1)
	})
	return nil
})

// inlineBranch moves what branch holds in front of n and removes n.
func inlineBranch(n *graph.Node, branch *graph.Graph) {
	g := n.Graph()
	for _, v := range branch.Inits() {
		w := g.AddInit(v.Name(), v.Init.Tensor)
		g.SetInit(w, v.Init)
		redirect(branch, v, w)
	}
	for b := range branch.Nodes() {
		moveOut(b, n, branch)
	}
	results := branch.Outputs()
	for i, v := range n.Outs() {
		if v == nil || !v.Used() {
			continue
		}
		if !g.Replace(v, results[i]) {
			id := graph.NewNode("", "Identity", []*graph.Value{results[i]}, 1)
			g.InsertBefore(n, id)
			g.Replace(v, id.Out(0))
		}
	}
	g.Remove(n)
}

// moveOut puts a copy of b, a node of branch, before at, a node of the graph
// around it; what read b's results reads the copy's.
func moveOut(b, at *graph.Node, branch *graph.Graph) {
	g := at.Graph()
	m := graph.NewNode(b.Domain, b.Op, b.Ins(), b.NumOut())
	m.Name, m.Overload, m.Doc, m.Metadata = b.Name, b.Overload, b.Doc, b.Metadata
	m.Devices, m.Unknown = b.Devices, b.Unknown
	for _, a := range b.Attrs() {
		m.SetAttr(a) // first, or the subgraphs would be emptied
		b.DropAttr(a.Name)
	}
	g.InsertBefore(at, m)
	for i := b.NumOut() - 1; i >= 0; i-- {
		v, w := b.Out(i), m.Out(i)
		if v == nil {
			m.DropOut(i)
			continue
		}
		name := v.Name()
		if g.Lookup(name) != nil {
			name = g.Fresh(name)
		}
		g.Rename(w, name)
		w.Type, w.Inferred = v.Type, true
		redirect(branch, v, w)
	}
}

// redirect makes every reader of v, and the outputs of g, take w instead.
func redirect(g *graph.Graph, v, w *graph.Value) {
	g.ReplaceUses(v, w)
	for i, o := range g.Outputs() {
		if o == v {
			g.SetOutput(i, w)
		}
	}
}
