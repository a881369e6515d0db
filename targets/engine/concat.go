package engine

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// concatImage joins images along their channels. Some of them may be in place
// already: see joined.
type concatImage struct {
	channels []int // of each image; nil if they are not known
	bytes    bool  // of uint8 or int8, not float32
	zero     uint8 // in the halo of an 8-bit result
	halos    []halo
	out      halo
	into     []*joined // where the operands go, the last of which is the larger image; nil if they are all
}

func (c *concatImage) name() string { return "Concat" }

func (c *concatImage) eval(e *op.Eval) error {
	if c.bytes {
		return join(e, c, c.zero)
	}
	return join[float32](e, c, 0)
}

func join[T tensor.Elem](e *op.Eval, c *concatImage, border T) error {
	if c.into != nil {
		return c.joinRest(e)
	}
	parts := make([]image[T], len(e.In))
	channels := 0
	for i := range parts {
		p, err := imageOf[T](e.Tensor(i), c.halos[i])
		if err != nil {
			return err
		}
		if f := &parts[0]; i > 0 && (p.n != f.n || p.h != f.h || p.w != f.w) {
			return e.Errorf(i, "%v cannot be joined to %v", &p, f)
		}
		parts[i] = p
		channels += p.c
	}
	first := &parts[0]
	y, t := newImage(e, e.Tensor(0).DType(), first.n, first.h, first.w, channels, c.out, border)
	rows(e, &y, func(n, lo, hi int) {
		for i := lo; i < hi; i++ {
			at := 0
			for k := range parts {
				copyPixels(e.Kernels, y.row(n, i)[at:], channels, parts[k].row(n, i), parts[k].c)
				at += parts[k].c
			}
		}
	})
	e.SetOut(0, t)
	return nil
}

// copyPixels copies the pixels of c channels that src holds to pixels that are
// step apart.
func copyPixels[T tensor.Elem](k *kernel.Table, dst []T, step int, src []T, c int) {
	if c == 0 {
		return
	}
	count := len(src) / c
	if to, ok := any(dst).([]float32); ok {
		k.CopyRows(to, step, any(src).([]float32), c, count, c)
		return
	}
	for i := range count {
		copy(dst[i*step:], src[i*c:(i+1)*c])
	}
}

// joinRest copies the operands that are not in place yet.
func (c *concatImage) joinRest(e *op.Eval) error {
	for i, j := range c.into {
		p, err := imageOf[float32](e.Tensor(i), c.halos[i])
		if err != nil {
			return err
		}
		y, t, err := newPart[float32](e, j, tensor.Float32, p.n, p.h, p.w, p.c, c.out, 0)
		if err != nil {
			return err
		}
		rows(e, &p, func(n, lo, hi int) {
			for k := lo; k < hi; k++ {
				copyPixels(e.Kernels, y.row(n, k), y.step(), p.row(n, k), p.c)
			}
		})
		e.SetOut(0, t)
	}
	return nil
}

// joined says that an operator writes its result among the channels of a larger
// image: the one that a Concat would copy it to,
//
//	a = Conv(x)  b = MaxPool(x)  y = Concat(a, b)
//
// The first of the operators makes that image, the others get it as their last
// operand, and all of them give it on:
//
//	y' = Conv(x)  y = MaxPool(x, y')
type joined struct {
	channels int  // of the larger image
	first    int  // number of the result's first channel there
	begun    bool // the image is an operand
}

// gap is how many channels of others lie between the pixels of an image of c
// channels; 0 if it is alone.
func (j *joined) gap(c int) int {
	if j == nil {
		return 0
	}
	return j.channels - c
}

// newPart returns the place of a result of the given size, and the image that it
// is part of, which is the result alone if j is nil. The halo of a new image is
// filled with the given value.
func newPart[T tensor.Elem](e *op.Eval, j *joined, d tensor.DType, n, h, w, c int, b halo, border T) (image[T], *tensor.Tensor, error) {
	if j == nil {
		y, t := newImage(e, d, n, h, w, c, b, border)
		return y, t, nil
	}
	part := image[T]{pixels: pixels{n: n, h: h, w: w, c: c, halo: b, gap: j.gap(c)}}
	if !j.begun {
		y, t := newImage(e, d, n, h, w, j.channels, b, border)
		part.data = y.data[j.first:]
		return part, t, nil
	}
	last := len(e.In) - 1
	y, err := imageOf[T](e.Tensor(last), b)
	if err != nil {
		return part, nil, err
	}
	if y.n != n || y.h != h || y.w != w || y.c != j.channels {
		return part, nil, e.Errorf(last, "%v cannot be joined to %v", &part, &y)
	}
	part.data = y.data[j.first:]
	return part, e.Tensor(last), nil
}

// joinable is an operator that can write its result among the channels of a
// larger image.
type joinable interface {
	machine
	// join states where the result goes, and the halo of the larger image; it
	// reports whether the operator can do so.
	join(j *joined, out halo) bool
	joins() bool
}

// joins reports whether m writes among the channels of a larger image, which may
// be an operand.
func joins(m machine) bool {
	j, ok := m.(interface{ joins() bool })
	return ok && j.joins()
}

func (c *conv) join(j *joined, out halo) bool {
	if c.added == beforeActivation { // of an image that may be smaller
		return false
	}
	c.into, c.out = j, out
	return true
}

func (b *bottleneck) join(j *joined, out halo) bool { return b.project.join(j, out) }

func (p *pool) join(j *joined, out halo) bool {
	p.into, p.out = j, out
	return true
}

func (r *resizeImage) join(j *joined, out halo) bool {
	if r.bytes {
		return false
	}
	r.into, r.out = j, out
	return true
}

func (c *conv) joins() bool        { return c.into != nil }
func (b *bottleneck) joins() bool  { return b.project.joins() }
func (p *pool) joins() bool        { return p.into != nil }
func (r *resizeImage) joins() bool { return r.into != nil }
func (c *concatImage) joins() bool { return c.into != nil }

// channelCounts returns how many channels each operand of a Concat of images
// has, nil if they are not all known.
func channelCounts(n *graph.Node) []int {
	var counts []int
	for _, v := range n.Ins() {
		if v.Type == nil || len(v.Type.Shape) < 2 || v.Type.Shape[1].Sym != "" || v.Type.Shape[1].Size < 0 {
			return nil
		}
		counts = append(counts, v.Type.Shape[1].Size)
	}
	return counts
}

// joinInPlace makes operators write to where a Concat would copy their results.
func (o *optimizer) joinInPlace() {
	for n := range o.graph.Nodes() {
		if c, ok := o.src.info[n].machine.(*concatImage); ok && !c.bytes && c.channels != nil {
			o.joinOperands(n, c)
		}
	}
}

// joinOperands puts as many operands of a Concat as can be in place, and leaves
// the others to it.
func (o *optimizer) joinOperands(n *graph.Node, c *concatImage) {
	places, total := map[*graph.Value]*joined{}, 0
	for i, v := range n.Ins() {
		places[v] = &joined{first: total}
		total += c.channels[i]
	}
	var larger *graph.Value
	for p := range o.graph.Nodes() { // in the order in which they run
		m, ok := o.src.info[p].machine.(joinable)
		if reader, _ := next(p); !ok || reader != n {
			continue
		}
		v := p.Out(0)
		j := places[v]
		j.channels, j.begun = total, larger != nil
		if !m.join(j, c.out) {
			continue
		}
		if larger != nil {
			p.AddIn(larger)
		}
		larger = v
		delete(places, v)
	}
	if larger != nil {
		o.leaveRest(n, c, larger, places, total)
	}
}

// leaveRest leaves the operands that have places still to a Concat, if any.
func (o *optimizer) leaveRest(n *graph.Node, c *concatImage, larger *graph.Value, places map[*graph.Value]*joined, total int) {
	if len(places) == 0 {
		o.standFor(larger.Producer(), []*graph.Node{n})
		o.graph.Replace(n.Out(0), larger)
		o.graph.Remove(n)
		return
	}
	rest := &concatImage{out: c.out}
	var ins []*graph.Value
	at := 0
	for i, v := range n.Ins() {
		if places[v] != nil {
			ins = append(ins, v)
			rest.into = append(rest.into, &joined{channels: total, first: at, begun: true})
			rest.halos = append(rest.halos, c.halos[i])
		}
		at += c.channels[i]
	}
	o.replace(o.insert(n, rest, n, append(ins, larger)...), n)
}
