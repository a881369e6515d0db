package train

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// param is a trained tensor, or a statistic that training moves.
type param struct {
	name   string
	tensor *tensor.Tensor // float32, owned
	w      []float32      // its elements
	decays bool           // weight decay applies
	kept   []bool         // elements that may differ from zero, nil for all
}

func newParam(name string, t *tensor.Tensor) *param {
	c := t.Clone()
	return &param{name: name, tensor: c, w: tensor.Data[float32](c), decays: matrixLike(t.Shape())}
}

// matrixLike reports whether a shape has more than one axis that counts:
// norms' scales and biases have one, also where they are written [1,C,1,1].
func matrixLike(s tensor.Shape) bool {
	n := 0
	for _, d := range s {
		if d > 1 {
			n++
		}
	}
	return n > 1
}

// lockZeros makes the elements that are zero now stay zero.
func (p *param) lockZeros() {
	if !p.decays || !slices.Contains(p.w, 0) {
		return
	}
	p.kept = make([]bool, len(p.w))
	for i, x := range p.w {
		p.kept[i] = x != 0
	}
}

// weightSlots are the inputs of operators that training moves, where they are
// float initializers.
var weightSlots = map[string][]int{
	"Conv": {1, 2}, "ConvTranspose": {1, 2}, "Gemm": {0, 1, 2}, "MatMul": {0, 1},
	"BatchNormalization": {1, 2}, "InstanceNormalization": {1, 2}, "GroupNormalization": {1, 2},
	"LayerNormalization": {1, 2}, "RMSNormalization": {1}, "SimplifiedLayerNormalization": {1},
	"PRelu": {1}, "LSTM": {1, 2, 3, 7}, "GRU": {1, 2, 3}, "RNN": {1, 2, 3}, "Gather": {0},
	"Einsum": {0, 1}, "QuantizeLinear": {0},
}

// shiftOps take a constant as a bias or gain, unless they work on a graph
// input: then it belongs to the preparation of data.
var shiftOps = []string{"Add", "Sub", "Mul", "Div"}

// movers hand a weight on in another form.
var movers = []string{"Transpose", "Reshape", "Unsqueeze", "Squeeze", "Identity"}

// isWeight reports whether something uses v as a weight that can be trained.
func isWeight(v *graph.Value) bool {
	for _, u := range v.Uses() {
		n := u.Node
		switch {
		case slices.Contains(weightSlots[n.Op], u.Index):
			return true
		case n.Is(movers...) && u.Index == 0 && n.Out(0) != nil && isWeight(n.Out(0)):
			return true
		case n.Is(shiftOps...) && shifts(n, u.Index):
			return true
		}
	}
	return false
}

// shifts reports whether input i of n is a bias or gain with an element for
// each of several features.
func shifts(n *graph.Node, i int) bool {
	other := n.In(1 - i)
	return other != nil && !other.IsInput() && other.Init == nil && n.In(i).Init.Shape().Len() > 1
}

// isFloats reports whether v is an initializer of float32 elements that no
// caller overrides.
func isFloats(v *graph.Value) bool {
	return v.IsConst() && v.Init.Tensor != nil && v.Init.Tensor.DType() == tensor.Float32
}

// batchNorms returns the BatchNormalization nodes of g whose statistics are
// constants of their own.
func batchNorms(g *graph.Graph) []*graph.Node {
	var list []*graph.Node
	for n := range g.Nodes() {
		if n.Is("BatchNormalization") && n.In(3) != nil && n.In(4) != nil && isFloats(n.In(3)) && isFloats(n.In(4)) &&
			n.In(3).NumUses() == 1 && n.In(4).NumUses() == 1 {
			list = append(list, n)
		}
	}
	return list
}
