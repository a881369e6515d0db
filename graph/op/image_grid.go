package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// inferAffineGrid types the grid [N,H,W,2] or [N,D,H,W,3] of an image size.
func inferAffineGrid(c *Infer) error {
	size := c.Dims(1)
	if len(size) < 4 {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	out := append(graph.Dims{size[0]}, size[2:]...)
	c.SetOut(0, c.Elem(0), append(out, graph.Known(len(size)-2)))
	return nil
}

// evalAffineGrid computes AffineGrid: theta [N,r,r+1] times the homogeneous
// place of each pixel of an image of the given size, in -1..1 along each axis.
func evalAffineGrid[T real](e *Eval) error {
	size, err := e.ints(1)
	if err != nil {
		return err
	}
	rank := len(size) - 2
	if rank < 2 || rank > 3 {
		return e.Errorf(1, "want a size [N,C,H,W] or [N,C,D,H,W]")
	}
	if want := (tensor.Shape{size[0], rank, rank + 1}); !e.Tensor(0).Shape().Equal(want) {
		return e.Errorf(0, "want %v", want)
	}
	shape := append(append(tensor.Shape{size[0]}, size[2:]...), rank)
	if err := shape.Check(); err != nil {
		return e.Errorf(1, "%w", err)
	}
	theta := realsOf[T](e, 0)
	corners := e.Node.Int("align_corners", 0) != 0
	y := newResult[T](e, e.Tensor(0).DType(), shape)
	pixels := volume(size[2:])
	at, place := make([]int, rank), make([]T, rank+1)
	place[rank] = 1
	for u := range size[0] * pixels {
		unravel(at, u%pixels, size[2:])
		for i, k := range at {
			place[rank-1-i] = T(gridPlace(k, size[2+i], corners)) // x comes first
		}
		for i := range rank {
			row := theta[(u/pixels*rank+i)*(rank+1):][:rank+1]
			sum := T(0)
			for j, v := range row {
				sum += v * place[j]
			}
			y.Data[u*rank+i] = sum
		}
	}
	return setReal(e, 0, y)
}

// gridPlace is the place of pixel k of n in -1..1: of its center, or, where
// corners align, such that the outermost centers are at the ends.
func gridPlace(k, n int, corners bool) float64 {
	if !corners {
		return (2*float64(k)+1)/float64(n) - 1
	}
	if n == 1 {
		return -1
	}
	return 2*float64(k)/float64(n-1) - 1
}

// inferGridSample types the result [N, C, grid...].
func inferGridSample(c *Infer) error {
	x, grid := c.Shape(0), c.Shape(1)
	if x == nil && grid == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	rank := max(len(x), len(grid))
	if x != nil && grid != nil && len(x) != len(grid) {
		return c.Errorf(1, "grid has %d axes, want %d", len(grid), len(x))
	}
	out := unknownDims(rank)
	if len(x) > 1 {
		out[0], out[1] = x[0], x[1]
	}
	if grid != nil && rank > 2 {
		copy(out[2:], grid[1:rank-1])
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// gridSample is a call of GridSample: an image is read at the places of a
// grid, which are in -1..1 along each axis, the last axis first.
type gridSample struct {
	mode    string // nearest, linear, cubic
	padding string // zeros, border, reflection
	corners bool
	in      []int // spatial extents
}

func newGridSample(e *Eval) (*gridSample, error) {
	x, grid := e.Tensor(0).Shape(), e.Tensor(1).Shape()
	if len(x) < 3 {
		return nil, e.Errorf(0, "image has %d axes, want 3 or more", len(x))
	}
	if len(grid) != len(x) || grid[0] != x[0] || grid[len(grid)-1] != len(x)-2 {
		return nil, e.Errorf(1, "grid does not fit an image %v", x)
	}
	g := &gridSample{
		mode:    e.Node.Str("mode", "linear"),
		padding: e.Node.Str("padding_mode", "zeros"),
		corners: e.Node.Int("align_corners", 0) != 0,
		in:      x[2:],
	}
	switch g.mode {
	case "nearest", "linear", "cubic":
	case "bilinear":
		g.mode = "linear"
	case "bicubic":
		g.mode = "cubic"
	default:
		return nil, fmt.Errorf("attribute mode is %q, want nearest, linear or cubic", g.mode)
	}
	switch g.padding {
	case "zeros", "border", "reflection":
	default:
		return nil, fmt.Errorf("attribute padding_mode is %q, want zeros, border or reflection", g.padding)
	}
	if volume(g.in) == 0 {
		return nil, e.Errorf(0, "image has no pixels")
	}
	return g, nil
}

// pixelOf maps a place in -1..1 along an axis to one in pixels.
func pixelOf[T real](g *gridSample, place T, axis int) float64 {
	n := T(g.in[axis])
	if g.corners {
		return float64((place + 1) / 2 * (n - 1))
	}
	return float64(((place+1)*n - 1) / 2)
}

// bounds are where reflection takes place along an axis.
func (g *gridSample) bounds(axis int) (lo, hi float64) {
	if g.corners {
		return 0, float64(g.in[axis] - 1)
	}
	return -0.5, float64(g.in[axis]) - 0.5
}

func reflect(x, lo, hi float64) float64 {
	span := hi - lo
	if span <= 0 {
		return lo
	}
	d := math.Abs(x - lo)
	if x > hi {
		d = x - hi
	} else if x >= lo {
		return x
	}
	turns := math.Floor(d / span)
	rest := d - turns*span
	if (math.Mod(turns, 2) == 0) == (x < lo) {
		return lo + rest
	}
	return hi - rest
}

// fold moves a place outside of the image to where it is read.
func (g *gridSample) fold(x float64, axis int) float64 {
	x = min(max(x, -1<<30), 1<<30)
	if g.mode == "nearest" {
		x = math.RoundToEven(x)
	}
	lo, hi := g.bounds(axis)
	if x < lo || x > hi {
		switch g.padding {
		case "border":
			return min(max(x, 0), float64(g.in[axis]-1))
		case "reflection":
			return reflect(x, lo, hi)
		}
	}
	return x
}

// taps returns which pixels along an axis make the value at x.
func (g *gridSample) taps(x float64, axis int) taps {
	if x != x {
		return taps{}
	}
	x = g.fold(x, axis)
	first, n := int(math.Floor(x)), 2
	weight := linearWeight
	switch g.mode {
	case "nearest":
		first, n, weight = int(x), 1, func(float64) float64 { return 1 }
	case "cubic":
		first, n, weight = first-1, 4, func(d float64) float64 { return cubicWeight(d, -0.75) }
	}
	var t taps
	for i := first; i < first+n; i++ {
		if at := g.inside(i, axis); at >= 0 {
			t.at = append(t.at, at)
			t.weights = append(t.weights, weight(float64(i)-x))
		}
	}
	return t
}

// inside returns the pixel that stands for pixel i, -1 if that is zero.
func (g *gridSample) inside(i, axis int) int {
	n := g.in[axis]
	if i >= 0 && i < n {
		return i
	}
	switch g.padding {
	case "border":
		return min(max(i, 0), n-1)
	case "reflection":
		lo, hi := g.bounds(axis)
		return min(max(int(reflect(float64(i), lo, hi)), 0), n-1)
	}
	return -1
}

// corner is one pixel that takes part in a value.
type corner[T real] struct {
	at     int
	weight T
}

// corners combines the taps of all axes.
func corners[T real](list []corner[T], g *gridSample, place []T) []corner[T] {
	list = append(list[:0], corner[T]{0, 1})
	rank := len(g.in)
	for axis := range rank {
		t := g.taps(pixelOf(g, place[rank-1-axis], axis), axis)
		old := len(list)
		for k, at := range t.at {
			for _, c := range list[:old] {
				list = append(list, corner[T]{c.at*g.in[axis] + at, c.weight * T(t.weights[k])})
			}
		}
		list = append(list[:0], list[old:]...)
	}
	return list
}

// evalGridSample computes GridSample. The corners of a place serve all
// channels.
func evalGridSample[T real](e *Eval) error {
	g, err := newGridSample(e)
	if err != nil {
		return err
	}
	x, gridShape := e.Tensor(0), e.Tensor(1).Shape()
	rank := len(g.in)
	s := x.Shape()
	out := append(tensor.Shape{s[0], s[1]}, gridShape[1:rank+1]...)
	pixels, plane := volume(out[2:]), volume(g.in)
	data, grid := reals[T](x), realsOf[T](e, 1)
	y := newResult[T](e, x.DType(), out)
	e.Parallel(s[0]*pixels, 64, func(lo, hi int) {
		var list []corner[T]
		for u := lo; u < hi; u++ {
			n, p := u/pixels, u%pixels
			list = corners(list, g, grid[u*rank:][:rank])
			for c := range s[1] {
				image := data[(n*s[1]+c)*plane:][:plane]
				sum := T(0)
				for _, k := range list {
					sum += k.weight * image[k.at]
				}
				y.Data[(n*s[1]+c)*pixels+p] = sum
			}
		}
	})
	return setReal(e, 0, y)
}
