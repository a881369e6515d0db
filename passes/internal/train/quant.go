package train

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// quantWeight is an initializer of integers that trains as floats:
//
//	w = DequantizeLinear (wq, scale, zero)
//	=>
//	w = DequantizeLinear (QuantizeLinear (wf, scale, zero), scale, zero)
//
// and where the integers are of 32 bits, which no QuantizeLinear makes, wf is
// w itself. The floats are rounded to integers at the end.
type quantWeight struct {
	name, float string
	scaleName   string
	dtype       tensor.DType
	shape       tensor.Shape
	scale, zero []float64 // one, or one for each index of axis
	axis        int
	factors     [2]string // of an int32 bias, whose scale is the product of these two; empty if it is not
}

// floatWeights finds the weights that are stored in integers.
func (b *base) floatWeights() error {
	g := b.model.Graph
	for n := range g.Nodes() {
		if !n.Is("DequantizeLinear") || !isStored(n) {
			continue
		}
		wq := n.In(0)
		q, err := newQuantWeight(n)
		if err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
		f := g.AddInit(g.Fresh(q.name+"/float"), q.floats(wq.Init.Tensor))
		q.float, q.scaleName = f.Name(), n.In(1).Name()
		b.quant = append(b.quant, q)
		if q.dtype == tensor.Int32 {
			q.factors = biasFactors(n)
			g.ReplaceUses(n.Out(0), f)
			g.Remove(n)
		} else {
			quantize := graph.NewNode("", "QuantizeLinear", []*graph.Value{f, n.In(1), n.In(2)}, 1)
			if a := n.Attr("axis"); a != nil {
				quantize.SetAttr(a.Clone())
			}
			g.InsertBefore(n, quantize)
			n.SetIn(0, quantize.Out(0))
		}
		g.DropInit(wq)
	}
	return nil
}

// isStored reports whether n reads integers that only it reads, with constant
// scales.
func isStored(n *graph.Node) bool {
	q, s, z := n.In(0), n.In(1), n.In(2)
	if q == nil || s == nil || !q.IsConst() || q.Init.Tensor == nil || q.NumUses() != 1 || q.IsOutput() || !isFloats(s) {
		return false
	}
	switch q.Init.Tensor.DType() {
	case tensor.Int8, tensor.Uint8, tensor.Int32:
	default:
		return false
	}
	return (z == nil || z.IsConst() && z.Init.Tensor != nil) && n.Int("block_size", 0) == 0 && !n.Out(0).IsOutput()
}

func newQuantWeight(n *graph.Node) (*quantWeight, error) {
	t, scale := n.In(0).Init.Tensor, n.In(1).Init.Tensor
	q := &quantWeight{name: n.In(0).Name(), dtype: t.DType(), shape: t.Shape(), scale: tensor.Float64s(scale), zero: make([]float64, scale.Len())}
	if z := n.In(2); z != nil {
		q.zero = tensor.Float64s(z.Init.Tensor)
	}
	if len(q.scale) == 1 {
		return q, nil
	}
	axis, err := tensor.Axis(int(n.Int("axis", 1)), t.Rank())
	if err != nil {
		return nil, err
	}
	if t.Shape()[axis] != len(q.scale) || len(q.zero) != len(q.scale) {
		return nil, fmt.Errorf("%d scales for axis %d of %v", len(q.scale), axis, t)
	}
	q.axis = axis
	return q, nil
}

// at returns the place of the scale of element i.
func (q *quantWeight) at(i int) int {
	if len(q.scale) == 1 {
		return 0
	}
	return i / q.shape.Strides()[q.axis] % q.shape[q.axis]
}

func (q *quantWeight) floats(t *tensor.Tensor) *tensor.Tensor {
	out := tensor.New(tensor.Float32, q.shape)
	y := tensor.Data[float32](out)
	for i, x := range tensor.Float64s(t) {
		k := q.at(i)
		y[i] = float32((x - q.zero[k]) * q.scale[k])
	}
	return out
}

// round puts the integers that the trained floats stand for in the place of
// the floats.
func (q *quantWeight) round(all map[string]*tensor.Tensor) {
	f := all[q.float]
	if f == nil {
		return
	}
	delete(all, q.float)
	lo, hi := -128.0, 127.0
	switch q.dtype {
	case tensor.Uint8:
		lo, hi = 0, 255
	case tensor.Int32:
		lo, hi = math.MinInt32, math.MaxInt32
	}
	x := make([]float64, f.Len())
	for i, v := range tensor.Float64s(f) {
		k := q.at(i)
		x[i] = min(max(math.RoundToEven(v/q.scale[k])+q.zero[k], lo), hi)
	}
	all[q.name] = tensor.FromFloat64s(q.dtype, q.shape, x)
}
