package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privateRegionDefs are gradients of operators that read regions of images,
// or at places that are moved. They have the attributes of the operator.
//
//	RoiAlignGrad (dy, rois, batch indices, x)      gradient by the image
//	MaxRoiPoolGrad (dy, rois, x)                   the same
//	DeformConvGrad (dy, x, w, offset, mask)        gradients by the last four;
//	                                               mask may be omitted
var privateRegionDefs = []*Def{
	{Domain: PrivateDomain, Name: "RoiAlignGrad", Since: 1, Cost: perInput(10), Infer: inferLikeInput(3),
		Eval: evalReal(0, evalRoiAlignGrad[float32], evalRoiAlignGrad[float64])},
	{Domain: PrivateDomain, Name: "MaxRoiPoolGrad", Since: 1, Cost: perInput(2), Infer: inferLikeInput(2),
		Eval: evalReal(0, evalMaxRoiPoolGrad[float32], evalMaxRoiPoolGrad[float64])},
	{Domain: PrivateDomain, Name: "DeformConvGrad", Since: 1, Cost: perInput(40), Infer: inferLikeInput(1, 2, 3, 4),
		Eval: evalReal(0, evalDeformConvGrad[float32], evalDeformConvGrad[float64])},
}

// inferLikeInput types results, each like one of the inputs.
func inferLikeInput(inputs ...int) func(*Infer) error {
	return func(c *Infer) error {
		for i, k := range inputs {
			c.SetOut(i, c.Elem(k), c.Shape(k))
		}
		return nil
	}
}

// evalRoiAlignGrad gives each gradient to the pixels of its cell's samples.
// Channels stand for themselves, so that regions may overlap.
func evalRoiAlignGrad[T real](e *Eval) error {
	r, err := newRoiAlign(e)
	if err != nil {
		return err
	}
	x, rois := e.Tensor(3), e.Tensor(1)
	batch, err := e.ints(2)
	if err != nil {
		return err
	}
	s := x.Shape()
	n := len(batch)
	want := tensor.Shape{n, 0, r.height, r.width}
	if len(s) == 4 {
		want[1] = s[1]
	}
	if len(s) != 4 || !rois.Shape().Equal(tensor.Shape{n, 4}) || !e.Tensor(0).Shape().Equal(want) {
		return e.Errorf(0, "want the shape %v for regions %v of images %v", want, rois.Shape(), s)
	}
	regions := make([][][]sample, n)
	corners := tensor.Float64s(rois)
	for i, b := range batch {
		if b < 0 || b >= s[0] {
			return e.Errorf(2, "index %d is outside of the %d images", b, s[0])
		}
		regions[i] = r.samples([4]float64(corners[4*i:]), s[2], s[3])
	}
	dy, in := realsOf[T](e, 0), realsOf[T](e, 3)
	dx := newResult[T](e, x.DType(), s)
	clear(dx.Data)
	plane, cells := s[2]*s[3], r.height*r.width
	e.Parallel(s[1], 1, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			for i, b := range batch {
				at := (b*s[1] + c) * plane
				spreadCells(dx.Data[at:][:plane], in[at:][:plane], dy[(i*s[1]+c)*cells:][:cells], regions[i], r.max)
			}
		}
	})
	return setReal(e, 0, dx)
}

// spreadCells is the adjoint of alignCells.
func spreadCells[T real](dx, image, dy []T, cells [][]sample, greatest bool) {
	for i, cell := range cells {
		best, weight, top := -1, 0.0, 0.0
		for _, s := range cell {
			for k, at := range s.at {
				if part := s.w[k] * float64(image[at]); best < 0 || part > top {
					best, weight, top = at, s.w[k], part
				}
				if !greatest {
					dx[at] += dy[i] * T(s.w[k]/float64(len(cell)))
				}
			}
		}
		if greatest && best >= 0 {
			dx[best] += dy[i] * T(weight)
		}
	}
}

// evalMaxRoiPoolGrad gives each gradient to the first greatest element of its
// cell.
func evalMaxRoiPoolGrad[T real](e *Eval) error {
	x, rois := e.Tensor(2), e.Tensor(1)
	s, rs := x.Shape(), rois.Shape()
	pooled, err := positive(e.Node.Ints("pooled_shape"), "pooled_shape")
	if err != nil || len(pooled) != 2 || len(s) != 4 || len(rs) != 2 || rs[1] != 5 {
		return e.Errorf(1, "regions do not fit images %v pooled to %v", s, pooled)
	}
	if want := (tensor.Shape{rs[0], s[1], pooled[0], pooled[1]}); !e.Tensor(0).Shape().Equal(want) {
		return e.Errorf(0, "want the shape %v of the result", want)
	}
	dy, in, regions := realsOf[T](e, 0), realsOf[T](e, 2), realsOf[T](e, 1)
	dx := newResult[T](e, x.DType(), s)
	clear(dx.Data)
	err = eachRegion(e, s, regions, pooled, func(image, cells int, rows, cols [][2]int) {
		spreadMax(dx.Data[image:], in[image:], dy[cells:], rows, cols, s[3])
	})
	if err != nil {
		return err
	}
	return setReal(e, 0, dx)
}

// spreadMax is the adjoint of maxCells.
func spreadMax[T real](dx, plane, dy []T, rows, cols [][2]int, width int) {
	for i, r := range rows {
		for j, c := range cols {
			best := -1
			for h := r[0]; h < r[1]; h++ {
				for w := c[0]; w < c[1]; w++ {
					if at := h*width + w; best < 0 || plane[at] > plane[best] {
						best = at
					}
				}
			}
			if best >= 0 {
				dx[best] += dy[i*len(cols)+j]
			}
		}
	}
}

// deformGrad collects the gradients of a DeformConv.
type deformGrad[T real] struct {
	*deformConv
	x, weight, offset, mask     []T
	dx, dweight, doffset, dmask []T
}

// evalDeformConvGrad: with the sampled patches p of a group, y = w p gives
// dw = dy p' and dp = w' dy; what a patch read gets its gradient by the
// weights of the pixels, the place by their slopes.
func evalDeformConvGrad[T real](e *Eval) error {
	call := *e
	call.In = make([]tensor.Value, 5)
	copy(call.In, e.In[1:4])
	if len(e.In) > 4 {
		call.In[4] = e.In[4]
	}
	d, err := newDeformConv(&call)
	if err != nil {
		return err
	}
	if !e.Tensor(0).Shape().Equal(d.shape()) {
		return e.Errorf(0, "want the shape %v of the convolution's result", d.shape())
	}
	g := &deformGrad[T]{deformConv: d, x: realsOf[T](e, 1), weight: realsOf[T](e, 2), offset: realsOf[T](e, 3), mask: realsOf[T](e, 4)}
	var results []*result[T]
	for i, to := range []*[]T{&g.dx, &g.dweight, &g.doffset, &g.dmask} {
		t := e.Tensor(1 + i)
		if t == nil {
			continue
		}
		r := newResult[T](e, t.DType(), t.Shape())
		clear(r.Data)
		*to = r.Data
		results = append(results, r)
	}
	g.run(e, realsOf[T](e, 0))
	for i, r := range results {
		if err := setReal(e, i, r); err != nil {
			return fmt.Errorf("result %d: %w", i, err)
		}
	}
	return nil
}

func (g *deformGrad[T]) run(e *Eval, dy []T) {
	in, out := g.perGroup()
	depth, pixels := g.depth(), g.pixels()
	patches, dp, dw := make([]T, depth*pixels), make([]T, depth*pixels), make([]T, out*depth)
	for ng := range g.Batch * g.Group {
		n, group := ng/g.Group, ng%g.Group
		for c := range in {
			samplePatches(g.deformConv, patches[c*g.taps()*pixels:], g.x, g.offset, g.mask, n, group*in+c)
		}
		grad := rowMajor(dy[(n*g.Filters+group*out)*pixels:], pixels)
		weight := rowMajor(g.weight[group*out*depth:], depth)
		multiplyMatrices(e, rowMajor(dw, depth), grad, rowMajor(patches, pixels).transposed(), out, depth, pixels)
		for i, v := range dw {
			g.dweight[group*out*depth+i] += v
		}
		multiplyMatrices(e, rowMajor(dp, pixels), weight.transposed(), grad, depth, pixels, out)
		for c := range in {
			g.channel(dp[c*g.taps()*pixels:], n, group*in+c)
		}
	}
}

// channel spreads the gradient [taps, pixels] by the patches of one channel.
func (g *deformGrad[T]) channel(dp []T, n, channel int) {
	rank, taps, pixels, plane := len(g.Kernel), g.taps(), g.pixels(), g.plane()
	group := n*g.offsetGroups + channel/(g.Channels/g.offsetGroups)
	image := (n*g.Channels + channel) * plane
	pos, slope := make([]float64, rank), make([]float64, rank)
	tap, out := make([]int, rank), make([]int, rank)
	for t := range taps {
		unravel(tap, t, g.Kernel)
		for p := range pixels {
			unravel(out, p, g.Out)
			movedPlace(g.deformConv, pos, tap, out, g.offset[(group*taps+t)*rank*pixels+p:])
			d, at := dp[t*pixels+p], (group*taps+t)*pixels+p
			if g.mask != nil {
				g.dmask[at] += d * T(interpolate(g.x[image:][:plane], g.In, pos))
				d *= g.mask[at]
			}
			spreadBetween(g.dx[image:][:plane], g.x[image:][:plane], g.In, pos, slope, d)
			for i, v := range slope {
				g.doffset[((group*taps+t)*rank+i)*pixels+p] += d * T(v)
			}
		}
	}
}

// spreadBetween is the adjoint of interpolate: it adds d times the weights to
// the pixels of dx around a position, and sets slope to what the value changes
// by along each axis.
func spreadBetween[T real](dx, image []T, shape []int, pos, slope []float64, d T) {
	clear(slope)
	rank := len(shape)
	weights, signs := make([]float64, rank), make([]float64, rank)
corners:
	for corner := range 1 << rank {
		at, all := 0, 1.0
		for i, p := range pos {
			low := math.Floor(p)
			k, frac, sign := int(low), p-low, 1.0
			if corner>>i&1 == 1 {
				k++
			} else {
				frac, sign = 1-frac, -1
			}
			if k < 0 || k >= shape[i] {
				continue corners
			}
			weights[i], signs[i] = frac, sign
			all *= frac
			at = at*shape[i] + k
		}
		dx[at] += d * T(all)
		for i := range slope {
			part := signs[i]
			for j, w := range weights {
				if j != i {
					part *= w
				}
			}
			slope[i] += part * float64(image[at])
		}
	}
}
