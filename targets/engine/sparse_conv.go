package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Up to which shares sparse convolutions pay, room left for the conversions of
// neighbours that work on images: those of single pixels; windows, which are
// copied to planes first; and windows that compete with Winograd's tiles, which
// take less than half the multiplications.
var (
	sparsePixelLimit  = sparseLimit{blocks: 0.35, single: 0.2}
	sparseWindowLimit = sparseLimit{blocks: 0.3, single: 0.12}
	sparseTiledLimit  = sparseLimit{blocks: 0.2, single: 0.07}
)

// sparseConv is a convolution with few weights that are not zero, over tensors
// [N, C, H, W] as they are: a channel is a row of the sparse kernels' matrix.
//
//	y = act(Conv(x, w) + bias + res)
//
// A depthwise convolution may follow. It is computed some channels at a time, as
// soon as they are there, so that what lies between is never stored as a whole.
type sparseConv struct {
	*sparseMatrix // a column for each channel and tap
	window
	cin, cout int
	bias      []float32 // nil if none
	act       activation
	then      *planesDepthwise           // nil if none
	plans     cache[[2]int, *sparsePlan] // by height, width
}

func (s *sparseConv) name() string {
	name := "SparseConv"
	if s.act.name != "" {
		name += "+" + s.act.name
	}
	if s.then != nil {
		name += "+" + s.then.name()
	}
	return name
}

// sparsePlan says how a window walks over images of one size. Images are copied
// into planes with their padding, one for each channel and each place within a
// stride, so that what lies under a tap of the window is a plane at an offset:
//
//	x 4x4, kernel 3, stride 1, padding 1      plane of 6x6, tap (1,2) at 1*6+2
//	x 4x4, kernel 3, stride 2, padding 1      four planes of 3x3, tap (1,2) in plane (1,0) at 0*3+1
//
// Result rows are as wide as planes; what stands behind the width of the result
// is computed and left out. The planes may be those of a strip: what so many rows
// of the result read.
type sparsePlan struct {
	oh, ow    int
	rows      int // of the result, of a strip; all if there are no strips
	top, left int // padding
	h, w      int // of a plane; w is also the distance of rows of results
	direct    bool
	columns   []int32 // where in the planes each of the matrix's entries reads
	// then is the depthwise convolution that follows, without its operands. Its
	// result has the size OH x OW; it is that of the window if there is none.
	then kernel.DepthwisePlanes
}

// plan returns the plan for images of the given size.
func (s *sparseConv) plan(h, w int) (*sparsePlan, error) {
	oh, top, err := s.over(0, h)
	if err != nil {
		return nil, err
	}
	ow, left, err := s.over(1, w)
	if err != nil {
		return nil, err
	}
	p := &sparsePlan{oh: oh, ow: ow, top: top, left: left, w: ow}
	p.direct = s.kernel == [2]int{1, 1} && s.stride == [2]int{1, 1} && top == 0 && left == 0 && oh == h && ow == w
	if !p.direct {
		p.w = ow + (s.extent(1)-1)/s.stride[1]
		p.rows = s.stripRows(oh, p.w)
		p.h = p.rows + (s.extent(0)-1)/s.stride[0]
	}
	p.then = kernel.DepthwisePlanes{OH: oh, OW: ow}
	if s.then != nil {
		if p.then, err = s.then.over(oh, ow, p.w); err != nil {
			return nil, err
		}
	}
	if p.direct {
		return p, nil
	}
	taps := s.kernel[0] * s.kernel[1]
	p.columns = make([]int32, len(s.columns))
	for i, c := range s.columns {
		tap := int(c) % taps
		y, x := tap/s.kernel[1]*s.dilation[0], tap%s.kernel[1]*s.dilation[1]
		plane := (int(c)/taps*s.stride[0]+y%s.stride[0])*s.stride[1] + x%s.stride[1]
		p.columns[i] = int32((plane*p.h+y/s.stride[0])*p.w + x/s.stride[1])
	}
	return p, nil
}

const (
	// stripMost is how many elements the planes and sums of a strip have at most,
	// so that they stay in a near cache until all rows of weights have read them.
	stripMost = 64 << 10
	// stripsLeast is into how many strips an image is divided at least, which
	// threads share, and stripLeast how many rows one then has at least: what two
	// strips read is copied for both.
	stripsLeast, stripLeast = 4, 3
)

// stripRows returns how many of the oh rows of the result a strip has whose
// planes are w wide; oh if strips do not pay.
func (s *sparseConv) stripRows(oh, w int) int {
	planes := s.cin * s.stride[0] * s.stride[1] * w
	rows := (stripMost - planes*((s.extent(0)-1)/s.stride[0])) / (planes + s.cout*w)
	rows = min(rows, ceilDiv(oh, stripsLeast))
	if s.then != nil || rows < stripLeast {
		return oh
	}
	return ceilDiv(oh, ceilDiv(oh, rows))
}

func (s *sparseConv) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.DType() != tensor.Float32 || x.Rank() != 4 || x.Shape()[1] != s.cin {
		return e.Errorf(0, "want float [N, %d, H, W]", s.cin)
	}
	shape := x.Shape()
	p, err := s.plans.get([2]int{shape[2], shape[3]}, func() (*sparsePlan, error) { return s.plan(shape[2], shape[3]) })
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	size := tensor.Shape{shape[0], s.cout, p.then.OH, p.then.OW}
	y := e.New(tensor.Float32, size)
	var res []float32
	if len(e.In) > 1 {
		r := e.Tensor(1)
		if r == nil || r.DType() != tensor.Float32 || !r.Shape().Equal(size) {
			return e.Errorf(1, "want float%v", size)
		}
		res = tensor.Data[float32](r)
	}
	src, dst, each := tensor.Data[float32](x), tensor.Data[float32](y), size[1:].Len()
	for n := range shape[0] {
		in, out := src[n*shape[1:].Len():], dst[n*each:(n+1)*each]
		if res != nil {
			s.image(e, p, in, out, res[n*each:], shape[2], shape[3])
		} else {
			s.image(e, p, in, out, nil, shape[2], shape[3])
		}
	}
	e.SetOut(0, y)
	return nil
}

// image computes one image from one of h x w pixels.
func (s *sparseConv) image(e *op.Eval, p *sparsePlan, x, y, res []float32, h, w int) {
	if !p.direct {
		s.windows(e, p, x, y, res, h, w)
		return
	}
	pixels := p.oh * p.ow
	prod := kernel.SparseF32{X: x, LDX: pixels, LDO: pixels, Pixels: pixels}
	if s.then == nil && pixels >= pixelsLeast*pixelsEach {
		s.byPixels(e, prod, y, res)
		return
	}
	s.divide(e, p, y, res, func(to []float32, b, count int) { s.some(e.Kernels, prod, to, b, count, res != nil) })
}

// pixelsEach is a number of pixels that kernels take at once, pixelsLeast how many
// times that there are at least for the work to be divided by pixels.
const pixelsEach, pixelsLeast = 48, 4

// byPixels computes an image some pixels at a time. A thread reads the operand at
// its own pixels only, where to divide by rows would have every thread read all of
// it.
func (s *sparseConv) byPixels(e *op.Eval, prod kernel.SparseF32, y, res []float32) {
	pixels := prod.Pixels
	pieces := pixels / pixelsEach
	e.Parallel(pieces, ceilDiv(macsPerPiece, s.work(pixelsEach)*s.blocks()), func(lo, hi int) {
		from, to := lo*pixelsEach, hi*pixelsEach
		if hi == pieces {
			to = pixels
		}
		part := prod
		part.X, part.Pixels = prod.X[from:], to-from
		s.some(e.Kernels, part, y[from:], 0, s.blocks(), res != nil)
		for at := from; at < len(y) && (res != nil || s.act.apply != nil); at += pixels {
			s.finish(e.Kernels, y[at:at+to-from], res, at)
		}
	})
}

// some computes so many rows of blocks from row b on into dst, with the clamp of
// the activation unless it has to wait.
func (s *sparseConv) some(k *kernel.Table, prod kernel.SparseF32, dst []float32, b, count int, wait bool) {
	m := sparseMatrix{height: s.height, values: s.values, columns: s.columns, start: s.start[b:]}
	prod.Out = dst
	if s.bias != nil {
		prod.Bias = s.bias[b*s.height:]
	}
	act := &s.act
	if wait {
		act = &activation{}
	}
	m.multiply(k, prod, act, kernel.Range{Hi: count})
}

// hiddenLeast is how many elements of what lies between a convolution and the
// depthwise one that follows are computed at once, if a row of blocks has fewer.
const hiddenLeast = 4 << 10

// divide divides the computation of y by rows of blocks. fill computes so many
// of them from row b on: the products and biases. If a depthwise convolution
// follows, the rows of the images that it fills lie as far apart as the plan says.
func (s *sparseConv) divide(e *op.Eval, p *sparsePlan, y, res []float32, fill func(to []float32, b, count int)) {
	each := s.height * p.oh * p.ow
	if s.then != nil {
		each = s.height * p.oh * p.w
	}
	e.Parallel(s.blocks(), s.grain(p), func(lo, hi int) {
		if s.then == nil {
			fill(y[lo*each:hi*each], lo, hi-lo)
			s.finish(e.Kernels, y[lo*each:hi*each], res, lo*each)
			return
		}
		most := max(1, min(hi-lo, hiddenLeast/max(1, each)))
		hidden, buf := borrow(&sparseScratch, most*each)
		defer sparseScratch.Put(buf)
		for b := lo; b < hi; b += most {
			count := min(most, hi-b)
			fill(hidden[:count*each], b, count)
			s.finish(e.Kernels, hidden[:count*each], nil, 0)
			s.then.channels(e.Kernels, p.then, hidden, y, b*s.height, count*s.height)
		}
	})
}

// grain is how many rows of blocks are worth a thread.
func (s *sparseConv) grain(p *sparsePlan) int {
	work := s.work(p.oh * p.ow)
	if s.then != nil {
		work += s.height * p.then.OH * p.then.OW * planesWork
	}
	return 1 + macsPerPiece/max(1, work)
}

// finish adds the residual from the given place on, unless it is nil, and
// applies what the product has not done of the activation.
func (s *sparseConv) finish(k *kernel.Table, y, res []float32, at int) {
	if res != nil {
		k.Add(y, y, res[at:at+len(y)])
		s.act.run(k, y, y)
	} else if s.act.apply != nil {
		s.act.apply(k, y, y)
	}
}

// sumsMost is up to how many sums of windows are computed at once: the more rows
// there are, the more of what they read is in the cache, but so are the sums.
const sumsMost = 64 << 10

// strips computes an image from one of h x w pixels strip by strip.
func (s *sparseConv) strips(e *op.Eval, p *sparsePlan, x, y, res []float32, h, w int) {
	e.Parallel(ceilDiv(p.oh, p.rows), ceilDiv(macsPerPiece, s.work(p.rows*p.w)*s.blocks()), func(lo, hi int) {
		each, wide := s.stride[0]*s.stride[1]*p.h*p.w, p.rows*p.w
		scratch, buf := borrow(&sparseScratch, s.cin*each+s.cout*wide)
		defer sparseScratch.Put(buf)
		planes, sums := scratch[:s.cin*each], scratch[s.cin*each:]
		for first := lo * p.rows; first < min(hi*p.rows, p.oh); first += p.rows {
			for c := range s.cin {
				s.planes(e.Kernels, p, planes[c*each:(c+1)*each], x[c*h*w:(c+1)*h*w], h, w, first)
			}
			n := min(p.rows, p.oh-first)
			prod := kernel.SparseF32{Columns: p.columns, X: planes, LDX: 1, LDO: wide, Pixels: n*p.w - p.w + p.ow}
			s.some(e.Kernels, prod, sums, 0, s.blocks(), res != nil)
			for c := range s.cout {
				at := (c*p.oh + first) * p.ow
				to := y[at : at+n*p.ow]
				copyApart(e.Kernels, to, p.ow, sums[c*wide:], p.w, n, p.ow)
				s.finish(e.Kernels, to, res, at)
			}
		}
	})
}

// windows computes an image from one of h x w pixels.
func (s *sparseConv) windows(e *op.Eval, p *sparsePlan, x, y, res []float32, h, w int) {
	if p.rows < p.oh {
		s.strips(e, p, x, y, res, h, w)
		return
	}
	each := s.stride[0] * s.stride[1] * p.h * p.w
	planes, buf := borrow(&sparseScratch, s.cin*each)
	defer sparseScratch.Put(buf)
	e.Parallel(s.cin, 1+macsPerPiece/8/each, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			s.planes(e.Kernels, p, planes[c*each:(c+1)*each], x[c*h*w:(c+1)*h*w], h, w, 0)
		}
	})
	wide := p.oh * p.w
	prod := kernel.SparseF32{Columns: p.columns, X: planes, LDX: 1, LDO: wide, Pixels: wide - p.w + p.ow}
	s.divide(e, p, y, res, func(to []float32, b, count int) {
		if s.then != nil {
			s.some(e.Kernels, prod, to, b, count, false)
			return
		}
		most := max(1, min(count, sumsMost/(s.height*wide)))
		sums, buf := borrow(&sparseScratch, most*s.height*wide)
		defer sparseScratch.Put(buf)
		for i := 0; i < count; i += most {
			n := min(most, count-i)
			s.some(e.Kernels, prod, sums, b+i, n, res != nil)
			for j := range n * s.height {
				copyApart(e.Kernels, to, p.ow, sums[j*wide:], p.w, p.oh, p.ow)
				to = to[p.oh*p.ow:]
			}
		}
	})
}

// planes copies what the rows of the result from the given one on read of an
// image of one channel into its planes.
func (s *sparseConv) planes(k *kernel.Table, p *sparsePlan, dst, src []float32, h, w, first int) {
	if s.stride == [2]int{1, 1} && p.left+w <= p.w {
		s.plane(k, p, dst, src, h, w, first)
		return
	}
	for py := range s.stride[0] {
		for px := range s.stride[1] {
			for i := range p.h {
				row := dst[:p.w]
				dst = dst[p.w:]
				if y := (first+i)*s.stride[0] + py - p.top; y >= 0 && y < h {
					strided(row, src[y*w:(y+1)*w], px-p.left, s.stride[1])
				} else {
					clear(row)
				}
			}
		}
	}
}

// plane is planes for the one plane that there is without strides.
func (s *sparseConv) plane(k *kernel.Table, p *sparsePlan, dst, src []float32, h, w, first int) {
	above := min(max(p.top-first, 0), p.h)
	below := min(max(h+p.top-first, above), p.h)
	clear(dst[:above*p.w])
	if below > above {
		copyApart(k, dst[above*p.w+p.left:], p.w, src[(first+above-p.top)*w:], w, below-above, w)
	}
	for i := above; i < below; i++ {
		row := dst[i*p.w : (i+1)*p.w]
		for j := range p.left {
			row[j] = 0
		}
		for j := p.left + w; j < p.w; j++ {
			row[j] = 0
		}
	}
	clear(dst[below*p.w : p.h*p.w])
}

// copyApart copies rows of n elements, from the first on, from and to where they
// lie so far apart. What lies between the rows of dst is lost: all but the last
// are copied as whole vectors.
func copyApart(k *kernel.Table, dst []float32, dstStep int, src []float32, srcStep, rows, n int) {
	const vector = 8
	if n < vector {
		k.CopyRows(dst, dstStep, src, srcStep, rows, n)
		return
	}
	k.CopyRows(dst, dstStep, src, srcStep, rows-1, roundUp(n, vector))
	last := rows - 1
	copy(dst[last*dstStep:][:n], src[last*srcStep:])
}

// strided sets dst[i] to src[first+i*step] where there is such an element, to
// zero elsewhere.
func strided(dst, src []float32, first, step int) {
	lo := 0
	if first < 0 {
		lo = min((-first+step-1)/step, len(dst))
	}
	clear(dst[:lo])
	n := 0
	if at := first + lo*step; lo < len(dst) && at < len(src) {
		if step == 1 {
			n = copy(dst[lo:], src[at:])
		} else {
			n = every(dst[lo:], src[at:], step)
		}
	}
	clear(dst[lo+n:])
}

// every sets dst[i] to src[i*step], as far as both go, and returns how far.
func every(dst, src []float32, step int) int {
	n := min(len(dst), (len(src)+step-1)/step)
	left := n
	if step == 2 {
		for ; left >= 4; left -= 4 {
			d, s := dst[:4:4], src[:7:7]
			d[0], d[1], d[2], d[3] = s[0], s[2], s[4], s[6]
			dst, src = dst[4:], src[min(8, len(src)):]
		}
	}
	for i := range left {
		dst[i] = src[i*step]
	}
	return n
}
