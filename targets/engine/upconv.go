package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// A transposed convolution adds, for every pixel i of x and position k of its
// window, w[k]*x[i] to pixel o of the result, where along an axis
//
//	o = stride*i + dilation*k - before
//
// With stride 1 it is a convolution with the window turned around. Otherwise,
// and without dilation, the pixels o with one remainder by the stride, a
// phase, see every stride-th position of the window: they are a convolution
// with stride 1 whose result lies stride pixels apart. Where the windows just
// touch, the phases of a row see the same pixel, and their results lie together:
// they are one convolution with stride times as many filters.

// transposedChain returns the chain of n, a ConvTranspose with constant
// weights [cin, cout/groups, kh, kw], alone; nil if it cannot work on images.
func (l *layout) transposedChain(n *graph.Node, c *convChain, w *tensor.Tensor) *convChain {
	s := w.Shape()
	if s[0]%c.groups != 0 || n.Attr("output_shape") != nil || c.window.same != padExplicit {
		l.note(n, "not moved to images: weight %v in %d groups, or padding that the size of the result decides", w, c.groups)
		return nil
	}
	u := &upWindow{stride: c.window.stride, before: c.window.before, after: c.window.after}
	for i, extra := range n.Ints("output_padding") {
		u.after[2-len(n.Ints("output_padding"))+i] -= int(extra)
	}
	c.weights = turned(tensor.Data[float32](w), s, c.groups)
	for axis := range 2 {
		extent := c.window.extent(axis) - 1
		if u.stride[axis] > 1 && (c.window.dilation[axis] > 1 || c.window.kernel[axis] < u.stride[axis]) {
			l.note(n, "not moved to images: its window has gaps")
			return nil
		}
		c.window.before[axis], c.window.after[axis] = extent-u.before[axis], extent-u.after[axis]
		if u.stride == [2]int{1, 1} && (c.window.before[axis] < 0 || c.window.after[axis] < 0) {
			l.note(n, "not moved to images: its padding is larger than its window")
			return nil
		}
	}
	c.window.stride = [2]int{1, 1}
	if u.stride != c.window.stride {
		c.up = u
	}
	return c
}

// turned returns the weights [cin, cout/groups, kh, kw] of a transposed
// convolution as those of a convolution, [cout, cin/groups, kh, kw], with the
// window turned around.
func turned(w []float32, s tensor.Shape, groups int) *tensor.Tensor {
	in, out, taps := s[0]/groups, s[1], s[2]*s[3]
	dst := make([]float32, len(w))
	for g := range groups {
		for c := range in {
			for m := range out {
				from, to := w[((g*in+c)*out+m)*taps:][:taps], dst[((g*out+m)*in+c)*taps:][:taps]
				for t, v := range from {
					to[taps-1-t] = v
				}
			}
		}
	}
	return tensor.Of(tensor.Shape{groups * out, in, s[2], s[3]}, dst)
}

// upWindow is the stride and padding of a transposed convolution. after may be
// negative: pixels that the padding adds to the result.
type upWindow struct{ stride, before, after [2]int }

// upConv is a transposed convolution of float32 images with a stride, with bias
// and activation.
type upConv struct {
	upWindow
	kernel  [2]int
	cin     int
	cout    int
	phases  []*phase
	act     activation
	in, out halo
	plans   cache[[3]int, *upPlan] // by batch, height, width
}

// phase is the part of a transposed convolution that makes the pixels with one
// remainder by the stride, or with that and the next ones along the width.
type phase struct {
	convGeometry
	remainder [2]int
	bias      []float32   // empty if none
	top       [2]int      // padding before; negative where the first pixels are not seen
	weights   [][]float32 // per group, packed
}

// upPlan places the pixels of each phase for images of one size.
type upPlan struct {
	oh, ow int
	parts  []kernel.Geometry
}

// newUpConv takes weights as [turned] returns them.
func newUpConv(k *kernel.Table, mem *packer, u *upWindow, groups int, weights *tensor.Tensor, bias []float32, act activation) *upConv {
	s := weights.Shape()
	m := &upConv{upWindow: *u, kernel: [2]int{s[2], s[3]}, cin: s[1] * groups, cout: s[0], act: act}
	across := 1
	if groups == 1 && s[3] == u.stride[1] && u.before[1] == 0 && u.after[1] == 0 {
		across = u.stride[1]
	}
	for y := range u.stride[0] {
		for x := 0; x < u.stride[1]; x += across {
			p := m.newPhase([2]int{y, x}, groups)
			var filters []float32
			for next := range across {
				filters = append(filters, m.filters(p, x+next, weights)...)
			}
			p.cout, p.bias = m.cout*across, slices.Repeat(bias, across)
			shape := tensor.Shape{p.cout, s[1], p.window.kernel[0], p.window.kernel[1]}
			p.weights = packFilters(k, mem, tensor.Of(shape, filters), groups)
			m.phases = append(m.phases, p)
		}
	}
	return m
}

// newPhase returns a phase without filters.
func (m *upConv) newPhase(remainder [2]int, groups int) *phase {
	p := &phase{remainder: remainder}
	p.groups, p.cin = groups, m.cin
	p.stride, p.dilation = [2]int{1, 1}, [2]int{1, 1}
	for a, r := range remainder {
		stride, first := m.stride[a], m.lastTap(a, r)
		p.window.kernel[a] = (m.kernel[a]-1-first)/stride + 1
		p.top[a] = p.window.kernel[a] - 1 - (r+m.before[a]-first)/stride
	}
	return p
}

// lastTap is the position of the window as stated that the last tap of a phase
// is along an axis.
func (m *upConv) lastTap(axis, remainder int) int {
	return (remainder + m.before[axis]) % m.stride[axis]
}

// filters returns the filters of the phase with the given remainder along the
// width, and with p's along the height.
func (m *upConv) filters(p *phase, remainder int, weights *tensor.Tensor) []float32 {
	s := weights.Shape()
	src := tensor.Data[float32](weights)
	first := [2]int{m.lastTap(0, p.remainder[0]), m.lastTap(1, remainder)}
	rows, columns := p.window.kernel[0], p.window.kernel[1]
	part := make([]float32, 0, s[0]*s[1]*rows*columns)
	for f := range s[0] * s[1] {
		for y := range rows {
			for x := range columns {
				// Tap t is position first + stride*(taps-1-t) as stated, which the
				// turned window has at kernel-1 minus that.
				ky := m.kernel[0] - 1 - first[0] - m.stride[0]*(rows-1-y)
				kx := m.kernel[1] - 1 - first[1] - m.stride[1]*(columns-1-x)
				part = append(part, src[(f*s[2]+ky)*s[3]+kx])
			}
		}
	}
	return part
}

func (m *upConv) name() string {
	if m.act.name != "" {
		return "ConvTranspose+" + m.act.name
	}
	return "ConvTranspose"
}

// border has room for the windows of every phase.
func (m *upConv) border(int) halo {
	var h halo
	for _, p := range m.phases {
		h = h.union(halo{p.top[0], p.top[1], m.beyond(p, 0), m.beyond(p, 1)})
	}
	return h
}

// beyond is how many pixels behind the last one along an axis the windows of a
// phase reach, whatever the size of the image.
func (m *upConv) beyond(p *phase, axis int) int {
	// The last output is stride*(size-1) + kernel-1 - before - after.
	over := m.kernel[axis] - 1 - m.before[axis] - m.after[axis] - p.remainder[axis]
	last := floorDiv(over, m.stride[axis]) // minus size-1: the last of the phase
	return last - p.top[axis] + p.window.kernel[axis] - 1
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (m *upConv) place(ins []halo, out halo) {
	m.in, m.out = ins[0], out
	for _, p := range m.phases {
		p.in, p.out = ins[0], out
	}
}

func (m *upConv) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), m.in)
	if err != nil {
		return err
	}
	if x.c != m.cin {
		return e.Errorf(0, "%v has %d channels, want %d", &x, x.c, m.cin)
	}
	plan, err := m.plans.get([3]int{x.n, x.h, x.w}, func() (*upPlan, error) { return m.plan(&x.pixels) })
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y, t := newImage[float32](e, tensor.Float32, x.n, plan.oh, plan.ow, m.cout, m.out, 0)
	for i, p := range m.phases {
		each, perGroup := m.cin/p.groups, p.cout/p.groups
		for g, weights := range p.weights {
			prod := kernel.ProductF32{Geometry: plan.parts[i], A: x.data[g*each:], B: weights, C: y.data[g*perGroup:], Lo: m.act.lo, Hi: m.act.hi}
			if len(p.bias) > 0 {
				prod.Bias = p.bias[g*perGroup:]
			}
			productF32(e, &prod, epilogue{act: &activation{}})
		}
	}
	if m.act.apply != nil { // on whole rows: the pixels of a phase lie apart
		rows(e, &y, func(n, lo, hi int) {
			for i := lo; i < hi; i++ {
				m.act.apply(e.Kernels, y.row(n, i), y.row(n, i))
			}
		})
	}
	e.SetOut(0, t)
	return nil
}

// plan lists where the pixels of images as large as x lie.
func (m *upConv) plan(x *pixels) (*upPlan, error) {
	size := func(axis, n int) int {
		return m.stride[axis]*(n-1) + m.kernel[axis] - m.before[axis] - m.after[axis]
	}
	u := &upPlan{oh: size(0, x.h), ow: size(1, x.w)}
	if x.h < 1 || x.w < 1 || u.oh < 1 || u.ow < 1 {
		return nil, fmt.Errorf("padding leaves nothing of %v", x)
	}
	y := pixels{n: x.n, h: u.oh, w: u.ow, c: m.cout, halo: m.out}
	if max(x.n*x.plane(), x.n*y.plane()) > math.MaxInt32 {
		return nil, fmt.Errorf("%v is too large", x)
	}
	for _, p := range m.phases {
		oh, ow := m.count(p, 0, u.oh), m.count(p, 1, u.ow)
		g := kernel.Geometry{M: x.n * oh * ow, N: p.cout / p.groups, LDA: m.cin, LDC: m.cout}
		g.K, g.Taps = p.taps(x)
		g.ARows = p.inputRows(x, oh, ow, p.top[0], p.top[1])
		for n := range x.n {
			for i := range oh {
				row := y.at(n, p.remainder[0]+i*m.stride[0])
				for k := range ow {
					g.CRows = append(g.CRows, int32(row+(p.remainder[1]+k*m.stride[1])*m.cout))
				}
			}
		}
		u.parts = append(u.parts, g)
	}
	return u, nil
}

// count is how many of an axis' pixels belong to a phase.
func (m *upConv) count(p *phase, axis, size int) int {
	return max(0, (size-p.remainder[axis]+m.stride[axis]-1)/m.stride[axis])
}
