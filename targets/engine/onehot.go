package engine

import (
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// oneHot is the product of a matrix with vectors that are 1 where a number
// equals a constant, and 0 elsewhere: the rows of the matrix by number, zeros
// for a number that is no constant.
type oneHot struct {
	first  int64   // the least constant
	rowOf  []int32 // by number - first; -1 if it is no constant
	width  int
	matrix []float32 // rows of width
}

func (m *oneHot) name() string { return "OneHot+MatMul" }

// eval takes numbers [..., 1] and gives [..., width].
func (m *oneHot) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.Rank() == 0 || x.Shape()[x.Rank()-1] != 1 || !x.DType().IsInteger() {
		return e.Errorf(0, "want integers with 1 in the last axis")
	}
	shape := x.Shape().Clone()
	shape[len(shape)-1] = m.width
	y := e.New(tensor.Float32, shape)
	numbers, dst := tensor.Int64s(x), tensor.Data[float32](y)
	e.Parallel(len(numbers), unaryGrain/m.width+1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			to := dst[i*m.width:][:m.width]
			at := numbers[i] - m.first
			if at < 0 || at >= int64(len(m.rowOf)) || m.rowOf[at] < 0 {
				clear(to)
				continue
			}
			copy(to, m.matrix[int(m.rowOf[at])*m.width:])
		}
	})
	e.SetOut(0, y)
	return nil
}

// combineOneHot makes one operator of
//
//	q = Equal(x, numbers)  c = Cast(q)  y = MatMul(c, w)
//
// for x with 1 in its last axis and distinct constant numbers along it. c may
// be quantized and dequantized in between.
func (o *optimizer) combineOneHot() {
	for n := range o.graph.Nodes() {
		if !n.Is("Equal") {
			continue
		}
		cast, _ := next(n)
		if cast == nil || !cast.Is("Cast") || tensor.DType(cast.Int("to", 0)) != tensor.Float32 {
			continue
		}
		nodes, hot := o.hotBehind(cast)
		product, i := next(nodes[len(nodes)-1])
		if product == nil || !product.Is("MatMul") || i != 0 {
			continue
		}
		x, m, why := o.oneHotOf(n, product)
		if m == nil {
			o.note(n, "no look-up of rows: %s", why)
			continue
		}
		m.scale(hot)
		o.replace(o.insert(product, m, n, x), slices.Concat([]*graph.Node{n}, nodes, []*graph.Node{product})...)
	}
}

// hotBehind returns cast, with the quantization and dequantization behind it if
// they keep 0, and what they make of 1.
func (o *optimizer) hotBehind(cast *graph.Node) ([]*graph.Node, float32) {
	nodes := []*graph.Node{cast}
	quantize, _ := next(cast)
	q, ok := o.quantizes(quantize)
	if !ok {
		return nodes, 1
	}
	dequantize, _ := next(quantize)
	if dequantize == nil {
		return nodes, 1
	}
	d, ok := o.dequantized(dequantize.Out(0))
	if !ok {
		return nodes, 1
	}
	var bytes [2]uint8
	var floats [2]float32
	q.quantize(kernel.Generic(), bytes[:], []float32{0, 1})
	d.dequantize(kernel.Generic(), floats[:], bytes[:])
	if floats[0] != 0 {
		return nodes, 1
	}
	return append(nodes, quantize, dequantize), floats[1]
}

// scale multiplies the rows by a number.
func (m *oneHot) scale(by float32) {
	if by == 1 {
		return
	}
	m.matrix = slices.Clone(m.matrix)
	for i := range m.matrix {
		m.matrix[i] *= by
	}
}

// oneHotOf returns the numbers that an Equal compares with constants and the
// operator that looks them up, or why there is none.
func (o *optimizer) oneHotOf(equal, product *graph.Node) (*graph.Value, *oneHot, string) {
	x, list := equal.In(0), o.constant(equal.In(1))
	if list == nil {
		x, list = equal.In(1), o.constant(equal.In(0))
	}
	if list == nil || !list.DType().IsInteger() || list.Len() == 0 || list.Rank() == 0 || list.Shape()[list.Rank()-1] != list.Len() {
		return nil, nil, "it compares with no constant row of integers"
	}
	if t := x.Type; t == nil || len(t.Shape) < list.Rank() || t.Shape[len(t.Shape)-1] != graph.Known(1) {
		return nil, nil, "the numbers are not known to have 1 in the last axis"
	}
	w := o.constant(product.In(1))
	if w == nil || w.DType() != tensor.Float32 || w.Rank() != 2 || w.Shape()[0] != list.Len() || w.Shape()[1] == 0 {
		return nil, nil, "the matrix is not constant"
	}
	matrix := tensor.Data[float32](w)
	for _, v := range matrix {
		if v != v || math.IsInf(float64(v), 0) {
			return nil, nil, "zero times an element of the matrix is not zero"
		}
	}
	m := &oneHot{width: w.Shape()[1], matrix: matrix}
	if !m.index(tensor.Int64s(list)) {
		return nil, nil, "the constants are not distinct, or far apart"
	}
	return x, m, ""
}

// index fills rowOf, unless the numbers repeat or spread over too wide a
// range.
func (m *oneHot) index(numbers []int64) bool {
	lo, hi := numbers[0], numbers[0]
	for _, v := range numbers {
		lo, hi = min(lo, v), max(hi, v)
	}
	if span := uint64(hi) - uint64(lo); span >= uint64(16*len(numbers)) {
		return false
	}
	m.first, m.rowOf = lo, make([]int32, hi-lo+1)
	for i := range m.rowOf {
		m.rowOf[i] = -1
	}
	for row, v := range numbers {
		if m.rowOf[v-lo] >= 0 {
			return false
		}
		m.rowOf[v-lo] = int32(row)
	}
	return true
}
