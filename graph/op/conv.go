package op

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// convDefs holds convolutions.
var convDefs = []*Def{
	{
		Name: "Conv", Since: 1,
		Axes:  convAxes(1, 2),
		Infer: func(c *Infer) error { return inferConv(c, convSlots{}, c.Elem(0)) },
		Eval:  evalReal(0, evalConv[float32], evalConv[float64]),
		Quant: &Quant{Class: QuantInteger, Weight: 1, Bias: 2, Channel: func(*Call) int { return 0 }},
		Cost:  func(c *Infer) Cost { return convCost(c, 1, 0) },
	},
	{
		Name: "ConvTranspose", Since: 1,
		Axes:  convTransposeAxes,
		Infer: inferConvTranspose,
		Eval:  evalReal(0, evalConvTranspose[float32], evalConvTranspose[float64]),
		Quant: &Quant{Class: QuantInteger, Weight: 1, Bias: 2, Channel: convTransposeChannel},
		Cost:  convTransposeCost,
	},
	{
		Name: "ConvInteger", Since: 10,
		Axes:  convAxes(1, -1, 3),
		Infer: func(c *Infer) error { return inferConv(c, convSlots{}, tensor.Int32) },
		Eval:  evalConvInteger,
		Cost:  func(c *Infer) Cost { return convCost(c, 1, 0) },
	},
	{
		Name: "QLinearConv", Since: 10,
		Axes:  convAxes(3, 8, 4, 5),
		Infer: func(c *Infer) error { return inferConv(c, convSlots{weight: 3}, c.Elem(7)) },
		Eval:  evalQLinearConv,
		Cost:  func(c *Infer) Cost { return convCost(c, 3, 0) },
	},
	{
		Name: "DeformConv", Since: 19,
		Infer: func(c *Infer) error { return inferConv(c, convSlots{}, c.Elem(0)) },
		Eval:  evalReal(0, evalDeformConv[float32], evalDeformConv[float64]),
		Cost:  func(c *Infer) Cost { return convCost(c, 1, 0) },
	},
	{
		Name: "Col2Im", Since: 18,
		Infer: inferCol2Im,
		Eval:  evalCol2Im,
		Cost:  perElement(1),
	},
	{
		Name: "CausalConvWithState", Since: 27,
		Infer: inferCausalConv,
		Eval:  evalCausalConv,
		Cost:  causalConvCost,
	},
}

// convSlots says at which inputs a form of convolution has its weight; the
// image is input 0. The zero value stands for input 1.
type convSlots struct{ weight int }

func (s convSlots) w() int { return max(1, s.weight) }

// convolution is the geometry of a call of Conv: an image [Batch, Channels,
// In...] and filters [Filters, Channels/Group, Kernel...] give an image
// [Batch, Filters, Out...].
type convolution struct {
	*window
	Batch, Channels, Filters, Group int
}

// perGroup returns how many channels of the image, and filters, a group has.
func (c *convolution) perGroup() (in, out int) { return c.Channels / c.Group, c.Filters / c.Group }

// depth is the length of the dot product for one output pixel.
func (c *convolution) depth() int { return c.Channels / c.Group * c.taps() }

// shape returns the shape of the result.
func (c *convolution) shape() tensor.Shape {
	return append(tensor.Shape{c.Batch, c.Filters}, c.Out...)
}

// newConvolution checks the shapes of a convolution's image (input 0) and
// weight, and places its window.
func newConvolution(e *Eval, weight int) (*convolution, error) {
	xs, ws := e.Tensor(0).Shape(), e.Tensor(weight).Shape()
	if len(xs) < 3 {
		return nil, e.Errorf(0, "image has %d axes, want 3 or more", len(xs))
	}
	c, err := convolutionOf(&e.Call, xs, ws)
	if err != nil {
		return nil, e.Errorf(weight, "weight does not fit: %w", err)
	}
	return c, nil
}

// convolutionOf is the convolution of an image of shape xs with a weight of
// shape ws that the attributes of a call describe.
func convolutionOf(call *Call, xs, ws tensor.Shape) (*convolution, error) {
	if len(ws) != len(xs) || len(xs) < 3 {
		return nil, fmt.Errorf("%d axes for an image of %d, want as many, at least 3", len(ws), len(xs))
	}
	kernel, err := convKernel(call, graph.DimsOf(ws))
	if err != nil {
		return nil, err
	}
	if !slices.Equal(kernel, ws[2:]) {
		return nil, fmt.Errorf("%v, want kernel_shape %v", ws, kernel)
	}
	w, err := newWindow(call, kernel)
	if err != nil {
		return nil, err
	}
	c := &convolution{window: w, Batch: xs[0], Channels: xs[1], Filters: ws[0], Group: int(call.Node.Int("group", 1))}
	if c.Group < 1 || c.Channels%c.Group != 0 || c.Filters%c.Group != 0 || c.Channels/c.Group != ws[1] {
		return nil, fmt.Errorf("%v for an image of %d channels in %d groups", ws, c.Channels, c.Group)
	}
	return c, w.fit(xs[2:])
}

// convKernel returns the spatial extents of a kernel: attribute kernel_shape,
// or those of the weight. It is nil if neither is known.
func convKernel(c *Call, weight graph.Dims) ([]int, error) {
	if k := c.Node.Ints("kernel_shape"); len(k) > 0 {
		return positive(k, "kernel_shape")
	}
	if len(weight) < 2 {
		return nil, nil
	}
	s, ok := weight[2:].Static()
	if !ok {
		return nil, nil
	}
	return s, nil
}

// positive converts a list of sizes, each at least one.
func positive(list []int64, name string) ([]int, error) {
	out := make([]int, len(list))
	for i, v := range list {
		if v < 1 || v > 1<<31-1 {
			return nil, fmt.Errorf("attribute %s is %v: number %d is out of range", name, list, i)
		}
		out[i] = int(v)
	}
	return out, nil
}

// inferConv types the result of a convolution with elements elem.
func inferConv(c *Infer, slots convSlots, elem tensor.DType) error {
	x, weight := c.Shape(0), c.Shape(slots.w())
	if x == nil {
		c.SetOut(0, elem, nil)
		return nil
	}
	if len(x) < 3 {
		return c.Errorf(0, "image has %d axes, want 3 or more", len(x))
	}
	out := graph.Dims{x[0], graph.Unknown()}
	if weight != nil {
		if len(weight) != len(x) {
			return c.Errorf(slots.w(), "weight has %d axes, want %d", len(weight), len(x))
		}
		out[1] = weight[0]
	}
	if err := checkGroups(c, x, weight, slots.w()); err != nil {
		return err
	}
	kernel, err := convKernel(&c.Call, weight)
	if err != nil {
		return err
	}
	spatial, err := slide(c, x[2:], kernel)
	if err != nil {
		return c.Errorf(0, "%v", err)
	}
	c.SetOut(0, elem, append(out, spatial...))
	return nil
}

// checkGroups holds the channels of an image against those of a weight.
func checkGroups(c *Infer, x, weight graph.Dims, slot int) error {
	group := int(c.Node.Int("group", 1))
	if group < 1 {
		return fmt.Errorf("attribute group is %d, want at least 1", group)
	}
	if len(weight) < 2 || !x[1].IsKnown() || !weight[1].IsKnown() {
		return nil
	}
	if weight[1].Size*group != x[1].Size {
		return c.Errorf(slot, "weight takes %d channels in each of %d groups, the image has %d", weight[1].Size, group, x[1].Size)
	}
	return nil
}

// slide returns the dimensions that a window gives; they are unknown if the
// kernel is nil.
func slide(c *Infer, in graph.Dims, kernel []int) (graph.Dims, error) {
	if kernel == nil {
		return unknownDims(len(in)), nil
	}
	w, err := newWindow(&c.Call, kernel)
	if err != nil {
		return nil, err
	}
	return w.dims(in)
}

// convCost counts one multiply-accumulate for each weight of a filter and
// output pixel; out is the result's index.
func convCost(c *Infer, weight, out int) Cost {
	w, okW := c.Shape(weight).Static()
	y, okY := outShape(c, out)
	if !okW || !okY || len(w) < 2 {
		return Cost{}
	}
	return matrixCost(c, int64(volume(w[1:]))*int64(y.Len()))
}

// evalConv computes Conv.
func evalConv[T real](e *Eval) error {
	c, err := newConvolution(e, 1)
	if err != nil {
		return err
	}
	bias := realsOf[T](e, 2)
	if bias != nil && len(bias) != c.Filters {
		return e.Errorf(2, "bias has %d elements, want %d", len(bias), c.Filters)
	}
	y := newResult[T](e, e.Tensor(0).DType(), c.shape())
	convolve(e, c, realsOf[T](e, 0), realsOf[T](e, 1), bias, y.Data)
	return setReal(e, 0, y)
}

// convolve computes a convolution. bias may be nil.
func convolve[T number](e *Eval, c *convolution, x, weight, bias, y []T) {
	if len(y) == 0 {
		return
	}
	if c.Channels == c.Group {
		convolveDepthwise(e, c, x, weight, bias, y)
		return
	}
	if c.Batch*c.Group >= 8 && !c.whole() {
		if f, ok := any(y).([]float32); ok && c.padded() {
			newDirectConv(e.kernels(), c, any(weight).([]float32)).compute(e, any(x).([]float32), any(bias).([]float32), f)
			return
		}
		convolveBatch(e, c, x, weight, bias, y)
		return
	}
	convolveTiles(e, c, x, weight, bias, y)
}

// convolveDepthwise convolves filters that see one channel each, a plane at a
// time: each tap adds a scaled and shifted copy of the image.
func convolveDepthwise[T number](e *Eval, c *convolution, x, weight, bias, y []T) {
	runs, step := c.allRuns(), c.step()
	pixels, plane, taps := c.pixels(), c.plane(), c.taps()
	perChannel := c.Filters / c.Group
	axpy := e.kernels().Axpy
	e.Parallel(c.Batch*c.Filters, max(1, 1<<16/(taps*pixels)), func(lo, hi int) {
		for u := lo; u < hi; u++ {
			n, m := u/c.Filters, u%c.Filters
			in := x[(n*c.Channels+m/perChannel)*plane:][:plane]
			out := y[u*pixels:][:pixels]
			fillWith(out, valueOr(bias, m))
			for t, list := range runs {
				addRuns(axpy, out, in, weight[m*taps+t], list, step)
			}
		}
	})
}

// addRuns adds a times the input of one tap to the output.
func addRuns[T number](axpy func(dst, x []float32, a float32), out, in []T, a T, list []run, step int) {
	if f, ok := any(out).([]float32); ok && step == 1 {
		src, a := any(in).([]float32), any(a).(float32)
		for _, r := range list {
			axpy(f[r.Out:r.Out+r.N], src[r.In:r.In+r.N], a)
		}
		return
	}
	for _, r := range list {
		src, dst := in[r.In:], out[r.Out:r.Out+r.N]
		for i := range dst {
			dst[i] += a * src[i*step]
		}
	}
}

// fillWith sets every element to v, most of them by copies of those before.
func fillWith[T any](s []T, v T) {
	const first = 16
	for i := range s[:min(first, len(s))] {
		s[i] = v
	}
	for n := first; n < len(s); n *= 2 {
		copy(s[n:], s[:n])
	}
}

// valueOr returns s[i], or zero if s is nil.
func valueOr[T number](s []T, i int) T {
	if s == nil {
		return 0
	}
	return s[i]
}

// tileColumns is how many output pixels of a convolution are unfolded at a
// time, a multiple of the panel width: their patches should stay in cache.
func tileColumns(width, depth, pixels int) int {
	const elements = 1 << 16
	n := max(width, elements/max(1, depth)/width*width)
	return min(n, ceilDiv(pixels, width)*width)
}

// convolveTiles unfolds the patches under some output pixels at a time into
// the columns of a matrix (im2col), packed as the matrix product wants them,
// and multiplies the filters of a group with it.
func convolveTiles[T number](e *Eval, c *convolution, x, weight, bias, y []T) {
	k := e.kernels()
	in, out := c.perGroup()
	depth, pixels, plane := c.depth(), c.pixels(), c.plane()
	width := panelWidth[T](k)
	cols := tileColumns(width, depth, pixels)
	tiles := ceilDiv(pixels, cols)
	u := &unfolding{window: c.window, width: width}
	if !c.whole() {
		u.taps = c.allRuns()
	}
	rows := out
	if c.Batch*c.Group*tiles < 8 {
		rows = max(16, ceilDiv(out, 8))
	}
	blocks := ceilDiv(out, rows)
	e.Parallel(c.Batch*c.Group*tiles*blocks, max(1, 1<<17/max(1, rows*depth*cols)), func(lo, hi int) {
		patches := make([]T, packedLen(width, depth, cols))
		var p panelProduct[T]
		packed := -1
		for i := lo; i < hi; i++ {
			image, block := i/blocks, i%blocks
			ng, tile := image/tiles, image%tiles
			n, g := ng/c.Group, ng%c.Group
			from := tile * cols
			size := min(cols, pixels-from)
			if packed != image {
				unfold(u, patches, x[(n*c.Channels+g*in)*plane:][:in*plane], in, from, size)
				packed = image
			}
			first := g*out + block*rows
			last := min(first+rows, (g+1)*out)
			p.M, p.N, p.K, p.LDA, p.LDC = last-first, size, depth, depth, pixels
			p.A, p.B, p.C = weight[first*depth:last*depth], patches, y[(n*c.Filters+first)*pixels+from:]
			p.compute(k, 0, p.M)
			for m := first; m < last && bias != nil; m++ {
				addTo(y[(n*c.Filters+m)*pixels+from:][:size], bias[m])
			}
		}
	})
}

func addTo[T number](s []T, v T) {
	for i := range s {
		s[i] += v
	}
}

// unfolding turns patches of an image into packed columns.
type unfolding struct {
	*window
	width int
	taps  [][]run // of every tap; nil if each pixel is its own patch
}

// unfold packs the patches of output pixels [from, from+n), over the given
// channels, as the columns of a matrix whose rows are channels and taps.
func unfold[T number](u *unfolding, dst, x []T, channels, from, n int) {
	plane := u.plane()
	if u.taps == nil {
		packPanels(dst, x[from:], u.width, channels, n, plane, 1)
		return
	}
	taps := len(u.taps)
	depth := channels * taps
	padded := ceilDiv(n, u.width) * u.width
	idx := make([]int32, padded)
	for t, list := range u.taps {
		u.place(idx, list, from, n)
		for j := 0; j < padded; j += u.width {
			panel := dst[j*depth : (j+u.width)*depth]
			lanes := idx[j : j+u.width]
			if contiguous(lanes) {
				first := int(lanes[0])
				for c := range channels {
					copy(panel[(c*taps+t)*u.width:][:u.width], x[c*plane+first:])
				}
				continue
			}
			for c := range channels {
				gatherLanes(panel[(c*taps+t)*u.width:][:u.width], x[c*plane:][:plane], lanes)
			}
		}
	}
}

// place sets idx to the input pixel that a tap reads for each output pixel of
// [from, from+n), -1 for padding.
func (u *unfolding) place(idx []int32, list []run, from, n int) {
	fillWith(idx, -1)
	step := u.step()
	start, _ := slices.BinarySearchFunc(list, from, func(r run, at int) int { return r.Out + r.N - 1 - at })
	for _, r := range list[start:] {
		if r.Out >= from+n {
			return
		}
		lo, hi := max(r.Out, from), min(r.Out+r.N, from+n)
		for o := lo; o < hi; o++ {
			idx[o-from] = int32(r.In + (o-r.Out)*step)
		}
	}
}

func contiguous(lanes []int32) bool {
	for i, v := range lanes {
		if v < 0 || v != lanes[0]+int32(i) {
			return false
		}
	}
	return true
}

func gatherLanes[T number](dst, src []T, lanes []int32) {
	for i, v := range lanes {
		if v < 0 {
			dst[i] = 0
		} else {
			dst[i] = src[v]
		}
	}
}
