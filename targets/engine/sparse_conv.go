package engine

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Up to which shares sparse convolutions pay, room left for the conversions of
// neighbours that work on images. Windows of 3x3 compete with Winograd's tiles,
// which take less than half the multiplications.
var (
	sparsePixelLimit  = sparseLimit{blocks: 0.35, single: 0.2}
	sparseWindowLimit = sparseLimit{blocks: 0.2, single: 0.07}
)

// sparseConv is a convolution with few weights that are not zero, over tensors
// [N, C, H, W] as they are: a channel is a row of the sparse kernels' matrix.
//
//	y = act(Conv(x, w) + bias)
type sparseConv struct {
	*sparseMatrix // a column for each channel and tap
	window
	cin, cout int
	bias      []float32 // nil if none
	act       activation
	plans     cache[[2]int, *sparsePlan] // by height, width
}

func (s *sparseConv) name() string {
	if s.act.name != "" {
		return "SparseConv+" + s.act.name
	}
	return "SparseConv"
}

// sparsePlan says how a window walks over images of one size. Images are copied
// into planes with their padding, one for each channel and each place within a
// stride, so that what lies under a tap of the window is a plane at an offset:
//
//	x 4x4, kernel 3, stride 1, padding 1      plane of 6x6, tap (1,2) at 1*6+2
//	x 4x4, kernel 3, stride 2, padding 1      four planes of 3x3, tap (1,2) in plane (1,0) at 0*3+1
//
// Result rows are as wide as planes; what stands behind the width of the result
// is computed and left out.
type sparsePlan struct {
	oh, ow    int
	top, left int // padding
	h, w      int // of a plane
	direct    bool
	columns   []int32 // where in the planes each of the matrix's entries reads
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
	p := &sparsePlan{oh: oh, ow: ow, top: top, left: left}
	if s.kernel == [2]int{1, 1} && s.stride == [2]int{1, 1} && top == 0 && left == 0 && oh == h && ow == w {
		p.direct = true
		return p, nil
	}
	p.h, p.w = oh+(s.extent(0)-1)/s.stride[0], ow+(s.extent(1)-1)/s.stride[1]
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
	y := e.New(tensor.Float32, tensor.Shape{shape[0], s.cout, p.oh, p.ow})
	src, dst := tensor.Data[float32](x), tensor.Data[float32](y)
	for n := range shape[0] {
		in, out := src[n*s.cin*shape[2]*shape[3]:], dst[n*s.cout*p.oh*p.ow:]
		if p.direct {
			s.pixels(e, in, out, p.oh*p.ow)
		} else {
			s.windows(e, p, in, out, shape[2], shape[3])
		}
	}
	e.SetOut(0, y)
	return nil
}

// pixels computes an image whose windows are its pixels.
func (s *sparseConv) pixels(e *op.Eval, x, y []float32, pixels int) {
	p := kernel.SparseF32{X: x, Out: y, Bias: s.bias, LDX: pixels, LDO: pixels, Pixels: pixels}
	e.Parallel(s.blocks(), s.grain(pixels), func(lo, hi int) {
		s.multiply(e.Kernels, p, &s.act, kernel.Range{Lo: lo, Hi: hi})
		s.finish(e.Kernels, y[lo*s.height*pixels:hi*s.height*pixels])
	})
}

// finish applies the part of the activation that is no clamp.
func (s *sparseConv) finish(k *kernel.Table, y []float32) {
	if s.act.apply != nil {
		s.act.apply(k, y, y)
	}
}

// windows computes an image of h x w pixels.
func (s *sparseConv) windows(e *op.Eval, p *sparsePlan, x, y []float32, h, w int) {
	each := s.stride[0] * s.stride[1] * p.h * p.w
	planes, buf := borrow(&sparseScratch, s.cin*each)
	defer sparseScratch.Put(buf)
	e.Parallel(s.cin, 1+macsPerPiece/8/each, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			s.planes(p, planes[c*each:(c+1)*each], x[c*h*w:(c+1)*h*w], h, w)
		}
	})
	wide := p.oh * p.w
	prod := kernel.SparseF32{Columns: p.columns, X: planes, LDX: 1, LDO: wide, Pixels: wide - p.w + p.ow}
	e.Parallel(s.blocks(), s.grain(wide), func(lo, hi int) {
		sums, buf := borrow(&sparseScratch, s.height*wide)
		defer sparseScratch.Put(buf)
		for b := lo; b < hi; b++ {
			s.block(e.Kernels, p, prod, sums, b)
			for i := range s.height {
				out := y[(b*s.height+i)*p.oh*p.ow:][:p.oh*p.ow]
				for r := range p.oh {
					copy(out[r*p.ow:(r+1)*p.ow], sums[i*wide+r*p.w:])
				}
				s.finish(e.Kernels, out)
			}
		}
	})
}

// block computes one row of blocks into sums.
func (s *sparseConv) block(k *kernel.Table, p *sparsePlan, prod kernel.SparseF32, sums []float32, b int) {
	m := sparseMatrix{height: s.height, values: s.values, start: s.start[b:]}
	prod.Out = sums
	if s.bias != nil {
		prod.Bias = s.bias[b*s.height:]
	}
	m.multiply(k, prod, &s.act, kernel.Range{Hi: 1})
}

// planes copies an image of one channel into its planes.
func (s *sparseConv) planes(p *sparsePlan, dst, src []float32, h, w int) {
	clear(dst)
	for py := range s.stride[0] {
		for px := range s.stride[1] {
			for i := range p.h {
				y := i*s.stride[0] + py - p.top
				if y >= 0 && y < h {
					strided(dst[i*p.w:(i+1)*p.w], src[y*w:(y+1)*w], px-p.left, s.stride[1])
				}
			}
			dst = dst[p.h*p.w:]
		}
	}
}

// strided sets dst[i] to src[first+i*step] where there is such an element.
func strided(dst, src []float32, first, step int) {
	lo := 0
	if first < 0 {
		lo = (-first + step - 1) / step
	}
	if step == 1 {
		if at := first + lo; lo < len(dst) && at < len(src) {
			copy(dst[lo:], src[at:])
		}
		return
	}
	for i := lo; i < len(dst) && first+i*step < len(src); i++ {
		dst[i] = src[first+i*step]
	}
}

// sparseConvs makes sparse operators of convolutions whose weights are mostly
// zero, and of the activations behind them.
func (o *optimizer) sparseConvs() {
	for n := range o.graph.Nodes() {
		s := o.sparseConv(n)
		if s == nil {
			continue
		}
		nodes := []*graph.Node{n}
		if nx, i := next(n); nx != nil && i == 0 {
			if act, ok := o.activationOf(nx); ok {
				s.act = act
				nodes = append(nodes, nx)
			}
		}
		last := nodes[len(nodes)-1]
		typ := last.Out(0).Type
		m := o.insert(last, s, n, n.In(0))
		m.Out(0).Type = typ
		o.replace(m, nodes...)
	}
}

// sparseConv returns the sparse operator for n alone, nil if there is none.
func (o *optimizer) sparseConv(n *graph.Node) *sparseConv {
	if !n.Is("Conv") || n.Int("group", 1) != 1 || !o.isFloat32(n.In(0)) {
		return nil
	}
	w := o.constant(n.In(1))
	if w == nil || w.DType() != tensor.Float32 || w.Rank() != 4 {
		return nil
	}
	shape := w.Shape()
	win, err := windowOf(n, shape[2], shape[3])
	if err != nil {
		return nil
	}
	limit := sparseWindowLimit
	if shape[2:].Len() == 1 {
		limit = sparsePixelLimit
	}
	m := newSparseMatrix(tensor.Data[float32](w), shape[0], shape[1]*shape[2]*shape[3], limit)
	if m == nil {
		return nil
	}
	s := &sparseConv{sparseMatrix: m, window: win, cin: shape[1], cout: shape[0]}
	if n.In(2) != nil {
		b, ok := o.floats(n.In(2))
		if !ok || len(b[0]) != s.cout {
			return nil
		}
		s.bias = b[0]
	}
	return s
}
