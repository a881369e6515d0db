package engine

import (
	"sync"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// bottleneck is a convolution, a depthwise convolution and a pointwise one in
// a row, whose results in between nothing else reads. Where these are larger
// than the caches, they are computed a few rows at a time, as the rows of the
// result need them, and never stored as a whole.
type bottleneck struct {
	expand  *conv
	depth   *depthwise
	project *conv
}

const (
	// stripFrom is the size in bytes of what lies between the convolutions
	// from which on it is computed in strips.
	stripFrom = 1 << 20
	// stripBytes is how much of the first convolution's result a strip holds.
	stripBytes = 256 << 10
)

// stripScratch lends the rows between the convolutions.
var stripScratch = sync.Pool{New: func() any { return new([]float32) }}

func (b *bottleneck) name() string { return "Bottleneck" }

func (b *bottleneck) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), b.expand.in)
	if err != nil {
		return err
	}
	s, err := b.strips(&x)
	if err != nil || s == nil {
		return b.whole(e)
	}
	var r *image[float32]
	if b.project.added != noResidual {
		res, err := imageOf[float32](e.Tensor(1), b.project.res)
		if err != nil || !sameSize(&res.pixels, &pixels{n: x.n, h: s.slide.oh, w: s.slide.ow, c: b.project.cout}) {
			return b.whole(e)
		}
		r = &res
	}
	y, t, err := newPart[float32](e, b.project.into, tensor.Float32, x.n, s.slide.oh, s.slide.ow, b.project.cout, b.project.out, 0)
	if err != nil {
		return err
	}
	s.e, s.x, s.y, s.res = e, &x, &y, r
	e.Parallel(x.n*y.h, max(2*s.rows, 8), func(lo, hi int) {
		for lo < hi {
			n, from := lo/y.h, lo%y.h
			to := min(y.h, from+hi-lo)
			s.compute(n, from, to)
			lo += to - from
		}
	})
	e.SetOut(0, t)
	return nil
}

// whole computes one convolution after the other.
func (b *bottleneck) whole(e *op.Eval) error {
	hidden := e.In[0]
	for _, m := range []machine{b.expand, b.depth} {
		sub := op.Eval{
			Call: e.Call, In: []tensor.Value{hidden}, Out: make([]tensor.Value, 1),
			Kernels: e.Kernels, Context: e.Context, Split: e.Split,
			Alloc: e.Alloc, AllocFramed: e.AllocFramed,
		}
		if err := m.eval(&sub); err != nil {
			return err
		}
		hidden = sub.Out[0]
	}
	last := *e
	last.In = append([]tensor.Value{hidden}, e.In[1:]...)
	return b.project.eval(&last)
}

// strip is the computation of one call in strips.
type strip struct {
	b           *bottleneck
	first, last *convPlan
	slide       *slide
	h, w, c     int // of the first convolution's result
	top         int // padding of the depthwise window
	rows        int // of the result, in a strip
	e           *op.Eval
	x, y, res   *image[float32]
}

// strips plans the computation, nil if it is not worth it.
func (b *bottleneck) strips(x *image[float32]) (*strip, error) {
	first, err := b.expand.planFor(x.n, x.h, x.w)
	if err != nil {
		return nil, err
	}
	s := &strip{b: b, first: first, h: first.oh, w: first.ow, c: b.expand.cout}
	rowBytes := 4 * s.w * s.c
	if x.c != b.expand.cin || s.h*rowBytes < stripFrom {
		return nil, nil
	}
	s.slide, err = b.depth.plans.get([2]int{s.h, s.w}, func() (*slide, error) {
		return b.depth.slideOver(s.h, s.w, s.w*s.c, s.c)
	})
	if err != nil {
		return nil, err
	}
	if _, s.top, err = b.depth.over(0, s.h); err != nil {
		return nil, err
	}
	if s.last, err = b.project.planFor(x.n, s.slide.oh, s.slide.ow); err != nil {
		return nil, err
	}
	stride := b.depth.stride[0]
	s.rows = max(1, (stripBytes/rowBytes-max(0, b.depth.extent(0)-stride))/stride)
	return s, nil
}

// need returns which rows of the first convolution's result the rows [lo, hi)
// of the depthwise one read.
func (s *strip) need(lo, hi int) (from, to int) {
	stride := s.b.depth.stride[0]
	from = max(0, lo*stride-s.top)
	to = min(s.h, (hi-1)*stride-s.top+s.b.depth.extent(0))
	return min(from, s.h), max(to, min(from, s.h))
}

// compute computes the rows [lo, hi) of the result for image n.
func (s *strip) compute(n, lo, hi int) {
	step, outStep := s.w*s.c, s.slide.ow*s.c
	capacity := (s.rows-1)*s.b.depth.stride[0] + s.b.depth.extent(0)
	buf := stripScratch.Get().(*[]float32)
	if need := capacity*step + s.rows*outStep; len(*buf) < need {
		var mem slab
		*buf = mem.floats(need)
	}
	hidden, thin := (*buf)[:capacity*step], (*buf)[capacity*step:]
	base, have := 0, 0 // hidden holds the rows [base, have)
	for o := lo; o < hi; o += s.rows {
		end := min(o+s.rows, hi)
		from, to := s.need(o, end)
		if from < have {
			copy(hidden, hidden[(from-base)*step:(have-base)*step])
		} else {
			have = from
		}
		base = from
		if have < to {
			s.expand(n, have, to, hidden[(have-base)*step:])
			have = to
		}
		for y := o; y < end; y++ {
			s.b.depth.row(s.e.Kernels, s.slide.rows[y], hidden, base*step, thin[(y-o)*outStep:][:outStep], s.c)
		}
		s.project(n, o, end, thin)
	}
	stripScratch.Put(buf)
}

// expand computes the rows [from, to) of the first convolution into dst.
func (s *strip) expand(n, from, to int, dst []float32) {
	c := s.b.expand
	p := kernel.ProductF32{Geometry: s.first.Geometry, A: s.x.data, B: c.packed[0], C: dst, Bias: c.bias, Lo: c.act.lo, Hi: c.act.hi}
	at := (n*s.h + from) * s.w
	p.M, p.CRows, p.LDC = (to-from)*s.w, nil, s.c
	if p.ARows != nil {
		p.ARows = p.ARows[at:]
	} else {
		p.A = p.A[at*p.LDA:]
	}
	s.product(&p, epilogue{act: &c.act})
}

// project computes the rows [from, to) of the result from src.
func (s *strip) project(n, from, to int, src []float32) {
	c := s.b.project
	p := kernel.ProductF32{Geometry: s.last.Geometry, A: src, B: c.packed[0], C: s.y.data, Bias: c.bias, Lo: c.act.lo, Hi: c.act.hi}
	at := (n*s.y.h + from) * s.y.w
	p.M, p.ARows, p.LDA = (to-from)*s.y.w, nil, s.c
	if p.CRows != nil {
		p.CRows = p.CRows[at:]
	} else {
		p.C = p.C[at*p.LDC:]
	}
	then := epilogue{act: &c.act}
	if s.res != nil {
		if s.last.rrows != nil {
			c.addTo(&p, &then, s.res.data, s.last.rrows[at:])
		} else {
			c.addTo(&p, &then, s.res.data[at*c.cout:], nil)
		}
	}
	s.product(&p, then)
}

// product computes all of p in this thread.
func (s *strip) product(p *kernel.ProductF32, then epilogue) {
	productBlock(s.e.Kernels, p, then, kernel.Range{Lo: 0, Hi: p.M}, kernel.Range{Lo: 0, Hi: p.N})
}

// fuseBottlenecks joins convolutions around a depthwise one.
func (o *optimizer) fuseBottlenecks() {
	for n := range o.graph.Nodes() {
		d, ok := o.src.info[n].machine.(*depthwise)
		if !ok || d.dilation[0] != 1 {
			continue
		}
		p := n.In(0).Producer()
		if p == nil {
			continue
		}
		expand, ok := o.src.info[p].machine.(*conv)
		if reader, _ := next(p); !ok || reader != n || p.NumIn() != 1 || expand.groups != 1 || expand.tiled != nil {
			continue
		}
		last, i := next(n)
		if last == nil || i != 0 {
			continue
		}
		project, ok := o.src.info[last].machine.(*conv)
		if !ok || project.groups != 1 || project.kernel != [2]int{1, 1} || project.stride != [2]int{1, 1} || project.in != (halo{}) {
			continue
		}
		ins := append([]*graph.Value{p.In(0)}, last.Ins()[1:]...)
		o.replace(o.insert(last, &bottleneck{expand, d, project}, p, ins...), p, n, last)
	}
}
