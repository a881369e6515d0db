package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privateImageDefs are gradients of operators that read images in windows and
// between pixels. They have the attributes of the operator.
//
//	Col2ImGrad (dy, image shape, block shape)   gradient by the blocks
//	GridSampleGrad (dy, x, grid)                gradients by image and grid
var privateImageDefs = []*Def{
	{Domain: PrivateDomain, Name: "Col2ImGrad", Since: 1, Cost: perElement(1), Infer: inferCol2ImGrad,
		Eval: evalReal(0, evalCol2ImGrad[float32], evalCol2ImGrad[float64])},
	{Domain: PrivateDomain, Name: "GridSampleGrad", Since: 1, Cost: perInput(20), Infer: inferGridSampleGrad,
		Eval: evalReal(0, evalGridSampleGrad[float32], evalGridSampleGrad[float64])},
}

func inferCol2ImGrad(c *Infer) error {
	out := unknownDims(3)
	if s := c.Shape(0); len(s) > 0 {
		out[0] = s[0]
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// evalCol2ImGrad takes the blocks out of the gradient of the image that they
// were added to.
func evalCol2ImGrad[T real](e *Eval) error {
	w, err := blockWindow(e)
	if err != nil {
		return err
	}
	s := e.Tensor(0).Shape()
	if len(s) != len(w.In)+2 || !s[2:].Equal(tensor.Shape(w.In)) {
		return e.Errorf(0, "want images of %v", w.In)
	}
	dy := realsOf[T](e, 0)
	dx := newResult[T](e, e.Tensor(0).DType(), tensor.Shape{s[0], s[1] * w.taps(), w.pixels()})
	runs, step, pixels, plane := w.allRuns(), w.step(), w.pixels(), w.plane()
	e.Parallel(s[0]*s[1], max(1, grain/max(1, w.taps()*pixels)), func(lo, hi int) {
		for c := lo; c < hi; c++ {
			src := dy[c*plane:][:plane]
			for t, list := range runs {
				dst := dx.Data[(c*len(runs)+t)*pixels:][:pixels]
				clear(dst)
				for _, r := range list {
					for j := range r.N {
						dst[r.Out+j] = src[r.In+j*step]
					}
				}
			}
		}
	})
	return setReal(e, 0, dx)
}

func inferGridSampleGrad(c *Infer) error {
	c.SetOut(0, c.Elem(1), c.Shape(1))
	c.SetOut(1, c.Elem(2), c.Shape(2))
	return nil
}

// tapSlopes returns what the weights of the taps at a place of an axis change
// by when the place in -1..1 does.
func (g *gridSample) tapSlopes(x float64, axis int) []float64 {
	if x != x || g.mode == "nearest" {
		return make([]float64, len(g.taps(x, axis).at))
	}
	at := g.fold(x, axis)
	scale := float64(g.in[axis]) / 2
	if g.corners {
		scale = float64(g.in[axis]-1) / 2
	}
	scale *= g.foldSlope(x, axis)
	first, n, slope := int(math.Floor(at)), 2, linearSlope
	if g.mode == "cubic" {
		first, n, slope = first-1, 4, func(d float64) float64 { return cubicSlope(d, -0.75) }
	}
	var list []float64
	for i := first; i < first+n; i++ {
		if g.inside(i, axis) >= 0 {
			list = append(list, -scale*slope(float64(i)-at))
		}
	}
	return list
}

// linearSlope is the derivative of linearWeight, at zero that of a place just
// after a pixel.
func linearSlope(d float64) float64 {
	if d <= 0 {
		return 1
	}
	return -1
}

// cubicSlope is the derivative of cubicWeight.
func cubicSlope(d, a float64) float64 {
	sign := math.Copysign(1, d)
	d = math.Abs(d)
	switch {
	case d <= 1:
		return sign * (3*(a+2)*d - 2*(a+3)) * d
	case d < 2:
		return sign * (3*a*d*d - 10*a*d + 8*a)
	}
	return 0
}

// foldSlope is the derivative of fold: 0 beyond a border, and 1 or -1 with the
// number of reflections.
func (g *gridSample) foldSlope(x float64, axis int) float64 {
	lo, hi := g.bounds(axis)
	if x >= lo && x <= hi || g.padding == "zeros" {
		return 1
	}
	if g.padding == "border" || hi <= lo {
		return 0
	}
	turns := math.Floor(max(lo-x, x-hi) / (hi - lo))
	if math.Mod(turns, 2) == 0 {
		return -1
	}
	return 1
}

// slopedCorner is a pixel that takes part in a value, with what its weight
// changes by along each axis.
type slopedCorner[T real] struct {
	corner[T]
	slopes [3]T
}

// slopedCorners lists the pixels that make the value at a place.
func slopedCorners[T real](g *gridSample, place []T) []slopedCorner[T] {
	rank := len(g.in)
	list := []slopedCorner[T]{{corner: corner[T]{0, 1}, slopes: [3]T{1, 1, 1}}}
	for axis := range rank {
		x := pixelOf(g, place[rank-1-axis], axis)
		t, slopes := g.taps(x, axis), g.tapSlopes(x, axis)
		var next []slopedCorner[T]
		for k, at := range t.at {
			for _, c := range list {
				c.at = c.at*g.in[axis] + at
				c.weight *= T(t.weights[k])
				for a := range c.slopes {
					if a == axis {
						c.slopes[a] *= T(slopes[k])
					} else {
						c.slopes[a] *= T(t.weights[k])
					}
				}
				next = append(next, c)
			}
		}
		list = next
	}
	return list
}

// evalGridSampleGrad gives each gradient to the pixels that made its value, by
// their weights, and to the place by the slopes of the weights. Batches of
// images stand for themselves.
func evalGridSampleGrad[T real](e *Eval) error {
	call := *e
	call.In = []tensor.Value{e.In[1], e.In[2]}
	g, err := newGridSample(&call)
	if err != nil {
		return err
	}
	x, gs := e.Tensor(1), e.Tensor(2).Shape()
	rank, s := len(g.in), x.Shape()
	if want := append(tensor.Shape{s[0], s[1]}, gs[1:rank+1]...); !e.Tensor(0).Shape().Equal(want) {
		return e.Errorf(0, "want the shape %v of the result", want)
	}
	if rank > 3 {
		return e.Errorf(1, "image has %d axes, the gradient is known of up to 5", len(s))
	}
	dy, data, grid := realsOf[T](e, 0), realsOf[T](e, 1), realsOf[T](e, 2)
	dx, dgrid := newResult[T](e, x.DType(), s), newResult[T](e, e.Tensor(2).DType(), gs)
	clear(dx.Data)
	clear(dgrid.Data)
	pixels, plane := volume(gs[1:rank+1]), volume(g.in)
	e.Parallel(s[0], 1, func(lo, hi int) {
		for u := lo * pixels; u < hi*pixels; u++ {
			n, p := u/pixels, u%pixels
			list := slopedCorners(g, grid[u*rank:][:rank])
			for c := range s[1] {
				d, at := dy[(n*s[1]+c)*pixels+p], (n*s[1]+c)*plane
				for _, k := range list {
					dx.Data[at+k.at] += d * k.weight
					for a := range rank {
						dgrid.Data[u*rank+rank-1-a] += d * data[at+k.at] * k.slopes[a]
					}
				}
			}
		}
	})
	if err := setReal(e, 0, dx); err != nil {
		return err
	}
	return setReal(e, 1, dgrid)
}
