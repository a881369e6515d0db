package engine

import (
	"bytes"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// quantized is an integer value with what its numbers stand for:
// scale * (q - zero).
type quantized struct {
	value *graph.Value
	typ   tensor.DType // Uint8 or Int8
	scale float32
	zero  int32
}

// low and high return the range of the quantized type.
func (q *quantized) low() int32 {
	if q.typ == tensor.Int8 {
		return math.MinInt8
	}
	return 0
}

func (q *quantized) high() int32 { return q.low() + math.MaxUint8 }

// dequantized returns what v is dequantized from, if that has one scale and
// eight bits.
func (o *optimizer) dequantized(v *graph.Value) (quantized, bool) {
	if v == nil || v.Producer() == nil || !isQuantOp(v.Producer(), "DequantizeLinear") {
		return quantized{}, false
	}
	n := v.Producer()
	return o.quantOf(n, n.In(0))
}

// quantizes returns what n quantizes its input to, if n does.
func (o *optimizer) quantizes(n *graph.Node) (quantized, bool) {
	if n == nil || !isQuantOp(n, "QuantizeLinear") || !o.isFloat32(n.In(0)) {
		return quantized{}, false
	}
	return o.quantOf(n, n.Out(0))
}

func isQuantOp(n *graph.Node, name string) bool {
	return n.Op == name && (n.Domain == "" || n.Domain == "com.microsoft")
}

// quantOf reads the scale and zero point of a quantizing or dequantizing node
// whose integer side is v.
func (o *optimizer) quantOf(n *graph.Node, v *graph.Value) (quantized, bool) {
	if v.Type == nil || v.Type.Kind != graph.KindTensor {
		return quantized{}, false
	}
	q := quantized{value: v, typ: v.Type.Elem}
	if q.typ != tensor.Uint8 && q.typ != tensor.Int8 || n.Int("block_size", 0) != 0 {
		return q, false
	}
	scale, ok := o.scalar(n.In(1))
	if !ok || !(scale > 0) {
		return q, false
	}
	q.scale = scale
	if z := n.In(2); z != nil {
		t := o.constant(z)
		if t == nil || t.Len() != 1 || t.DType() != q.typ {
			return q, false
		}
		q.zero = int32(tensor.Int64s(t)[0])
	}
	return q, true
}

// quantWeights are constant int8 weights with a scale for each filter.
type quantWeights struct {
	data   []int8 // in the order of the model's tensor
	rest   []int8 // what is to be added to data, which does not fit int8; nil if all fits
	shape  tensor.Shape
	scales []float32 // one for each index of the axis
}

// weights returns the integers and scales that v, constant, is dequantized
// from: symmetric per tensor or along the given axis, or in uint8 as far as
// the differences to the zero point fit int8.
func (o *optimizer) weights(v *graph.Value, axis int) (quantWeights, bool) {
	w := quantWeights{}
	if v == nil || v.Producer() == nil || !isQuantOp(v.Producer(), "DequantizeLinear") {
		return w, false
	}
	n := v.Producer()
	q, scale := o.constant(n.In(0)), o.constant(n.In(1))
	if q == nil || scale == nil || scale.DType() != tensor.Float32 || n.Int("block_size", 0) != 0 {
		return w, false
	}
	if q.DType() != tensor.Int8 && q.DType() != tensor.Uint8 || q.Rank() < 2 {
		return w, false
	}
	w.shape = q.Shape()
	count := w.shape[axis]
	if scale.Len() != 1 && (scale.Len() != count || modulo(int(n.Int("axis", 1)), q.Rank()) != axis) {
		return w, false
	}
	w.scales = make([]float32, count)
	for i := range w.scales {
		w.scales[i] = tensor.Data[float32](scale)[i%scale.Len()]
	}
	zeros := make([]int64, 1)
	if n.In(2) != nil {
		z := o.constant(n.In(2))
		if z == nil || z.Len() != 1 && z.Len() != count {
			return w, false
		}
		zeros = tensor.Int64s(z)
	}
	return w, w.center(q, zeros, axis)
}

// denseIntegers reports whether v is dequantized from integers so few of which
// stand for zero that it is beyond the limit: then it need not be dequantized
// to see that.
func (o *optimizer) denseIntegers(v *graph.Value, limit sparseLimit) bool {
	if v == nil || v.Producer() == nil || !isQuantOp(v.Producer(), "DequantizeLinear") {
		return false
	}
	q, zero := o.constant(v.Producer().In(0)), uint8(0)
	if z := v.Producer().In(2); z != nil {
		t := o.constant(z)
		if t == nil || t.Len() == 0 || t.DType().Bits() != 8 {
			return false
		}
		zero = t.Bytes()[0]
		if slices.ContainsFunc(t.Bytes(), func(b byte) bool { return b != zero }) {
			return false
		}
	}
	if q == nil || q.DType().Bits() != 8 {
		return false
	}
	zeros := bytes.Count(q.Bytes(), []byte{zero})
	return float64(q.Len()-zeros) > max(limit.blocks, limit.single)*float64(q.Len())
}

// center stores the integers q of 8 bits minus their zero points: as two
// summands where int8 is too narrow for them, if they fit in two.
func (w *quantWeights) center(q *tensor.Tensor, zeros []int64, axis int) bool {
	per, signed := 1, q.DType() == tensor.Int8
	for _, d := range w.shape[axis+1:] {
		per *= d
	}
	if signed && !slices.ContainsFunc(zeros, func(z int64) bool { return z != 0 }) {
		w.data = tensor.Data[int8](q)
		return true
	}
	data := tensor.Data[uint8](q)
	w.data = make([]int8, len(data))
	for i := 0; i < len(data); i += per {
		zero := zeros[i/per%w.shape[axis]%len(zeros)]
		for j, b := range data[i : i+per] {
			x := int64(b) - zero
			if signed {
				x = int64(int8(b)) - zero
			}
			fit := min(max(x, math.MinInt8), math.MaxInt8)
			w.data[i+j] = int8(fit)
			if x == fit {
				continue
			}
			if x-fit > math.MaxInt8 {
				return false
			}
			if w.rest == nil {
				w.rest = make([]int8, len(data))
			}
			w.rest[i+j] = int8(x - fit)
		}
	}
	return true
}

// order replaces the integers by what f makes of them, in another order.
func (w *quantWeights) order(f func([]int8) []int8) {
	w.data = f(w.data)
	if w.rest != nil {
		w.rest = f(w.rest)
	}
}

// sums returns the sum of the integers of each index of the first axis.
func (w *quantWeights) sums() []int32 {
	sums := make([]int32, w.shape[0])
	per := len(w.data) / len(sums)
	for _, part := range [][]int8{w.data, w.rest} {
		for i := range len(part) / per {
			sums[i] += kernel.SumS8(part[i*per : (i+1)*per])
		}
	}
	return sums
}

// bytesLast is [channelsLast] of integers; the result may be src.
func bytesLast(src []int8, n, channels, taps int) []int8 {
	if taps == 1 {
		return src
	}
	dst := make([]int8, len(src))
	each := channels * taps
	for i := range n {
		kernel.TransposeBytes(kernel.Bytes(dst[i*each:(i+1)*each]), channels, kernel.Bytes(src[i*each:(i+1)*each]), taps, channels, taps)
	}
	return dst
}

func modulo(axis, rank int) int { return (axis%rank + rank) % rank }

// requantization is the epilogue of an integer product whose sums stand for
// in.scale * scales[j] * sum: the parameters of the kernels' OutQ8, or of
// OutF32 if there is no quantized result.
type requantization struct {
	result quantized // typ is Undefined for a float result
	scale  []float32
	bias   []int32   // nil if none
	add    []float32 // of a float result; nil if none
	lo, hi float32
	table  *table // of the result, nil if none
}

// made describes the quantized numbers that come out, look-up included.
func (r *requantization) made() quantized {
	if r.table != nil {
		return r.table.result
	}
	return r.result
}

// finisher returns what looks up what a kernel stored; nil if there is no
// table.
func (r *requantization) finisher() finisher {
	if r.table == nil {
		return nil
	}
	return func(k *kernel.Table, p *kernel.ProductI8, from, end int) {
		row := p.C8[from:end]
		k.Lookup(row, row, &r.table.bytes)
	}
}

// requantize plans the epilogue. bias is float, nil if none; colSums are the
// sums of the weights, by which the zero point of the operand is taken out.
func requantize(in quantized, scales, bias []float32, colSums []int32, act activation, out quantized) requantization {
	r := requantization{result: out, scale: make([]float32, len(scales)), bias: make([]int32, len(scales))}
	for j := range scales {
		unit := float64(in.scale) * float64(scales[j])
		r.bias[j] = -in.zero * colSums[j]
		r.scale[j] = float32(unit)
		if out.typ != tensor.Undefined {
			r.scale[j] = in.scale * scales[j] / out.scale
			if bias != nil && bias[j] != 0 {
				r.bias[j] += int32(math.RoundToEven(float64(bias[j]) / unit))
			}
		}
	}
	r.lo, r.hi = float32(math.Inf(-1)), float32(math.Inf(1))
	if act.lo != 0 || act.hi != 0 {
		r.lo, r.hi = act.lo, act.hi
	}
	if out.typ == tensor.Undefined {
		r.add = bias
		return r
	}
	r.lo = max(r.lo/out.scale, float32(out.low()-out.zero))
	r.hi = min(r.hi/out.scale, float32(out.high()-out.zero))
	return r
}

// fitsBias reports whether float biases can be stated in units of the sums of
// products of in's numbers with w, and added to them without leaving int32.
// Each index of w's first axis has a bias.
func (w *quantWeights) fitsBias(bias []float32, in quantized) bool {
	per := len(w.data) / len(bias)
	sizes := func(list []int8) (sum int64) {
		for _, x := range list {
			sum += max(int64(x), -int64(x))
		}
		return sum
	}
	fits := func(j int, sum int64) bool {
		limit := float64(math.MaxInt32 - 2*math.MaxUint8*sum)
		return math.Abs(float64(bias[j])) <= float64(in.scale)*float64(w.scales[j])*limit
	}
	for j := range bias {
		if fits(j, int64(per)*math.MaxUint8) {
			continue
		}
		sum := sizes(w.data[j*per : (j+1)*per])
		if w.rest != nil {
			sum += sizes(w.rest[j*per : (j+1)*per])
		}
		if !fits(j, sum) {
			return false
		}
	}
	return true
}
