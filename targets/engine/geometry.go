package engine

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// convGeometry says how a convolution of images is a matrix product without
// im2col. A row of the product is an output pixel. With one group and no
// dilation along the width, the pixels that one row of the window covers lie
// together in memory, padding included since it is in the halo: the product
// has a tap for each of the window's rows. Otherwise it has a tap for each of
// the window's pixels.
type convGeometry struct {
	window
	groups, cin, cout int
	in, out, res      halo
	into              *joined                  // where the result goes among others; nil if it is alone
	plans             cache[[3]int, *convPlan] // by batch, height, width
}

// convPlan places the pixels for images of one size.
type convPlan struct {
	kernel.Geometry
	rrows     []int32 // of the residual
	oh, ow    int
	top, left int // padding
}

// planFor returns the plan for n images of the given size.
func (c *convGeometry) planFor(n, h, w int) (*convPlan, error) {
	return c.plans.get([3]int{n, h, w}, func() (*convPlan, error) {
		return c.plan(&pixels{n: n, h: h, w: w, c: c.cin, halo: c.in})
	})
}

// plan lists where the pixels of images as large as x lie.
func (c *convGeometry) plan(x *pixels) (*convPlan, error) {
	oh, top, err := c.over(0, x.h)
	if err != nil {
		return nil, fmt.Errorf("height: %w", err)
	}
	ow, left, err := c.over(1, x.w)
	if err != nil {
		return nil, fmt.Errorf("width: %w", err)
	}
	y := pixels{n: x.n, h: oh, w: ow, c: c.cout, halo: c.out, gap: c.into.gap(c.cout)}
	r := pixels{n: x.n, h: oh, w: ow, c: c.cout, halo: c.res}
	if max(x.n*x.plane(), x.n*y.plane(), x.n*r.plane()) > math.MaxInt32 {
		return nil, fmt.Errorf("%v is too large", x)
	}
	p := &convPlan{oh: oh, ow: ow, top: top, left: left}
	p.M, p.N = x.n*oh*ow, c.cout/c.groups
	p.LDA, p.LDC = c.cin, y.step()
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
func (c *convGeometry) taps(x *pixels) (run int, taps []int32) {
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
func (c *convGeometry) inputRows(x *pixels, oh, ow, top, left int) []int32 {
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
func pixelRows(y *pixels) []int32 {
	rows := make([]int32, 0, y.n*y.h*y.w)
	for n := range y.n {
		for i := range y.h {
			at := y.at(n, i)
			for k := range y.w {
				rows = append(rows, int32(at+k*y.step()))
			}
		}
	}
	return rows
}
