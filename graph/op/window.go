package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
)

// window is the geometry of a window that slides over the spatial axes of an
// image, as convolutions and pools share it. Output pixel o reads, for tap t
// of the kernel, input pixel o*Stride + t*Dilation - Begin along each axis;
// positions outside of the input are padding.
type window struct {
	In, Out          []int // spatial extents
	Kernel           []int
	Stride, Dilation []int
	Begin, End       []int // padding before and after the input

	auto string
	ceil bool
}

// newWindow reads the attributes of a convolution or pool with the given
// kernel. Fit completes it.
func newWindow(c *Call, kernel []int) (*window, error) {
	rank := len(kernel)
	w := &window{
		Kernel: kernel,
		auto:   c.Node.Str("auto_pad", "NOTSET"),
		ceil:   c.Node.Int("ceil_mode", 0) != 0,
	}
	var err error
	if w.Stride, err = spatialAttr(c, "strides", rank, 1, 1); err != nil {
		return nil, err
	}
	if w.Dilation, err = spatialAttr(c, "dilations", rank, 1, 1); err != nil {
		return nil, err
	}
	pads, err := spatialAttr(c, "pads", 2*rank, 0, -1<<31)
	if err != nil {
		return nil, err
	}
	w.Begin, w.End = pads[:rank], pads[rank:]
	for i, k := range kernel {
		if k < 1 {
			return nil, fmt.Errorf("kernel is %v: extent %d of axis %d, want at least 1", kernel, k, i)
		}
	}
	switch w.auto {
	case "", "NOTSET":
		w.auto = "NOTSET"
	case "VALID", "SAME_UPPER", "SAME_LOWER":
		w.Begin, w.End = make([]int, rank), make([]int, rank)
	default:
		return nil, fmt.Errorf("auto_pad is %q, want NOTSET, VALID, SAME_UPPER or SAME_LOWER", w.auto)
	}
	return w, nil
}

// spatialAttr reads a list of n integers, each at least least; an absent list
// is n times def.
func spatialAttr(c *Call, name string, n, def, least int) ([]int, error) {
	out := make([]int, n)
	list := c.Node.Ints(name)
	for i := range out {
		out[i] = def
	}
	if len(list) == 0 {
		return out, nil
	}
	if len(list) != n {
		return nil, fmt.Errorf("attribute %s has %d numbers, want %d", name, len(list), n)
	}
	for i, v := range list {
		if v < int64(least) || v > 1<<31-1 {
			return nil, fmt.Errorf("attribute %s is %v: number %d is out of range", name, list, i)
		}
		out[i] = int(v)
	}
	return out, nil
}

// extent is how many input positions the kernel spans along an axis.
func (w *window) extent(axis int) int { return (w.Kernel[axis]-1)*w.Dilation[axis] + 1 }

// same reports whether the padding follows from the size of the output.
func (w *window) same() bool { return w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER" }

// fit places the window on an input of the given spatial extents.
func (w *window) fit(in []int) error {
	if len(in) != len(w.Kernel) {
		return fmt.Errorf("kernel has %d axes, want %d, one for each spatial axis of the input", len(w.Kernel), len(in))
	}
	w.In, w.Out = in, make([]int, len(in))
	for i, n := range in {
		if w.same() {
			w.Out[i] = ceilDiv(n, w.Stride[i])
			w.Begin[i], w.End[i] = w.share((w.Out[i]-1)*w.Stride[i] + w.extent(i) - n)
			continue
		}
		w.Out[i] = w.slots(i, n)
		if w.Out[i] < 0 {
			return fmt.Errorf("kernel spans %d positions of axis %d, which has %d with its padding",
				w.extent(i), i, n+w.Begin[i]+w.End[i])
		}
	}
	return nil
}

// share divides padding among the two ends of an axis.
func (w *window) share(total int) (begin, end int) {
	total = max(total, 0)
	if w.auto == "SAME_LOWER" {
		return total - total/2, total / 2
	}
	return total / 2, total - total/2
}

// slots counts the positions of the window along an axis of n input
// positions with explicit padding. Under ceil_mode a window may hang over the
// end, but must start within the input or the padding before it.
func (w *window) slots(axis, n int) int {
	free := n + w.Begin[axis] + w.End[axis] - w.extent(axis)
	switch {
	case n == 0:
		return 0
	case free < 0 && !w.ceil:
		return -1
	case !w.ceil:
		return free/w.Stride[axis] + 1
	}
	out := ceilDiv(free, w.Stride[axis]) + 1
	if (out-1)*w.Stride[axis] >= n+w.Begin[axis] {
		out--
	}
	return max(out, 0)
}

// dims returns the spatial dimensions of the output for those of the input.
func (w *window) dims(in graph.Dims) (graph.Dims, error) {
	if len(in) != len(w.Kernel) {
		return nil, fmt.Errorf("kernel has %d axes, want %d, one for each spatial axis of the input", len(w.Kernel), len(in))
	}
	out := make(graph.Dims, len(in))
	for i, d := range in {
		n := w.extent(i) - w.Begin[i] - w.End[i]
		switch {
		case d.IsKnown():
			one := &window{Kernel: w.Kernel[i : i+1], Stride: w.Stride[i : i+1], Dilation: w.Dilation[i : i+1],
				Begin: []int{w.Begin[i]}, End: []int{w.End[i]}, auto: w.auto, ceil: w.ceil}
			if err := one.fit([]int{d.Size}); err != nil {
				return nil, err
			}
			out[i] = graph.Known(one.Out[0])
		case w.same():
			out[i] = d.CeilDiv(graph.Known(w.Stride[i]))
		case w.ceil && w.Stride[i] > 1:
			out[i] = graph.Unknown()
		default:
			out[i] = divDim(d.Minus(graph.Number(n)), w.Stride[i]).Plus(graph.Known(1))
		}
	}
	return out, nil
}

// taps returns the number of positions of the kernel.
func (w *window) taps() int { return volume(w.Kernel) }

// pixels returns the number of output pixels.
func (w *window) pixels() int { return volume(w.Out) }

// plane returns the number of input pixels.
func (w *window) plane() int { return volume(w.In) }

// step is the distance between the input pixels of neighbours in a run.
func (w *window) step() int { return w.Stride[len(w.Stride)-1] }

// whole reports whether each output pixel reads the input pixel at its own
// place and nothing else.
func (w *window) whole() bool {
	for i := range w.Kernel {
		if w.Kernel[i] != 1 || w.Stride[i] != 1 || w.Begin[i] != 0 || w.End[i] != 0 {
			return false
		}
	}
	return true
}

// run is a stretch of output pixels Out, Out+1, … that read the input pixels
// In, In+step, … of one tap.
type run struct{ Out, In, N int }

// runs lists where one tap of the kernel falls within the input, in the order
// of the output pixels.
func (w *window) runs(tap int) []run {
	rank := len(w.Kernel)
	offset, lo, hi := make([]int, rank), make([]int, rank), make([]int, rank)
	count := 1
	for i := rank - 1; i >= 0; i-- {
		offset[i] = tap%w.Kernel[i]*w.Dilation[i] - w.Begin[i]
		tap /= w.Kernel[i]
		lo[i] = max(0, ceilDiv(-offset[i], w.Stride[i]))
		hi[i] = min(w.Out[i], floorDiv(w.In[i]-1-offset[i], w.Stride[i])+1)
		if lo[i] >= hi[i] {
			return nil
		}
		if i < rank-1 {
			count *= hi[i] - lo[i]
		}
	}
	last := rank - 1
	list := make([]run, 0, count)
	at := append([]int{}, lo...)
	for {
		out, in := 0, 0
		for i := range at {
			out = out*w.Out[i] + at[i]
			in = in*w.In[i] + at[i]*w.Stride[i] + offset[i]
		}
		list = append(list, run{out, in, hi[last] - lo[last]})
		i := last - 1
		for ; i >= 0; i-- {
			if at[i]++; at[i] < hi[i] {
				break
			}
			at[i] = lo[i]
		}
		if i < 0 {
			return list
		}
	}
}

// allRuns lists the runs of every tap.
func (w *window) allRuns() [][]run {
	all := make([][]run, w.taps())
	for t := range all {
		all[t] = w.runs(t)
	}
	return all
}

// sources is, for each output pixel, the input pixel that one tap reads, or
// -1 where that is padding.
func (w *window) sources(tap int) []int32 {
	idx := make([]int32, w.pixels())
	for i := range idx {
		idx[i] = -1
	}
	step := w.step()
	for _, r := range w.runs(tap) {
		for j := range r.N {
			idx[r.Out+j] = int32(r.In + j*step)
		}
	}
	return idx
}

func volume(extents []int) int {
	n := 1
	for _, d := range extents {
		n *= d
	}
	return n
}

// floorDiv and ceilDiv divide by a positive b.
func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

func ceilDiv(a, b int) int { return -floorDiv(-a, b) }
