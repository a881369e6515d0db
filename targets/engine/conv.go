package engine

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// conv is a convolution of float32 images with bias, residual and activation:
//
//	y = act(Conv(x, w) + bias + res)
//
// It is a matrix product without im2col. A row of the product is an output
// pixel. With one group and no dilation along the width, the pixels that one
// row of the window covers lie together in memory, padding included since it
// is in the halo: the product has a tap for each of the window's rows.
// Otherwise it has a tap for each of the window's pixels.
type conv struct {
	window
	groups, cin, cout int
	weights           [][]float32 // per group, packed
	bias              []float32   // nil if none
	act               activation
	in, out, res      halo
	plans             cache[[3]int, *convPlan] // by batch, height, width
}

// convPlan places the pixels for images of one size.
type convPlan struct {
	kernel.Geometry
	rrows  []int32 // of the residual
	oh, ow int
}

func (c *conv) name() string {
	if c.act.name != "" {
		return "Conv+" + c.act.name
	}
	return "Conv"
}

// newConv packs the weights, [cout, cin/groups, kh, kw].
func newConv(k *kernel.Table, w window, groups int, weights *tensor.Tensor, bias []float32, act activation) *conv {
	s := weights.Shape()
	c := &conv{window: w, groups: groups, cin: s[1] * groups, cout: s[0], bias: bias, act: act}
	each, perGroup, depth := s[1], s[0]/groups, s[1]*s[2]*s[3]
	flat := channelsLast(tensor.Data[float32](weights), s[0], each, s[2]*s[3])
	for g := range groups {
		packed := alignedFloats(k.GemmF32.PackedLen(depth, perGroup))
		k.PackF32(packed, flat[g*perGroup*depth:], depth, perGroup, depth, true)
		c.weights = append(c.weights, packed)
	}
	return c
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

// alignedFloats returns n zeroed floats at the start of a cache line.
func alignedFloats(n int) []float32 {
	if n == 0 {
		return nil
	}
	b := newBuffer(4 * n)
	t, err := tensor.FromBytes(tensor.Float32, tensor.Shape{n}, b.data)
	if err != nil {
		panic("engine: " + err.Error()) // the length was made to fit
	}
	return tensor.Data[float32](t)
}

func (c *conv) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), c.in)
	if err != nil {
		return err
	}
	if x.c != c.cin {
		return e.Errorf(0, "%v has %d channels, want %d", &x, x.c, c.cin)
	}
	p, err := c.plans.get([3]int{x.n, x.h, x.w}, func() (*convPlan, error) { return c.plan(&x) })
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	if len(e.In) < 2 {
		y, t := newImage[float32](e, tensor.Float32, x.n, p.oh, p.ow, c.cout, c.out, 0)
		c.run(e, p, x.data, y.data, nil, &c.act)
		e.SetOut(0, t)
		return nil
	}
	return c.evalResidual(e, p, &x)
}

// evalResidual adds input 1 within the product if it is as large as the
// result, and after it, with broadcasting, if not.
func (c *conv) evalResidual(e *op.Eval, p *convPlan, x *image[float32]) error {
	r, err := imageOf[float32](e.Tensor(1), c.res)
	if err != nil {
		return err
	}
	y, t := newImage[float32](e, tensor.Float32, x.n, p.oh, p.ow, c.cout, c.out, 0)
	if sameSize(&r, &y) {
		c.run(e, p, x.data, y.data, r.data, &c.act)
		e.SetOut(0, t)
		return nil
	}
	c.run(e, p, x.data, y.data, nil, &activation{})
	add := binaryImage{op: opAdd, act: c.act, a: c.out, b: c.res, out: c.out}
	return add.combine(e, &y, &r)
}

func (c *conv) run(e *op.Eval, p *convPlan, x, y, res []float32, act *activation) {
	each, perGroup := c.cin/c.groups, c.cout/c.groups
	for g := range c.groups {
		prod := kernel.ProductF32{Geometry: p.Geometry, A: x[g*each:], B: c.weights[g], C: y[g*perGroup:], Lo: act.lo, Hi: act.hi}
		if c.bias != nil {
			prod.Bias = c.bias[g*perGroup:]
		}
		if res != nil {
			prod.Res, prod.RRows, prod.LDR = res[g*perGroup:], p.rrows, c.cout
		}
		productF32(e, &prod, act)
	}
}

// plan lists where the pixels of images as large as x lie.
func (c *conv) plan(x *image[float32]) (*convPlan, error) {
	oh, top, err := c.over(0, x.h)
	if err != nil {
		return nil, fmt.Errorf("height: %w", err)
	}
	ow, left, err := c.over(1, x.w)
	if err != nil {
		return nil, fmt.Errorf("width: %w", err)
	}
	y := image[float32]{n: x.n, h: oh, w: ow, c: c.cout, halo: c.out}
	r := image[float32]{n: x.n, h: oh, w: ow, c: c.cout, halo: c.res}
	if max(x.n*x.plane(), x.n*y.plane(), x.n*r.plane()) > math.MaxInt32 {
		return nil, fmt.Errorf("%v is too large", x)
	}
	p := &convPlan{oh: oh, ow: ow}
	p.M, p.N = x.n*oh*ow, c.cout/c.groups
	p.LDA, p.LDC = c.cin, c.cout
	p.K, p.Taps = c.taps(x)
	if c.in != (halo{}) || c.stride != [2]int{1, 1} || c.kernel != [2]int{1, 1} {
		p.ARows = c.inputRows(x, oh, ow, top, left)
	}
	if c.out != (halo{}) {
		p.CRows = pixelRows(&y)
	}
	if c.res != (halo{}) {
		p.rrows = pixelRows(&r)
	}
	return p, nil
}

// taps returns the length of the runs of x that a window covers, and where
// they start.
func (c *conv) taps(x *image[float32]) (run int, taps []int32) {
	if c.groups == 1 && c.dilation[1] == 1 {
		for y := range c.kernel[0] {
			taps = append(taps, int32(y*c.dilation[0]*x.rowStep()))
		}
		return c.kernel[1] * c.cin, taps
	}
	for y := range c.kernel[0] {
		for k := range c.kernel[1] {
			taps = append(taps, int32(y*c.dilation[0]*x.rowStep()+k*c.dilation[1]*c.cin))
		}
	}
	return c.cin / c.groups, taps
}

// inputRows returns where the window of each output pixel begins.
func (c *conv) inputRows(x *image[float32], oh, ow, top, left int) []int32 {
	rows := make([]int32, 0, x.n*oh*ow)
	for n := range x.n {
		for y := range oh {
			at := x.at(n, y*c.stride[0]-top) - left*c.cin
			for k := range ow {
				rows = append(rows, int32(at+k*c.stride[1]*c.cin))
			}
		}
	}
	return rows
}

// pixelRows returns where each pixel of an image lies.
func pixelRows(y *image[float32]) []int32 {
	rows := make([]int32, 0, y.n*y.h*y.w)
	for n := range y.n {
		for i := range y.h {
			at := y.at(n, i)
			for k := range y.w {
				rows = append(rows, int32(at+k*y.c))
			}
		}
	}
	return rows
}
