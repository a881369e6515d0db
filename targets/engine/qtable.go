package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// table is a function of one 8-bit number with an 8-bit result, looked up.
type table struct {
	result quantized
	bytes  [256]uint8
}

func (t *table) name() string { return "Table" }

func (t *table) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.DType().Bits() != 8 {
		return e.Errorf(0, "want 8-bit integers")
	}
	y := e.New(t.result.typ, x.Shape())
	src, dst := tensor.Data[uint8](x), tensor.Data[uint8](y)
	e.Parallel(len(src), byteGrain, func(lo, hi int) { e.Kernels.Lookup(dst[lo:hi], src[lo:hi], &t.bytes) })
	e.SetOut(0, y)
	return nil
}

// byteGrain is how many bytes of a row are worth a thread.
const byteGrain = 4 * unaryGrain

// tableImage looks up every pixel of an image.
type tableImage struct {
	*table
	in, out halo
}

func (t *tableImage) eval(e *op.Eval) error {
	x, err := imageOf[uint8](e.Tensor(0), t.in)
	if err != nil {
		return err
	}
	y, out := newImage(e, t.result.typ, x.n, x.h, x.w, x.c, t.out, uint8(t.result.zero))
	rows(e, &x, func(n, lo, hi int) {
		for i := lo; i < hi; i++ {
			e.Kernels.Lookup(y.row(n, i), x.row(n, i), &t.bytes)
		}
	})
	e.SetOut(0, out)
	return nil
}

// pointwise are the operators that work element by element.
var pointwise = []string{
	"Abs", "Add", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
	"Identity", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Pow", "Reciprocal", "Relu", "Round",
	"Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Swish", "Tanh", "ThresholdedRelu",
}

// combineTables makes a look-up of whatever is computed element by element
// between 8-bit numbers of one value and 8-bit numbers:
//
//	d = DequantizeLinear(x, …)  s = Sigmoid(d)  e = DequantizeLinear(QuantizeLinear(s, …), …)
//	m = Mul(d, e)  y = QuantizeLinear(m, …)
//
// is a function of a byte. What it gives is computed by the portable kernels,
// so it is the same on every target.
func (o *optimizer) combineTables() {
	t := tabulator{optimizer: o, roots: map[*graph.Value]*graph.Value{}}
	for n := range o.graph.Nodes() {
		result, ok := o.quantizes(n)
		if !ok {
			continue
		}
		y := n.Out(0)
		x := t.root(y)
		if x == nil || x == y || !sameRank(x, y) {
			continue
		}
		if m, ok := t.tabulate(x, y, result); ok {
			if m.same() && x.Type.Elem == result.typ && o.graph.Replace(y, x) {
				continue
			}
			o.replace(o.insert(n, m, n, x), n)
		}
	}
	o.dropDead()
}

// sameRank reports whether two values are known to have equally many axes.
func sameRank(a, b *graph.Value) bool {
	return a.Type != nil && b.Type != nil && a.Type.Shape != nil && b.Type.Shape != nil && len(a.Type.Shape) == len(b.Type.Shape)
}

// same reports whether the table gives every number itself.
func (t *table) same() bool {
	for i, v := range t.bytes {
		if int(v) != i {
			return false
		}
	}
	return true
}

// tabulator finds values that are functions of one 8-bit value.
type tabulator struct {
	*optimizer
	roots map[*graph.Value]*graph.Value
}

// root returns the 8-bit value that v is a function of, element by element;
// v itself if v is 8-bit and of no other; nil if there is none.
func (t *tabulator) root(v *graph.Value) *graph.Value {
	if r, ok := t.roots[v]; ok {
		return r
	}
	t.roots[v] = nil // until it is known
	r := t.rootOf(v)
	t.roots[v] = r
	return r
}

func (t *tabulator) rootOf(v *graph.Value) *graph.Value {
	n := v.Producer()
	if n != nil {
		if _, ok := t.quantizes(n); ok {
			return orElse(t.root(n.In(0)), v)
		}
		if q, ok := t.dequantized(v); ok {
			return orElse(t.root(q.value), q.value)
		}
		if _, ok := t.src.info[n].machine.(*table); ok {
			return orElse(t.root(n.In(0)), n.In(0))
		}
	}
	if n == nil || n.Domain != "" || !t.isFloat32(v) || n.NumOut() != 1 || !slices.Contains(pointwise, n.Op) {
		return nil
	}
	return t.commonRoot(n)
}

func orElse(v, fallback *graph.Value) *graph.Value {
	if v != nil {
		return v
	}
	return fallback
}

// commonRoot returns the root of the operands of n that are not single
// constants, nil if they have several.
func (t *tabulator) commonRoot(n *graph.Node) *graph.Value {
	var root *graph.Value
	for _, v := range n.Ins() {
		if v == nil || t.single(v) != nil {
			continue
		}
		r := t.root(v)
		if r == nil || root != nil && r != root {
			return nil
		}
		root = r
	}
	return root
}

// single returns a constant of one element as a scalar, nil if v is no such
// thing.
func (t *tabulator) single(v *graph.Value) *tensor.Tensor {
	c := t.constant(v)
	if c == nil || c.Len() != 1 {
		return nil
	}
	return c.Reshape(tensor.Shape{})
}

// tabulate computes y for every number that x can hold.
func (t *tabulator) tabulate(x, y *graph.Value, result quantized) (*table, bool) {
	if x.Type == nil || x.Type.Kind != graph.KindTensor || x.Type.Elem.Bits() != 8 {
		return nil, false
	}
	every := make([]uint8, 256)
	for i := range every {
		every[i] = uint8(i)
	}
	known := map[*graph.Value]tensor.Value{x: tensor.Of(tensor.Shape{256}, every).Bitcast(x.Type.Elem)}
	out, ok := t.compute(y, known).(*tensor.Tensor)
	if !ok || out.Len() != 256 || out.DType() != result.typ {
		return nil, false
	}
	m := &table{result: result}
	copy(m.bytes[:], tensor.Data[uint8](out))
	return m, true
}

// compute returns the contents of v, nil if they cannot be had.
func (t *tabulator) compute(v *graph.Value, known map[*graph.Value]tensor.Value) tensor.Value {
	if x, ok := known[v]; ok {
		return x
	}
	if c := t.single(v); c != nil {
		return c
	}
	n := v.Producer()
	if n == nil {
		return nil
	}
	info := t.src.info[n]
	eval := info.eval()
	if eval == nil {
		return nil
	}
	e := &op.Eval{
		Call: op.Call{Node: n, Version: info.version}, Kernels: kernel.Generic(),
		In: make([]tensor.Value, n.NumIn()), Out: make([]tensor.Value, 1),
	}
	for i, in := range n.Ins() {
		if in == nil {
			continue
		}
		if e.In[i] = t.compute(in, known); e.In[i] == nil {
			return nil
		}
	}
	if call(&step{node: n, info: info, eval: eval}, e) != nil {
		return nil
	}
	known[v] = e.Out[0]
	return e.Out[0]
}
