package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// qconv is a convolution of 8-bit images with 8-bit or float32 result:
//
//	y = Quantize(act(Conv(Dequantize(x), Dequantize(w)) + bias))
//
// The sums are integers; the halo of x holds its zero point.
type qconv struct {
	convGeometry
	integerWeights
	sparse *sparseIntegers // instead of the packed weights; nil if they are dense
	x      quantized
	requantization
}

func (c *qconv) name() string {
	if c.sparse != nil {
		return "SparseQConv"
	}
	return "QConv"
}

func (c *qconv) zeroPoint() uint8 { return uint8(c.x.zero) }

// newQConv packs the weights, [cout, cin/groups, kh, kw].
func newQConv(k *kernel.Table, mem *packer, w window, groups int, weights quantWeights, x quantized, r func(sums []int32) requantization) *qconv {
	s := weights.shape
	c := &qconv{convGeometry: convGeometry{window: w, groups: groups, cin: s[1] * groups, cout: s[0]}, x: x}
	c.requantization = r(weights.sums())
	weights.order(func(w []int8) []int8 { return bytesLast(w, s[0], s[1], s[2]*s[3]) })
	if groups == 1 && weights.rest == nil && c.result.typ != tensor.Undefined {
		if c.sparse = newSparseIntegers(k, x.typ, weights.data, s[0], c.bias); c.sparse != nil {
			return c
		}
	}
	_, taps := c.taps(&pixels{c: c.cin, h: 1, w: 1})
	c.integerWeights = mem.integers(k, x.typ, &weights, len(taps), groups)
	return c
}

func (c *qconv) eval(e *op.Eval) error {
	x, err := imageOf[uint8](e.Tensor(0), c.in)
	if err != nil {
		return err
	}
	if x.c != c.cin {
		return e.Errorf(0, "%v has %d channels, want %d", &x, x.c, c.cin)
	}
	p, err := c.planFor(x.n, x.h, x.w)
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	if c.result.typ == tensor.Undefined {
		y, t := newImage[float32](e, tensor.Float32, x.n, p.oh, p.ow, c.cout, c.out, 0)
		c.run(e, p, x.data, func(prod *kernel.ProductI8, from int) { prod.Out, prod.CF = kernel.OutF32, y.data[from:] })
		e.SetOut(0, t)
		return nil
	}
	made := c.made()
	y, t := newImage(e, made.typ, x.n, p.oh, p.ow, c.cout, c.out, uint8(made.zero))
	if c.sparse != nil {
		prod := kernel.ProductI8{Geometry: p.Geometry, A: x.data, C8: y.data, Bias: c.bias, Scale: c.scale, Lo: c.lo, Hi: c.hi, Zero: c.result.zero}
		c.sparse.multiply(e, &prod, c.table)
		e.SetOut(0, t)
		return nil
	}
	c.run(e, p, x.data, func(prod *kernel.ProductI8, from int) {
		prod.Out, prod.C8, prod.Zero = kernel.OutQ8, y.data[from:], c.result.zero
	})
	e.SetOut(0, t)
	return nil
}

// run computes all groups; to sets the destination of a product whose first
// filter is the given one.
func (c *qconv) run(e *op.Eval, p *convPlan, x []uint8, to func(prod *kernel.ProductI8, from int)) {
	each, perGroup := c.cin/c.groups, c.cout/c.groups
	for g := range c.groups {
		from := g * perGroup
		prod := kernel.ProductI8{
			Geometry: p.Geometry, A: x[g*each:], B: c.packed[g], Extra: c.extra,
			Bias: c.bias[from:], Scale: c.scale[from:], Lo: c.lo, Hi: c.hi,
		}
		if c.add != nil {
			prod.Add = c.add[from:]
		}
		to(&prod, from)
		productI8(e, c.gemm, &prod, c.finisher())
	}
}
