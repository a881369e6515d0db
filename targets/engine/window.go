package engine

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
)

// window is the geometry of a convolution or pool over two axes, height then
// width, as a node states it.
type window struct {
	kernel, stride, dilation [2]int
	before, after            [2]int // padding
	same                     samePadding
	ceil                     bool
}

// samePadding says how much a window is padded if the node leaves that to the
// size of the image.
type samePadding uint8

const (
	padExplicit samePadding = iota
	padSameUpper
	padSameLower
)

// windowOf reads the attributes of a node whose window has the given size over
// one or two axes. One axis is the width of images of one row.
func windowOf(n *graph.Node, size ...int) (window, error) {
	w := window{kernel: [2]int{1, 1}, stride: [2]int{1, 1}, dilation: [2]int{1, 1}, ceil: n.Int("ceil_mode", 0) != 0}
	if len(size) != 1 && len(size) != 2 {
		return w, fmt.Errorf("the window has %d axes, want 1 or 2", len(size))
	}
	first := 2 - len(size)
	copy(w.kernel[first:], size)
	for _, a := range []struct {
		name string
		to   *[2]int
	}{{"strides", &w.stride}, {"dilations", &w.dilation}} {
		list := n.Ints(a.name)
		if list != nil && len(list) != len(size) {
			return w, fmt.Errorf("%s has %d numbers, want %d", a.name, len(list), len(size))
		}
		for i, v := range list {
			a.to[first+i] = int(v)
		}
		if a.to[0] < 1 || a.to[1] < 1 {
			return w, fmt.Errorf("%s is %v, want at least 1", a.name, *a.to)
		}
	}
	switch pad := n.Str("auto_pad", "NOTSET"); pad {
	case "SAME_UPPER":
		w.same = padSameUpper
	case "SAME_LOWER":
		w.same = padSameLower
	case "NOTSET":
		return w, w.pads(n.Ints("pads"), len(size))
	}
	return w, nil
}

func (w *window) pads(list []int64, axes int) error {
	switch {
	case list == nil:
		return nil
	case len(list) != 2*axes:
		return fmt.Errorf("pads has %d numbers, want %d", len(list), 2*axes)
	}
	for k := range axes {
		i := 2 - axes + k
		w.before[i], w.after[i] = int(list[k]), int(list[k+axes])
		if w.before[i] < 0 || w.after[i] < 0 {
			return fmt.Errorf("pads is %v, want no negative number", list)
		}
	}
	return nil
}

// extent is how many pixels the window spans along an axis.
func (w *window) extent(axis int) int { return (w.kernel[axis]-1)*w.dilation[axis] + 1 }

// border returns a halo with room for the padding of images of any size.
func (w *window) border() halo {
	if w.same == padExplicit {
		return halo{w.before[0], w.before[1], w.after[0], w.after[1]}
	}
	y, x := w.extent(0)/2, w.extent(1)/2
	return halo{y, x, y, x}
}

// over returns how many windows an axis of the given size has, and how much
// padding stands before its first pixel.
func (w *window) over(axis, size int) (count, before int, err error) {
	extent, stride := w.extent(axis), w.stride[axis]
	if w.same != padExplicit {
		count = (size + stride - 1) / stride
		total := max(0, (count-1)*stride+extent-size)
		before = total / 2
		if w.same == padSameLower {
			before = total - before
		}
		return count, before, nil
	}
	before = w.before[axis]
	room := size + before + w.after[axis] - extent
	if room < 0 {
		return 0, 0, fmt.Errorf("a window of %d does not fit %d pixels with padding %d and %d", extent, size, before, w.after[axis])
	}
	count = room/stride + 1
	if w.ceil && room%stride != 0 && count*stride < size+before {
		count++ // a last window that starts within the image
	}
	return count, before, nil
}
