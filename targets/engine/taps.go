package engine

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// slide is the plan of a window that slides over images of one size without a
// halo: for each row of the result, runs of pixels that share their taps.
// Windows at the border have fewer taps, so that padding is never read.
type slide struct {
	oh, ow int
	rows   [][]slideRun
}

// slideRun is a run of output pixels [x, x+w) whose first window begins at
// offset in from the image's first pixel.
type slideRun struct {
	x, w, in int
	taps     []kernel.Tap
}

// slideOver plans w over images of the given size; step is the distance of
// rows and c that of pixels in memory. The taps' weights lie at
// (ky*kw+kx)*c.
func (w *window) slideOver(h, width, step, c int) (*slide, error) {
	oh, top, err := w.over(0, h)
	if err != nil {
		return nil, fmt.Errorf("height: %w", err)
	}
	ow, left, err := w.over(1, width)
	if err != nil {
		return nil, fmt.Errorf("width: %w", err)
	}
	s := &slide{oh: oh, ow: ow}
	lists := map[[4]int][]kernel.Tap{}
	for y := range oh {
		ylo, yhi := w.inside(0, y*w.stride[0]-top, h)
		var row []slideRun
		for x := 0; x < ow; {
			xlo, xhi := w.inside(1, x*w.stride[1]-left, width)
			end := x + 1
			for end < ow && sameInside(w, end*w.stride[1]-left, width, xlo, xhi) {
				end++
			}
			key := [4]int{ylo, yhi, xlo, xhi}
			taps, ok := lists[key]
			if !ok {
				taps = w.tapList(key, step, c)
				lists[key] = taps
			}
			in := (y*w.stride[0]-top+ylo*w.dilation[0])*step + (x*w.stride[1]-left+xlo*w.dilation[1])*c
			row = append(row, slideRun{x: x, w: end - x, in: max(in, 0), taps: taps})
			x = end
		}
		s.rows = append(s.rows, row)
	}
	return s, nil
}

func sameInside(w *window, start, size, lo, hi int) bool {
	l, h := w.inside(1, start, size)
	return l == lo && h == hi
}

// inside returns which of the window's positions along an axis lie within
// 0..size-1 if its first is at start.
func (w *window) inside(axis, start, size int) (lo, hi int) {
	d := w.dilation[axis]
	lo = max(0, (-start+d-1)/d)
	hi = min(w.kernel[axis], (size-1-start)/d+1)
	if start >= size {
		hi = 0
	}
	return min(lo, w.kernel[axis]), max(hi, min(lo, w.kernel[axis]))
}

// tapList lists the taps of a part of the window, from its first position.
func (w *window) tapList(part [4]int, step, c int) []kernel.Tap {
	taps := []kernel.Tap{}
	for y := part[0]; y < part[1]; y++ {
		for x := part[2]; x < part[3]; x++ {
			in := (y-part[0])*w.dilation[0]*step + (x-part[2])*w.dilation[1]*c
			taps = append(taps, kernel.Tap{In: int32(in), W: int32((y*w.kernel[1] + x) * c)})
		}
	}
	return taps
}
