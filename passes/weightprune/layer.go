package weightprune

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// use is a place where a weight is multiplied by inputs.
type use struct {
	node *graph.Node
	slot int
}

// layer is a constant weight that can be pruned, with all nodes that read it.
type layer struct {
	name   string
	value  *graph.Value // an initializer, or the result of a Constant
	uses   []use
	matrix *saliency.Matrix
	dtype  tensor.DType
	shape  tensor.Shape

	first   []float64                 // the elements as they were found
	w       []float64                 // the elements before the current step
	inputs  []*saliency.Inputs        // of each use; none without calibration
	moments *saliency.Moments         // of its inputs; nil without calibration
	scores  []float64                 // of its weights, by the pass's criterion
	worth   func(group int) []float64 // of its weights, by row and column, where some count more; or nil
}

// layers returns the weights of the main graph and of subgraphs that can be
// pruned, in order, each once. Nodes that are left out are reported.
func layers(j *passes.Job, o *Options) []*layer {
	var list []*layer
	seen := map[*graph.Value]bool{}
	for n := range j.Model.Nodes(graph.InMain | graph.InSubgraphs) {
		slot, ok := weightSlot(n)
		if !ok {
			continue
		}
		v := n.In(slot)
		if v == nil || seen[v] {
			continue
		}
		seen[v] = true
		l, why := newLayer(v, n, slot)
		if why == "" {
			why = o.refuses(l)
		}
		if why != "" {
			j.Skip(n, "%s", why)
			continue
		}
		list = append(list, l)
	}
	return list
}

// weightSlot returns which input of n is its weight, if n is a product with
// one: that which graph/op names, or, of a matrix product whose other operand
// is constant, the first.
func weightSlot(n *graph.Node) (int, bool) {
	d := op.Find(n.Domain, n.Op, n.Opset())
	if d == nil || d.Quant == nil || d.Quant.Class != op.QuantInteger || d.Quant.Weight < 0 {
		return 0, false
	}
	slot := d.Quant.Weight
	if n.Is("MatMul", "Gemm") && literalOf(n.In(slot)) == nil && literalOf(n.In(0)) != nil {
		slot = 0
	}
	return slot, true
}

// literalOf returns the contents of an initializer or of the result of a
// Constant, nil for other values.
func literalOf(v *graph.Value) *graph.Literal {
	switch {
	case v == nil:
		return nil
	case v.IsConst():
		return v.Init
	case v.Producer() != nil && v.Producer().Is("Constant"):
		if a := v.Producer().Attr("value"); a != nil && len(a.Literals) == 1 {
			return a.Literals[0]
		}
	}
	return nil
}

// contents returns the elements of a literal.
func contents(l *graph.Literal) (*tensor.Tensor, error) {
	if l.Sparse != nil {
		return l.Sparse.Dense()
	}
	return l.Tensor, nil
}

// newLayer returns the layer of weight v, which n reads, or why it cannot be
// pruned.
func newLayer(v *graph.Value, n *graph.Node, slot int) (*layer, string) {
	lit := literalOf(v)
	if lit == nil {
		return nil, "its weight is not constant"
	}
	if !lit.DType().IsFloat() {
		return nil, "its weight is " + lit.DType().String() + ", want floats"
	}
	t, err := contents(lit)
	if err != nil {
		return nil, err.Error()
	}
	l := &layer{name: nameOf(n), value: v, dtype: t.DType(), shape: t.Shape()}
	if l.matrix, err = saliency.MatrixOf(n, slot, l.shape); err != nil {
		return nil, err.Error()
	}
	if t.Len() == 0 {
		return nil, "its weight is empty"
	}
	if v.IsOutput() {
		return nil, "its weight is an output of the graph"
	}
	if why := l.readers(); why != "" {
		return nil, why
	}
	l.first = append([]float64(nil), tensor.Float64s(t)...)
	l.w = l.first
	return l, ""
}

// readers lists the uses of the weight, or says why one of them forbids to
// prune it.
func (l *layer) readers() string {
	for _, u := range l.value.Uses() {
		slot, ok := weightSlot(u.Node)
		if !ok || slot != u.Index {
			return fmt.Sprintf("its weight is also read by %v", u.Node)
		}
		m, err := saliency.MatrixOf(u.Node, slot, l.shape)
		if err != nil || !m.Equal(l.matrix) {
			return fmt.Sprintf("its weight is used in another way by %v", u.Node)
		}
		l.uses = append(l.uses, use{u.Node, slot})
	}
	return ""
}

// nameOf returns what patterns of node names are matched with.
func nameOf(n *graph.Node) string {
	if n.Name == "" && n.Out(0) != nil {
		return n.Out(0).Name()
	}
	return n.Name
}

// current returns the elements of the weight as the model has them now.
func (l *layer) current() []float64 {
	t, err := contents(literalOf(l.value))
	if err != nil {
		panic("weightprune: " + err.Error()) // it could be read before
	}
	return tensor.Float64s(t)
}

// set gives the weight new elements.
func (l *layer) set(x []float64) {
	t := tensor.FromFloat64s(l.dtype, l.shape, x)
	if p := l.value.Producer(); p != nil {
		p.SetAttr(graph.TensorAttr("value", t))
		return
	}
	l.value.Graph().SetInit(l.value, &graph.Literal{Tensor: t})
}

func zerosIn(x []float64) int {
	n := 0
	for _, v := range x {
		if v == 0 {
			n++
		}
	}
	return n
}
