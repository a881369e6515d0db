package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// deformConv is the geometry of a DeformConv: a convolution whose taps are
// moved by offsets [Batch, offsetGroups*taps*axes, Out...] and weighted by a
// mask [Batch, offsetGroups*taps, Out...].
type deformConv struct {
	*convolution
	offsetGroups int
}

func newDeformConv(e *Eval) (*deformConv, error) {
	c, err := newConvolution(e, 1)
	if err != nil {
		return nil, err
	}
	d := &deformConv{c, int(e.Node.Int("offset_group", 1))}
	if d.offsetGroups < 1 || c.Channels%d.offsetGroups != 0 {
		return nil, fmt.Errorf("attribute offset_group is %d, want a divisor of the %d channels", d.offsetGroups, c.Channels)
	}
	per := d.offsetGroups * c.taps()
	want := append(tensor.Shape{c.Batch, per * len(c.Kernel)}, c.Out...)
	if got := e.Tensor(2); !got.Shape().Equal(want) {
		return nil, e.Errorf(2, "offsets have another shape, want %v", want)
	}
	want[1] = per
	if got := e.Tensor(4); got != nil && !got.Shape().Equal(want) {
		return nil, e.Errorf(4, "mask has another shape, want %v", want)
	}
	return d, nil
}

// evalDeformConv computes DeformConv: the sampled patches of a group are the
// columns of a matrix that its filters multiply.
func evalDeformConv[T real](e *Eval) error {
	d, err := newDeformConv(e)
	if err != nil {
		return err
	}
	x, weight, offset := realsOf[T](e, 0), realsOf[T](e, 1), realsOf[T](e, 2)
	bias, mask := realsOf[T](e, 3), realsOf[T](e, 4)
	y := newResult[T](e, e.Tensor(0).DType(), d.shape())
	in, out := d.perGroup()
	depth, pixels := d.depth(), d.pixels()
	patches := make([]T, depth*pixels)
	for ng := range d.Batch * d.Group {
		n, g := ng/d.Group, ng%d.Group
		e.Parallel(in, 1, func(lo, hi int) {
			for c := lo; c < hi; c++ {
				samplePatches(d, patches[c*d.taps()*pixels:], x, offset, mask, n, g*in+c)
			}
		})
		first := n*d.Filters + g*out
		multiplyMatrices(e, rowMajor(y.Data[first*pixels:], pixels), rowMajor(weight[g*out*depth:], depth),
			rowMajor(patches, pixels), out, pixels, depth)
		for m := range out {
			addTo(y.Data[(first+m)*pixels:][:pixels], valueOr(bias, g*out+m))
		}
	}
	return setReal(e, 0, y)
}

// samplePatches sets dst [taps, pixels] to what the taps of the window read
// from one channel at their moved places.
func samplePatches[T real](d *deformConv, dst, x, offset, mask []T, n, channel int) {
	rank, taps, pixels, plane := len(d.Kernel), d.taps(), d.pixels(), d.plane()
	group := n*d.offsetGroups + channel/(d.Channels/d.offsetGroups)
	image := x[(n*d.Channels+channel)*plane:][:plane]
	pos := make([]float64, rank)
	tap, out := make([]int, rank), make([]int, rank)
	for t := range taps {
		unravel(tap, t, d.Kernel)
		for p := range pixels {
			unravel(out, p, d.Out)
			movedPlace(d, pos, tap, out, offset[(group*taps+t)*rank*pixels+p:])
			v := T(interpolate(image, d.In, pos))
			if mask != nil {
				v *= mask[(group*taps+t)*pixels+p]
			}
			dst[t*pixels+p] = v
		}
	}
}

// movedPlace sets pos to where a tap of the window at an output pixel reads: its
// own place and the offset along each axis, which are d.pixels() apart.
func movedPlace[T real](d *deformConv, pos []float64, tap, out []int, offset []T) {
	for i := range pos {
		base := out[i]*d.Stride[i] + tap[i]*d.Dilation[i] - d.Begin[i]
		pos[i] = float64(base) + float64(offset[i*d.pixels()])
	}
}

// unravel sets at to the coordinates of element i of the given shape.
func unravel(at []int, i int, shape []int) {
	for a := len(shape) - 1; a >= 0; a-- {
		at[a] = i % shape[a]
		i /= shape[a]
	}
}

// interpolate reads an image at a position between its pixels, linearly along
// each axis; outside of the image it is zero.
func interpolate[T real](image []T, shape []int, pos []float64) float64 {
	sum := 0.0
	for corner := range 1 << len(shape) {
		weight, at := 1.0, 0
		for i, p := range pos {
			low := math.Floor(p)
			k, frac := int(low), p-low
			if corner>>i&1 == 1 {
				k++
			} else {
				frac = 1 - frac
			}
			if k < 0 || k >= shape[i] {
				weight = 0
				break
			}
			weight *= frac
			at = at*shape[i] + k
		}
		if weight != 0 {
			sum += weight * float64(image[at])
		}
	}
	return sum
}

// col2Im returns the window of a Col2Im, which slides over the result.
func col2Im(c *Call, image, block []int) (*window, error) {
	if len(image) != len(block) {
		return nil, fmt.Errorf("block %v does not fit image %v", block, image)
	}
	w, err := newWindow(c, block)
	if err != nil {
		return nil, err
	}
	return w, w.fit(image)
}

func inferCol2Im(c *Infer) error {
	x := c.Shape(0)
	image, block := c.Dims(1), c.Dims(2)
	if image == nil || len(x) < 2 {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	out := append(graph.Dims{x[0], graph.Unknown()}, image...)
	if size, ok := block.Static(); ok && x[1].IsKnown() && size.Len() > 0 {
		out[1] = graph.Known(x[1].Size / size.Len())
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// blockWindow reads the sizes of image and block, inputs 1 and 2 of Col2Im and
// of its gradient.
func blockWindow(e *Eval) (*window, error) {
	image, err := e.ints(1)
	if err != nil {
		return nil, err
	}
	block, err := e.ints(2)
	if err != nil {
		return nil, err
	}
	return col2Im(&e.Call, image, block)
}

// evalCol2Im computes Col2Im: blocks [N, C*taps, positions] are added where
// the window took them from an image.
func evalCol2Im(e *Eval) error {
	w, err := blockWindow(e)
	if err != nil {
		return err
	}
	t := e.Tensor(0)
	s := t.Shape()
	if len(s) != 3 || s[1]%w.taps() != 0 || s[2] != w.pixels() {
		return e.Errorf(0, "blocks do not fit: want [N,C*%d,%d]", w.taps(), w.pixels())
	}
	out := append(tensor.Shape{s[0], s[1] / w.taps()}, w.In...)
	switch d := t.DType(); {
	case d == tensor.Float64:
		y := newResult[float64](e, d, out)
		foldBlocks(w, y.Data, tensor.Float64s(t))
		return setReal(e, 0, y)
	case d.IsFloat():
		y := newResult[float32](e, d, out)
		foldBlocks(w, y.Data, tensor.Float32s(t))
		return setReal(e, 0, y)
	case d.IsInteger() || d == tensor.Bool:
		y := make([]int64, out.Len())
		foldBlocks(w, y, tensor.Int64s(t))
		e.SetOut(0, tensor.FromInt64s(d, out, y))
		return nil
	}
	return e.Errorf(0, "want numbers")
}

func foldBlocks[T number | int64](w *window, y, x []T) {
	clear(y)
	runs, step := w.allRuns(), w.step()
	pixels, plane := w.pixels(), w.plane()
	for c := range len(y) / max(1, plane) {
		for t, list := range runs {
			scatterRuns(y[c*plane:][:plane], x[(c*len(runs)+t)*pixels:][:pixels], list, step)
		}
	}
}

// inferCausalConv types CausalConvWithState: the result has the shape of the
// input, the state holds the last k-1 positions.
func inferCausalConv(c *Infer) error {
	x, w := c.Shape(0), c.Shape(1)
	c.SetOut(0, c.Elem(0), x)
	if len(x) != 3 {
		c.SetOut(1, c.Elem(0), nil)
		return nil
	}
	state := graph.Dims{x[0], x[1], graph.Unknown()}
	if len(w) == 3 && w[2].IsKnown() {
		state[2] = graph.Known(w[2].Size - 1)
	} else if past := c.Shape(3); len(past) == 3 {
		state[2] = past[2]
	}
	c.SetOut(1, c.Elem(0), state)
	return nil
}

func causalConvCost(c *Infer) Cost {
	x, okX := c.Shape(0).Static()
	w, okW := c.Shape(1).Static()
	if !okX || !okW || len(w) != 3 {
		return Cost{}
	}
	return matrixCost(c, int64(x.Len())*int64(w[2]))
}

// evalCausalConv computes CausalConvWithState: each channel of x [N, C, L] is
// convolved with its own k weights, over the k-1 positions of the state (or
// zeros) and those of x.
func evalCausalConv(e *Eval) error {
	x, w := e.Tensor(0), e.Tensor(1)
	s, ws := x.Shape(), w.Shape()
	if len(s) != 3 {
		return e.Errorf(0, "input has %d axes, want 3", len(s))
	}
	if len(ws) != 3 || ws[0] != s[1] || ws[1] != 1 || ws[2] < 1 {
		return e.Errorf(1, "want [%d,1,k]", s[1])
	}
	length, k := s[2], ws[2]
	stateShape := tensor.Shape{s[0], s[1], k - 1}
	past := realsOf[float32](e, 3)
	if past != nil && !e.Tensor(3).Shape().Equal(stateShape) {
		return e.Errorf(3, "state has another shape, want %v", stateShape)
	}
	silu := false
	switch a := e.Node.Str("activation", "none"); a {
	case "none", "":
	case "silu", "swish":
		silu = true
	default:
		return fmt.Errorf("attribute activation is %q, want none, silu or swish", a)
	}
	in, weight, bias := reals[float32](x), reals[float32](w), realsOf[float32](e, 2)
	y := newResult[float32](e, x.DType(), s)
	state := newResult[float32](e, x.DType(), stateShape)
	kern := e.kernels()
	e.Parallel(s[0]*s[1], max(1, 1<<14/max(1, length*k)), func(lo, hi int) {
		padded := make([]float32, k-1+length)
		for u := lo; u < hi; u++ {
			c := u % s[1]
			clear(padded[:k-1])
			if past != nil {
				copy(padded, past[u*(k-1):][:k-1])
			}
			copy(padded[k-1:], in[u*length:][:length])
			out := y.Data[u*length:][:length]
			fillWith(out, valueOr(bias, c))
			for t := range k {
				kern.Axpy(out, padded[t:], weight[c*k+t])
			}
			copy(state.Data[u*(k-1):][:k-1], padded[length:])
			if silu {
				kern.Silu(out, out)
			}
		}
	})
	if err := setReal(e, 0, y); err != nil {
		return err
	}
	return setReal(e, 1, state)
}
