package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// conv is a convolution of float32 images with bias, residual and activation:
//
//	y = act(Conv(x, w) + bias + res)
//	y = act(Conv(x, w) + bias) + res
type conv struct {
	convGeometry
	packed [][]float32 // per group
	tiled  *winograd   // computes it in tiles where that pays; nil if it never does
	first  firstPack   // of packed, if tiled is not nil
	bias   []float32   // nil if none
	act    activation
	added  residual
}

// residual says where a convolution adds its input 1.
type residual uint8

const (
	noResidual residual = iota
	beforeActivation
	behindActivation
)

func (c *conv) name() string {
	if c.act.name != "" {
		return "Conv+" + c.act.name
	}
	return "Conv"
}

// newConv takes weights [cout, cin/groups, kh, kw]. They are packed with mem, or
// at the first run if that decides how the convolution is computed.
func newConv(k *kernel.Table, mem *packer, w window, groups int, weights *tensor.Tensor, bias []float32, act activation) *conv {
	s := weights.Shape()
	c := &conv{convGeometry: convGeometry{window: w, groups: groups, cin: s[1] * groups, cout: s[0]}, bias: bias, act: act}
	if tiledBy(&w, groups, c.cin, c.cout) {
		c.tiled = newWinograd(k, weights)
		c.first.pack = func(mem *packer) { c.packed = packFilters(k, mem, weights, groups) }
	} else {
		c.packed = packFilters(k, mem, weights, groups)
	}
	return c
}

// weights returns the packed filters of each group.
func (c *conv) weights(e *op.Eval) [][]float32 {
	if c.tiled != nil {
		c.first.do(e)
	}
	return c.packed
}

// packFilters returns memory that mem fills with the packed filters of each
// group.
func packFilters(k *kernel.Table, mem *packer, weights *tensor.Tensor, groups int) [][]float32 {
	s := weights.Shape()
	perGroup, channels, taps := s[0]/groups, s[1], s[2]*s[3]
	depth, nr := channels*taps, k.GemmF32.NR
	var all [][]float32
	for range groups {
		all = append(all, mem.floats(k.GemmF32.PackedLen(depth, perGroup)))
	}
	panels := ceilDiv(perGroup, nr)
	mem.add(weights, groups*panels, func(lo, hi int) {
		src := tensor.Data[float32](weights)
		var panel []float32 // [channels, taps, nr]
		if taps > 1 {
			panel = make([]float32, depth*nr)
		}
		for i := lo; i < hi; i++ {
			first := i % panels * nr
			dst := all[i/panels][first*depth:][:nr*depth]
			from := src[(i/panels*perGroup+first)*depth:]
			if taps == 1 {
				k.PackF32(dst, from, depth, min(nr, perGroup-first), depth, true)
				continue
			}
			k.PackF32(panel, from, depth, min(nr, perGroup-first), depth, true)
			for ch := range channels {
				for t := range taps {
					copy(dst[(t*channels+ch)*nr:][:nr], panel[(ch*taps+t)*nr:])
				}
			}
		}
	})
	return all
}

// channelsLast turns filters [n, channels, taps] into [n, taps, channels].
func channelsLast[T any](src []T, n, channels, taps int) []T {
	dst := make([]T, len(src))
	for i := range n {
		from, to := src[i*channels*taps:], dst[i*channels*taps:]
		for ch := range channels {
			for t := range taps {
				to[t*channels+ch] = from[ch*taps+t]
			}
		}
	}
	return dst
}

func (c *conv) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), c.in)
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
	if c.added == noResidual {
		y, t, err := newPart[float32](e, c.into, tensor.Float32, x.n, p.oh, p.ow, c.cout, c.out, 0)
		if err != nil {
			return err
		}
		c.run(e, p, &x, &y, nil, &c.act)
		e.SetOut(0, t)
		return nil
	}
	return c.evalResidual(e, p, &x)
}

// evalResidual adds input 1 along with the product if it is as large as the
// result, and after it, with broadcasting, if not.
func (c *conv) evalResidual(e *op.Eval, p *convPlan, x *image[float32]) error {
	r, err := imageOf[float32](e.Tensor(1), c.res)
	if err != nil {
		return err
	}
	y, t, err := newPart[float32](e, c.into, tensor.Float32, x.n, p.oh, p.ow, c.cout, c.out, 0)
	if err != nil {
		return err
	}
	if sameSize(&r.pixels, &y.pixels) {
		c.run(e, p, x, &y, &r, &c.act)
		e.SetOut(0, t)
		return nil
	}
	if c.into != nil {
		return e.Errorf(1, "%v cannot be added to %v", &r, &y)
	}
	first, then := c.act, activation{}
	if c.added == beforeActivation {
		first, then = then, first
	}
	c.run(e, p, x, &y, nil, &first)
	add := binaryImage{op: opAdd, act: then, a: c.out, b: c.res, out: c.out}
	return add.combine(e, &y, &r, nil)
}

// run computes y from x and, unless it is nil, res.
func (c *conv) run(e *op.Eval, p *convPlan, x, y, res *image[float32], act *activation) {
	if c.tiled != nil && c.tiled.pays(&y.pixels) {
		c.tiled.run(e, x, y, res, c.added, c.bias, act, p.top, p.left)
		return
	}
	each, perGroup := c.cin/c.groups, c.cout/c.groups
	for g, weights := range c.weights(e) {
		prod := kernel.ProductF32{Geometry: p.Geometry, A: x.data[g*each:], B: weights, C: y.data[g*perGroup:], Lo: act.lo, Hi: act.hi}
		if c.bias != nil {
			prod.Bias = c.bias[g*perGroup:]
		}
		then := epilogue{act: act}
		if res != nil {
			c.addTo(&prod, &then, res.data[g*perGroup:], p.rrows)
		}
		productF32(e, &prod, then)
	}
}

// addTo has a residual added to a product, or behind it. Its rows are those
// listed, if any.
func (c *conv) addTo(p *kernel.ProductF32, then *epilogue, res []float32, rows []int32) {
	if c.added == behindActivation {
		then.add, then.addRows, then.addLD = res, rows, c.cout
	} else {
		p.Res, p.RRows, p.LDR = res, rows, c.cout
	}
}
