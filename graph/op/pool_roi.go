package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// unpoolShape returns the spatial extents that a MaxUnpool gives by default:
// those of the image that a pool with the same attributes would reduce.
func unpoolShape(c *Call, in []int) ([]int, error) {
	kernel, err := poolKernel(c, len(in)+2)
	if err != nil {
		return nil, err
	}
	w, err := newWindow(c, kernel)
	if err != nil {
		return nil, err
	}
	out := make([]int, len(in))
	for i, n := range in {
		out[i] = (n-1)*w.Stride[i] - w.Begin[i] - w.End[i] + kernel[i]
	}
	return out, nil
}

func inferMaxUnpool(c *Infer) error {
	x := c.Shape(0)
	if c.Has(2) {
		c.SetOut(0, c.Elem(0), c.Dims(2))
		return nil
	}
	if x == nil || len(x) < 3 {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	out := append(graph.Dims{x[0], x[1]}, unknownDims(len(x)-2)...)
	if in, ok := x[2:].Static(); ok {
		s, err := unpoolShape(&c.Call, in)
		if err != nil {
			return c.Errorf(0, "%v", err)
		}
		copy(out[2:], graph.DimsOf(s))
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// evalMaxUnpool puts each element where its index says, zeros elsewhere. The
// indices are places in the image that the attributes describe; a larger
// output_shape holds that image in its first corner.
func evalMaxUnpool(e *Eval) error {
	x, index := e.Tensor(0), e.Tensor(1)
	s := x.Shape()
	if len(s) < 3 || !s.Equal(index.Shape()) {
		return e.Errorf(1, "indices of another shape than the image %v", s)
	}
	spatial, err := unpoolShape(&e.Call, s[2:])
	if err != nil {
		return e.Errorf(0, "%v", err)
	}
	small := append(tensor.Shape{s[0], s[1]}, spatial...)
	shape := small
	if e.Tensor(2) != nil {
		given, err := e.ints(2)
		if err != nil {
			return err
		}
		if shape = given; len(shape) != len(small) {
			return e.Errorf(2, "shape has %d axes, want %d", len(shape), len(small))
		}
	}
	if err := shape.Check(); err != nil {
		return e.Errorf(0, "%v", err)
	}
	y := tensor.New(x.DType(), shape)
	size := x.DType().Bits() / 8
	at, strides := make([]int, len(small)), shape.Strides()
	limit := int64(small.Len())
	for i, v := range tensor.Data[int64](index) {
		if v < 0 || v >= limit {
			return e.Errorf(1, "index %d is outside of the %d places", v, limit)
		}
		unravel(at, int(v), small)
		to := 0
		for a, c := range at {
			if c >= shape[a] {
				return e.Errorf(1, "index %d is outside of the shape %v", v, shape)
			}
			to += c * strides[a]
		}
		copy(y.Bytes()[to*size:][:size], x.Bytes()[i*size:])
	}
	e.SetOut(0, y)
	return nil
}

func inferMaxRoiPool(c *Infer) error {
	pooled := c.Node.Ints("pooled_shape")
	if len(pooled) != 2 {
		return fmt.Errorf("attribute pooled_shape has %d numbers, want 2", len(pooled))
	}
	return inferRois(c, int(pooled[0]), int(pooled[1]))
}

// inferRois types the result of an operator that reads regions (input 1) of
// an image: [regions, channels, height, width].
func inferRois(c *Infer, height, width int) error {
	out := graph.Dims{graph.Unknown(), graph.Unknown(), graph.Known(height), graph.Known(width)}
	if x := c.Shape(0); x != nil {
		if len(x) != 4 {
			return c.Errorf(0, "image has %d axes, want 4", len(x))
		}
		out[1] = x[1]
	}
	if r := c.Shape(1); r != nil {
		if len(r) != 2 {
			return c.Errorf(1, "regions have %d axes, want 2", len(r))
		}
		out[0] = r[0]
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// evalMaxRoiPool divides each region (batch index, x1, y1, x2, y2; corners
// included) into cells and takes the greatest element of each.
func evalMaxRoiPool[T real](e *Eval) error {
	x, rois := e.Tensor(0), e.Tensor(1)
	s, rs := x.Shape(), rois.Shape()
	if len(s) != 4 {
		return e.Errorf(0, "image has %d axes, want 4", len(s))
	}
	if len(rs) != 2 || rs[1] != 5 {
		return e.Errorf(1, "want regions [n,5]")
	}
	pooled, err := positive(e.Node.Ints("pooled_shape"), "pooled_shape")
	if err != nil || len(pooled) != 2 {
		return fmt.Errorf("attribute pooled_shape is %v, want two sizes", e.Node.Ints("pooled_shape"))
	}
	in, regions := reals[T](x), reals[T](rois)
	y := newResult[T](e, x.DType(), tensor.Shape{rs[0], s[1], pooled[0], pooled[1]})
	err = eachRegion(e, s, regions, pooled, func(image, cells int, rows, cols [][2]int) {
		maxCells(y.Data[cells:], in[image:][:s[2]*s[3]], rows, cols, s[3])
	})
	if err != nil {
		return err
	}
	return setReal(e, 0, y)
}

// eachRegion calls do for every channel of every region (MaxRoiPool's input 1) of
// images of shape s: with where the channel's image and the region's cells
// begin, and the rows and columns of the cells. Channels may run at a time.
func eachRegion[T real](e *Eval, s tensor.Shape, regions []T, pooled []int, do func(image, cells int, rows, cols [][2]int)) error {
	scale := float64(e.Node.Float("spatial_scale", 1))
	for r := range len(regions) / 5 {
		roi := regions[r*5:][:5]
		n := int(roi[0])
		if n < 0 || n >= s[0] {
			return e.Errorf(1, "region %d is of image %d, there are %d", r, n, s[0])
		}
		rows := roiCells(roi[2], roi[4], scale, pooled[0], s[2])
		cols := roiCells(roi[1], roi[3], scale, pooled[1], s[3])
		e.Parallel(s[1], 16, func(lo, hi int) {
			for c := lo; c < hi; c++ {
				do((n*s[1]+c)*s[2]*s[3], (r*s[1]+c)*len(rows)*len(cols), rows, cols)
			}
		})
	}
	return nil
}

// roiCells divides an axis of a region into n cells within [0, limit).
func roiCells[T real](from, to T, scale float64, n, limit int) [][2]int {
	start := int(math.Round(float64(from) * scale))
	end := int(math.Round(float64(to) * scale))
	size := float64(max(end-start+1, 1)) / float64(n)
	cells := make([][2]int, n)
	for i := range cells {
		lo := int(math.Floor(float64(i)*size)) + start
		hi := int(math.Ceil(float64(i+1)*size)) + start
		cells[i] = [2]int{min(max(lo, 0), limit), min(max(hi, 0), limit)}
	}
	return cells
}

func maxCells[T real](dst, plane []T, rows, cols [][2]int, width int) {
	for i, r := range rows {
		for j, c := range cols {
			m, empty := T(math.Inf(-1)), true
			for h := r[0]; h < r[1]; h++ {
				for w := c[0]; w < c[1]; w++ {
					m, empty = max(m, plane[h*width+w]), false
				}
			}
			if empty {
				m = 0
			}
			dst[i*len(cols)+j] = m
		}
	}
}

func inferRoiAlign(c *Infer) error {
	return inferRois(c, int(c.Node.Int("output_height", 1)), int(c.Node.Int("output_width", 1)))
}

// roiAlign holds the attributes of a RoiAlign.
type roiAlign struct {
	height, width int
	sampling      int // samples along each axis of a cell, 0: as many as pixels
	scale, offset float64
	max, clampMin bool
}

func newRoiAlign(e *Eval) (*roiAlign, error) {
	r := &roiAlign{
		height:   int(e.Node.Int("output_height", 1)),
		width:    int(e.Node.Int("output_width", 1)),
		sampling: int(e.Node.Int("sampling_ratio", 0)),
		scale:    float64(e.Node.Float("spatial_scale", 1)),
	}
	if r.height < 1 || r.width < 1 {
		return nil, fmt.Errorf("output of %dx%d, want at least 1x1", r.height, r.width)
	}
	switch mode := e.Node.Str("mode", "avg"); mode {
	case "avg":
	case "max":
		r.max = true
	default:
		return nil, fmt.Errorf("attribute mode is %q, want avg or max", mode)
	}
	half := e.Version >= 16
	switch mode := e.Node.Str("coordinate_transformation_mode", ""); mode {
	case "":
	case "half_pixel":
		half = true
	case "output_half_pixel":
		half = false
	default:
		return nil, fmt.Errorf("attribute coordinate_transformation_mode is %q, want half_pixel or output_half_pixel", mode)
	}
	if half {
		r.offset = 0.5
	}
	r.clampMin = !half
	return r, nil
}

// evalRoiAlign computes RoiAlign: each region (x1, y1, x2, y2) of image
// batch_indices is divided into cells, whose samples between pixels are
// averaged, or the greatest taken. (He et al. 2017, arXiv 1703.06870.)
func evalRoiAlign[T real](e *Eval) error {
	r, err := newRoiAlign(e)
	if err != nil {
		return err
	}
	x, rois := e.Tensor(0), e.Tensor(1)
	s, rs := x.Shape(), rois.Shape()
	if len(s) != 4 {
		return e.Errorf(0, "image has %d axes, want 4", len(s))
	}
	if len(rs) != 2 || rs[1] != 4 {
		return e.Errorf(1, "want regions [n,4]")
	}
	batch, err := e.ints(2)
	if err != nil {
		return err
	}
	if len(batch) != rs[0] {
		return e.Errorf(2, "want an index for each of %d regions", rs[0])
	}
	for _, n := range batch {
		if n < 0 || n >= s[0] {
			return e.Errorf(2, "index %d is outside of the %d images", n, s[0])
		}
	}
	in, regions := reals[T](x), reals[T](rois)
	const most = 1 << 24 // pixels; more cannot be a region of an image
	for _, v := range regions {
		if v != v || math.Abs(float64(v)) > most {
			return e.Errorf(1, "region with a corner at %v", v)
		}
	}
	y := newResult[T](e, x.DType(), tensor.Shape{rs[0], s[1], r.height, r.width})
	plane, cells := s[2]*s[3], r.height*r.width
	e.Parallel(rs[0], 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			samples := r.samples([4]float64{float64(regions[4*i]), float64(regions[4*i+1]),
				float64(regions[4*i+2]), float64(regions[4*i+3])}, s[2], s[3])
			for c := range s[1] {
				image := in[(batch[i]*s[1]+c)*plane:][:plane]
				alignCells(y.Data[(i*s[1]+c)*cells:][:cells], image, samples, r.max)
			}
		}
	})
	return setReal(e, 0, y)
}

// sample is a place between pixels: four of them and their weights.
type sample struct {
	at [4]int
	w  [4]float64
}

// samples lists the samples of each cell of a region in an image h by w.
func (r *roiAlign) samples(roi [4]float64, h, w int) [][]sample {
	x1, y1 := roi[0]*r.scale-r.offset, roi[1]*r.scale-r.offset
	width, height := roi[2]*r.scale-r.offset-x1, roi[3]*r.scale-r.offset-y1
	if r.clampMin {
		width, height = max(width, 1), max(height, 1)
	}
	cellH, cellW := height/float64(r.height), width/float64(r.width)
	ny, nx := r.sampling, r.sampling
	if r.sampling <= 0 {
		ny, nx = int(math.Ceil(cellH)), int(math.Ceil(cellW))
	}
	list := make([][]sample, 0, r.height*r.width)
	for ph := range r.height {
		for pw := range r.width {
			var cell []sample
			for iy := range max(ny, 0) {
				y := y1 + (float64(ph)+(float64(iy)+0.5)/float64(ny))*cellH
				for ix := range max(nx, 0) {
					x := x1 + (float64(pw)+(float64(ix)+0.5)/float64(nx))*cellW
					cell = append(cell, newSample(y, x, h, w))
				}
			}
			list = append(list, cell)
		}
	}
	return list
}

// newSample places a sample; one more than a pixel outside of the image is
// zero, one nearer is moved to its edge.
func newSample(y, x float64, h, w int) sample {
	if inside := y >= -1 && y <= float64(h) && x >= -1 && x <= float64(w); !inside {
		return sample{}
	}
	y0, fy, y1 := between(y, h)
	x0, fx, x1 := between(x, w)
	return sample{
		at: [4]int{y0*w + x0, y0*w + x1, y1*w + x0, y1*w + x1},
		w:  [4]float64{(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx},
	}
}

func between(p float64, n int) (low int, frac float64, high int) {
	p = max(p, 0)
	low = int(p)
	if low >= n-1 {
		return n - 1, 0, n - 1
	}
	return low, p - float64(low), low + 1
}

func alignCells[T real](dst, image []T, cells [][]sample, greatest bool) {
	for i, cell := range cells {
		sum, best := 0.0, math.Inf(-1)
		for _, s := range cell {
			v := 0.0
			for k, at := range s.at {
				part := s.w[k] * float64(image[at])
				v += part
				best = max(best, part)
			}
			sum += v
		}
		switch {
		case len(cell) == 0:
			dst[i] = 0
		case greatest:
			dst[i] = T(best)
		default:
			dst[i] = T(sum / float64(len(cell)))
		}
	}
}
