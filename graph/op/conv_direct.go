package op

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// directConv is a convolution of float32 images by a product that reads them
// in place, without unfolding patches: with channels last on a padded image,
// the weights of a tap meet a run of neighbouring elements, and where the taps
// of a row are neighbours, those of the whole row do. See [kernel.Geometry].
type directConv struct {
	*convolution
	k       *kernel.Table
	extents []int // of the padded image
	pixel   []int32
	taps    []int32
	run     int         // elements that stand together
	weights [][]float32 // of each group, packed
}

// newDirectConv prepares the convolution for weights [filters, channels,
// taps]; padding must not be negative.
func newDirectConv(k *kernel.Table, c *convolution, weight []float32) *directConv {
	rank := len(c.Kernel)
	in, out := c.perGroup()
	l := &directConv{convolution: c, k: k, extents: make([]int, rank), run: in}
	for i := range rank {
		reach := (c.Out[i]-1)*c.Stride[i] + (c.Kernel[i]-1)*c.Dilation[i] + 1
		l.extents[i] = max(reach, c.Begin[i]+c.In[i])
	}
	steps := c.Kernel
	if last := rank - 1; c.Dilation[last] == 1 {
		steps = slices.Clone(c.Kernel)
		l.run, steps[last] = in*c.Kernel[last], 1
	}
	l.taps = l.offsets(steps, c.Dilation, in)
	l.pixel = l.offsets(c.Out, c.Stride, in)
	depth, taps := c.depth(), c.window.taps()
	flat := make([]float32, out*depth)
	for g := range c.Group {
		for m := range out {
			k.Transpose(flat[m*depth:][:depth], in, weight[(g*out+m)*depth:][:depth], taps, in, taps)
		}
		packed := make([]float32, k.GemmF32.PackedLen(depth, out))
		k.PackF32(packed, flat, depth, out, depth, true)
		l.weights = append(l.weights, packed)
	}
	return l
}

// offsets lists where the positions of a box, so many steps apart, are in the
// padded image.
func (l *directConv) offsets(box, step []int, channels int) []int32 {
	list := make([]int32, volume(box))
	at := make([]int, len(box))
	for i := range list {
		unravel(at, i, box)
		for a := range at {
			at[a] *= step[a]
		}
		list[i] = int32(ravel(at, l.extents) * channels)
	}
	return list
}

// compute sets y [batch, filters, pixels] to the convolution of x, plus a bias
// if there is one.
func (l *directConv) compute(e *Eval, x, bias, y []float32) {
	in, out := l.perGroup()
	plane, pixels := l.plane(), l.pixels()
	e.Parallel(l.Batch*l.Group, max(1, 1<<17/max(1, l.depth()*pixels)), func(lo, hi int) {
		padded, products := borrow[float32](volume(l.extents)*in), borrow[float32](pixels*out)
		defer giveBack(padded)
		defer giveBack(products)
		image, product := *padded, *products
		clear(image)
		var tile kernel.TileF32
		for i := lo; i < hi; i++ {
			n, g := i/l.Group, i%l.Group
			l.place(image, x[(n*l.Channels+g*in)*plane:][:in*plane])
			p := kernel.ProductF32{
				Geometry: kernel.Geometry{M: pixels, N: out, K: l.run, ARows: l.pixel, Taps: l.taps, LDC: out},
				A:        image, B: l.weights[g], C: product,
			}
			if bias != nil {
				p.Bias = bias[g*out:][:out]
			}
			l.k.GemmF32.Block(&tile, &p, kernel.Range{Hi: pixels}, kernel.Range{Hi: out})
			first := n*l.Filters + g*out
			l.k.Transpose(y[first*pixels:][:out*pixels], pixels, product, out, pixels, out)
		}
	})
}

// place lays an image [channels, plane] out with channels last; what is around
// it stays zero.
func (l *directConv) place(dst, x []float32) {
	last := len(l.In) - 1
	in, _ := l.perGroup()
	line, plane := l.In[last], l.plane()
	at := make([]int, len(l.In))
	for i := range volume(l.In[:last]) {
		unravel(at[:last], i, l.In[:last])
		for a := range last {
			at[a] += l.Begin[a]
		}
		at[last] = l.Begin[last]
		l.k.Transpose(dst[ravel(at, l.extents)*in:], in, x[i*line:], plane, in, line)
	}
}

// padded reports whether no padding of a convolution is negative.
func (c *convolution) padded() bool {
	return !slices.ContainsFunc(c.Begin, func(n int) bool { return n < 0 })
}

// transposedOf returns the convolution that makes the gradient of c's image
// out of that of its result, by weights with taps in reverse: the strides of c
// must be 1. Its image is c's result.
func transposedOf(c *convolution) *convolution {
	w := &window{
		Kernel: c.Kernel, Stride: c.Stride, Dilation: c.Dilation, In: c.Out, Out: c.In,
		Begin: make([]int, len(c.Kernel)), End: make([]int, len(c.Kernel)),
	}
	for i := range w.Begin {
		reach := (c.Kernel[i] - 1) * c.Dilation[i]
		w.Begin[i] = reach - c.Begin[i]
		w.End[i] = c.In[i] + reach - w.Begin[i] - c.Out[i]
	}
	return &convolution{window: w, Batch: c.Batch, Channels: c.Filters, Filters: c.Channels, Group: c.Group}
}

// reversedWeights turns weights [filters, channels, taps] of each group into
// [channels, filters, taps] with the taps in reverse.
func reversedWeights[T number](c *convolution, weight []T) []T {
	in, out := c.perGroup()
	taps := c.window.taps()
	flipped := make([]T, len(weight))
	for g := range c.Group {
		for m := range out {
			for ch := range in {
				src := weight[((g*out+m)*in+ch)*taps:][:taps]
				dst := flipped[((g*in+ch)*out+m)*taps:][:taps]
				for t, v := range src {
					dst[taps-1-t] = v
				}
			}
		}
	}
	return flipped
}

// unitStride reports whether neighbouring output pixels read neighbours.
func (c *convolution) unitStride() bool {
	return !slices.ContainsFunc(c.Stride, func(n int) bool { return n != 1 })
}
