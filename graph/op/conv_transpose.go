package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// transposedWindow returns the window of the convolution that a ConvTranspose
// transposes: it slides over the result, whose extents are In, and its
// positions, Out, are the pixels of the image.
func transposedWindow(c *Call, kernel, image []int) (*window, error) {
	w, err := newWindow(c, kernel)
	if err != nil {
		return nil, err
	}
	rank := len(kernel)
	if len(image) != rank {
		return nil, fmt.Errorf("kernel has %d axes, want %d, one for each spatial axis of the image", rank, len(image))
	}
	extra, err := spatialAttr(c, "output_padding", rank, 0, 0)
	if err != nil {
		return nil, err
	}
	want, err := outputShapeAttr(c, rank)
	if err != nil {
		return nil, err
	}
	w.Out, w.In = image, make([]int, rank)
	for i, n := range image {
		full := w.Stride[i]*(n-1) + extra[i] + w.extent(i)
		switch {
		case want != nil:
			w.In[i] = want[i]
			w.Begin[i], w.End[i] = w.shareTransposed(full - want[i])
		case w.same():
			w.In[i] = n * w.Stride[i]
			w.Begin[i], w.End[i] = w.shareTransposed(full - w.In[i])
		default:
			w.In[i] = full - w.Begin[i] - w.End[i]
		}
		if n == 0 && want == nil {
			w.In[i] = 0
		}
		if w.In[i] < 0 {
			return nil, fmt.Errorf("padding leaves %d positions of axis %d", w.In[i], i)
		}
	}
	return w, nil
}

// shareTransposed divides the padding that a wanted extent asks for among the
// ends of an axis.
func (w *window) shareTransposed(total int) (begin, end int) {
	total = max(total, 0)
	if w.auto == "SAME_UPPER" {
		return total / 2, total - total/2
	}
	return total - total/2, total / 2
}

// outputShapeAttr reads the spatial part of attribute output_shape, nil if it
// is absent. Batch and channels may stand in front of it.
func outputShapeAttr(c *Call, rank int) ([]int, error) {
	list := c.Node.Ints("output_shape")
	switch len(list) {
	case 0:
		return nil, nil
	case rank, rank + 2:
		return positive(list[len(list)-rank:], "output_shape")
	}
	return nil, fmt.Errorf("attribute output_shape has %d numbers, want %d", len(list), rank)
}

func inferConvTranspose(c *Infer) error {
	x, weight := c.Shape(0), c.Shape(1)
	if x == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	if len(x) < 3 {
		return c.Errorf(0, "image has %d axes, want 3 or more", len(x))
	}
	out := append(graph.Dims{x[0]}, unknownDims(len(x)-1)...)
	if weight != nil {
		if len(weight) != len(x) {
			return c.Errorf(1, "weight has %d axes, want %d", len(weight), len(x))
		}
		if x[1].IsKnown() && weight[0].IsKnown() && x[1].Size != weight[0].Size {
			return c.Errorf(1, "weight takes %d channels, the image has %d", weight[0].Size, x[1].Size)
		}
		if weight[1].IsKnown() {
			out[1] = graph.Known(weight[1].Size * int(c.Node.Int("group", 1)))
		}
	}
	kernel, err := convKernel(&c.Call, weight)
	if err != nil {
		return err
	}
	if kernel != nil {
		if err := transposedDims(c, out[2:], x[2:], kernel); err != nil {
			return err
		}
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// transposedDims sets the spatial dimensions of a ConvTranspose that are
// known, or follow from those of the image.
func transposedDims(c *Infer, out, in graph.Dims, kernel []int) error {
	image := make([]int, len(in))
	for i, d := range in {
		image[i] = max(1, d.Size)
	}
	w, err := transposedWindow(&c.Call, kernel, image)
	if err != nil {
		return c.Errorf(0, "%v", err)
	}
	for i, d := range in {
		if d.IsKnown() || len(c.Node.Ints("output_shape")) > 0 {
			out[i] = graph.Known(w.In[i])
		} else {
			stride := w.Stride[i]
			out[i] = mulDim(d, stride).Plus(graph.Number(w.In[i] - stride*image[i]))
		}
	}
	return nil
}

// convTransposeChannel says that the weight [C, M/group, …] has its output
// channels on axis 1, which stand for one channel only if there is one group.
func convTransposeChannel(c *Call) int {
	if c.Node.Int("group", 1) != 1 {
		return -1
	}
	return 1
}

func convTransposeCost(c *Infer) Cost {
	w, okW := c.Shape(1).Static()
	x, okX := c.Shape(0).Static()
	if !okW || !okX || len(w) < 2 {
		return Cost{}
	}
	return matrixCost(c, int64(volume(w[1:]))*int64(x.Len()))
}

// newConvTranspose checks the shapes of a ConvTranspose. The window is that
// of the transposed convolution.
func newConvTranspose(e *Eval) (*convolution, error) {
	xs, ws := e.Tensor(0).Shape(), e.Tensor(1).Shape()
	if len(xs) < 3 {
		return nil, e.Errorf(0, "image has %d axes, want 3 or more", len(xs))
	}
	group := int(e.Node.Int("group", 1))
	if len(ws) != len(xs) || ws[0] != xs[1] || group < 1 || ws[0]%group != 0 {
		return nil, e.Errorf(1, "weight does not fit an image %v in %d groups", xs, group)
	}
	kernel, err := convKernel(&e.Call, graph.DimsOf(ws))
	if err != nil {
		return nil, err
	}
	if volume(kernel) != volume(ws[2:]) {
		return nil, e.Errorf(1, "weight does not fit kernel_shape %v", kernel)
	}
	w, err := transposedWindow(&e.Call, kernel, xs[2:])
	if err != nil {
		return nil, err
	}
	return &convolution{window: w, Batch: xs[0], Channels: xs[1], Filters: ws[1] * group, Group: group}, nil
}

// evalConvTranspose computes ConvTranspose.
func evalConvTranspose[T real](e *Eval) error {
	c, err := newConvTranspose(e)
	if err != nil {
		return err
	}
	bias := realsOf[T](e, 2)
	if bias != nil && len(bias) != c.Filters {
		return e.Errorf(2, "bias has %d elements, want %d", len(bias), c.Filters)
	}
	y := newResult[T](e, e.Tensor(0).DType(), append(tensor.Shape{c.Batch, c.Filters}, c.In...))
	convolveTransposed(e, c, realsOf[T](e, 0), realsOf[T](e, 1), bias, y.Data)
	return setReal(e, 0, y)
}

// convolveTransposed multiplies each pixel of the image [C, pixels] with the
// weight [C, M*taps] and adds the products where the taps fall in the result
// (col2im). Filters are divided among threads.
func convolveTransposed[T real](e *Eval, c *convolution, x, weight, bias, y []T) {
	k := e.kernels()
	in, out := c.perGroup()
	pixels, plane, taps := c.pixels(), c.plane(), c.taps()
	runs, step := c.allRuns(), c.step()
	width := panelWidth[T](k)
	image := make([]T, packedLen(width, in, pixels))
	for ng := range c.Batch * c.Group {
		n, g := ng/c.Group, ng%c.Group
		packPanels(image, x[(n*c.Channels+g*in)*pixels:], width, in, pixels, pixels, 1)
		w := matrix[T]{weight[g*in*out*taps:], 1, out * taps}.contiguousRows(out*taps, in)
		e.Parallel(out, max(1, 1<<16/max(1, taps*in*pixels)), func(lo, hi int) {
			products := make([]T, taps*pixels)
			p := panelProduct[T]{M: taps, N: pixels, K: in, LDA: in, B: image, C: products, LDC: pixels}
			for m := lo; m < hi; m++ {
				p.A = w.Data[m*taps*in:]
				p.compute(k, 0, taps)
				f := g*out + m
				dst := y[(n*c.Filters+f)*plane:][:plane]
				fillWith(dst, valueOr(bias, f))
				for t, list := range runs {
					scatterRuns(dst, products[t*pixels:][:pixels], list, step)
				}
			}
		})
	}
}

// scatterRuns adds each output pixel of one tap to the input pixel it reads.
func scatterRuns[T number | int64](in, out []T, list []run, step int) {
	for _, r := range list {
		dst := in[r.In:]
		for i, v := range out[r.Out : r.Out+r.N] {
			dst[i*step] += v
		}
	}
}
