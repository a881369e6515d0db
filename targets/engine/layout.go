package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// imageMachine is a fused operator over images. Its halos are set once all
// readers of its result are known.
type imageMachine interface {
	machine
	// border returns the halo that input i needs.
	border(i int) halo
	// place states the halos that the inputs and the result have.
	place(ins []halo, out halo)
}

// layout moves the part of a graph around its convolutions to images: channels
// last, with halos. Every operator that can work on images does so if one of
// its operands is one already, so conversions remain at the edges only:
//
//	y = Conv(x, w)  z = MaxPool(y)  f = Flatten(z)
//
// becomes
//
//	x' = ToImage(x)  y' = Conv(x')  z' = MaxPool(y')  z = FromImage(z')  f = Flatten(z)
//
// Plain values have 4 axes, or 3: images of one row.
type layout struct {
	*optimizer
	images   map[*graph.Value]*graph.Value // plain value -> image
	axes     map[*graph.Value]int          // of plain values that have images
	consts   map[constant]*graph.Value
	bytes    map[*graph.Value]bool  // plain values whose images are of 8-bit integers
	zeros    map[*graph.Value]uint8 // what the halos of such images hold
	chains   map[*graph.Node]chain  // by last node
	absorbed map[*graph.Node]bool   // part of a chain, or of an operator with activation
	replaced []*graph.Node          // in the order in which their images were made
}

// constant is a constant value that is read as an image by operators over the
// given number of axes.
type constant struct {
	v    *graph.Value
	axes int
}

// layoutImages is the rewriting of a whole graph.
func (o *optimizer) layoutImages() {
	l := &layout{
		optimizer: o, images: map[*graph.Value]*graph.Value{}, bytes: map[*graph.Value]bool{},
		axes: map[*graph.Value]int{}, consts: map[constant]*graph.Value{},
		zeros:  map[*graph.Value]uint8{},
		chains: map[*graph.Node]chain{}, absorbed: map[*graph.Node]bool{},
	}
	l.findChains()
	if len(l.chains) == 0 {
		return
	}
	for n := range o.graph.Nodes() {
		if c := l.chains[n]; c != nil {
			l.emit(c.machine(), c.axes(), c.stands(), c.operands()...)
		} else if !l.absorbed[n] {
			l.visit(n)
		}
	}
	l.finish()
	l.placeHalos()
}

// emit puts an image operator over plain values of the given number of axes in
// front of the last of the nodes it stands for.
func (l *layout) emit(m imageMachine, axes int, stands []*graph.Node, ins ...*graph.Value) {
	last := stands[len(stands)-1]
	images := make([]*graph.Value, len(ins))
	for i, v := range ins {
		images[i] = l.image(v, axes, last, m, i)
	}
	n := l.insert(last, m, stands[0], images...)
	l.standFor(n, stands)
	l.images[last.Out(0)] = n.Out(0)
	l.axes[last.Out(0)] = axes
	l.zeros[last.Out(0)], l.bytes[last.Out(0)] = makesBytes(m)
	l.replaced = append(l.replaced, stands...)
	for _, s := range stands {
		l.absorbed[s] = true
	}
}

// makesBytes reports whether m makes images of 8-bit integers, and what their
// halos hold.
func makesBytes(m imageMachine) (zero uint8, ok bool) {
	switch m := m.(type) {
	case *qconv:
		return uint8(m.made().zero), m.result.typ != tensor.Undefined
	case *qdepthwise:
		return uint8(m.made().zero), true
	case *qbinary:
		return uint8(m.result.zero), true
	case *quantizeImage:
		return uint8(m.q.zero), true
	case *tableImage:
		return uint8(m.result.zero), true
	case *qmaxPool:
		return m.zero, true
	case *qglobalPool:
		return uint8(m.result.zero), m.result.typ != tensor.Undefined
	case *resizeImage:
		return m.zero, m.bytes
	case *concatImage:
		return m.zero, m.bytes
	}
	return 0, false
}

// zeroReader is an operator that reads 8-bit images whose halo holds their
// zero point.
type zeroReader interface{ zeroPoint() uint8 }

// image returns v, operand i of m, as an image over plain values of the given
// number of axes, converted in front of a node if need be. A float32 constant is
// laid out once unless m reads a halo, which constants have not.
func (l *layout) image(v *graph.Value, axes int, before *graph.Node, m imageMachine, i int) *graph.Value {
	if im := l.images[v]; im != nil {
		return im
	}
	if t := l.constant(v); t != nil && t.DType() == tensor.Float32 && m.border(i) == (halo{}) {
		key := constant{v, axes}
		if l.consts[key] == nil {
			l.consts[key] = l.graph.AddInit(v.Name()+"_image", constantImage(t, axes))
		}
		return l.consts[key]
	}
	c := &toImage{axes: axes}
	if z, ok := m.(zeroReader); ok {
		c.zero = z.zeroPoint()
		l.bytes[v], l.zeros[v] = true, c.zero
	}
	n := graph.NewNode(machineDomain, c.name(), []*graph.Value{v}, 1)
	l.src.info[n] = nodeInfo{origin: l.src.info[before].origin, machine: c}
	im := l.graph.InsertBefore(before, n).Out(0)
	l.images[v], l.axes[v] = im, axes
	return im
}

// constantImage lays a float32 tensor of at most the given number of axes, 3
// or 4, out as an image.
func constantImage(t *tensor.Tensor, axes int) *tensor.Tensor {
	s := withRows(append(tensor.Shape{1, 1, 1, 1}[:axes-t.Rank()], t.Shape()...))
	src, pixels := tensor.Data[float32](t), s[2]*s[3]
	return tensor.Of(tensor.Shape{s[0], s[2], s[3], s[1]}, channelsLast(src, s[0], s[1], pixels))
}

// imageable reports whether v, of the given number of axes, is an image or can
// be made one. Constants may have fewer.
func (l *layout) imageable(v *graph.Value, axes int) bool {
	if v == nil {
		return false
	}
	if l.images[v] != nil {
		return !l.bytes[v] && l.axes[v] == axes
	}
	if t := l.constant(v); t != nil {
		return t.DType() == tensor.Float32 && t.Rank() <= axes
	}
	return l.isFloat32(v) && len(v.Type.Shape) == axes
}

// isFloat32 reports whether v is known to be a float32 tensor.
func (o *optimizer) isFloat32(v *graph.Value) bool {
	return v != nil && v.Type != nil && v.Type.Kind == graph.KindTensor && v.Type.Elem == tensor.Float32
}

// visit makes an image operator of n if that can be, and one of its operands
// is an image.
func (l *layout) visit(n *graph.Node) {
	axes := l.axesOf(n)
	if axes == 0 {
		l.listPixels(n)
		return
	}
	if m, ins, stands := l.quantized(n, axes); m != nil {
		l.emit(m, axes, stands, ins...)
		return
	}
	if n.Is("Identity", "Dropout") {
		l.rename(n)
		return
	}
	m, ins := l.operator(n, axes)
	if m == nil {
		return
	}
	stands := []*graph.Node{n}
	if b, ok := m.(*binaryImage); ok {
		if other, add := l.additionAfter(n); add != nil {
			b.adds = true
			ins, stands, n = append(ins, other), append(stands, add), add
		}
	}
	if a, ok := m.(interface{ fuse(activation) }); ok {
		if act, node := l.activationAfter(n); node != nil {
			a.fuse(act)
			stands = append(stands, node)
		}
	}
	l.emit(m, axes, stands, ins...)
}

// axesOf returns how many axes the plain form of the images that n reads has,
// 0 if it reads none.
func (l *layout) axesOf(n *graph.Node) int {
	for _, v := range n.Ins() {
		if l.images[v] != nil {
			return l.axes[v]
		}
	}
	return 0
}

// rename passes the image of a node's operand on as that of its result.
func (l *layout) rename(n *graph.Node) {
	if n.NumOut() > 1 && n.Out(1) != nil || n.Is("Dropout") && n.In(2) != nil {
		return
	}
	l.images[n.Out(0)] = l.images[n.In(0)]
	l.bytes[n.Out(0)], l.zeros[n.Out(0)] = l.bytes[n.In(0)], l.zeros[n.In(0)]
	l.axes[n.Out(0)] = l.axes[n.In(0)]
	l.replaced = append(l.replaced, n)
}

// activationAfter returns the activation that alone reads n's result.
func (l *layout) activationAfter(n *graph.Node) (activation, *graph.Node) {
	nx, i := next(n)
	if nx == nil || i != 0 || l.absorbed[nx] {
		return activation{}, nil
	}
	act, ok := l.activationOf(nx)
	if !ok {
		return activation{}, nil
	}
	return act, nx
}

// additionAfter returns the addition that alone reads n's result, of an image as
// large as that, and the image.
func (l *layout) additionAfter(n *graph.Node) (*graph.Value, *graph.Node) {
	add, i := next(n)
	if add == nil || !add.Is("Add") || add.Opset() < 7 || l.absorbed[add] {
		return nil, nil
	}
	other := add.In(1 - i)
	if l.images[other] == nil || !l.imageable(other, l.axesOf(n)) || !sameDims(n.Out(0), other) {
		return nil, nil
	}
	return other, add
}

// operator returns the image operator that does what n does over images whose
// plain form has the given number of axes, and its operands, or nil.
func (l *layout) operator(n *graph.Node, axes int) (imageMachine, []*graph.Value) {
	first := n.In(0)
	if l.bytes[first] {
		return l.byteOperator(n, axes)
	}
	if q, ok := l.quantizes(n); ok && l.hasZero(q) {
		return &quantizeImage{q: q}, []*graph.Value{first}
	}
	if act, ok := l.activationOf(n); ok && l.images[first] != nil {
		return &unaryImage{act: act}, []*graph.Value{first}
	}
	if n.Domain != "" {
		return nil, nil
	}
	if b := binaryOf(n); b != nil && l.imageable(first, axes) && l.imageable(n.In(1), axes) {
		return &binaryImage{op: b}, []*graph.Value{first, n.In(1)}
	}
	if n.Op == "Concat" {
		return l.concat(n, axes)
	}
	if l.images[first] == nil {
		return nil, nil
	}
	switch n.Op {
	case "GlobalAveragePool":
		return &globalPool{}, []*graph.Value{first}
	case "Resize", "Upsample":
		if r := l.resize(n); r != nil {
			return r, []*graph.Value{first}
		}
	case "GlobalMaxPool":
		return &globalPool{max: true}, []*graph.Value{first}
	case "ReduceMean":
		if l.reducesPixels(n, axes) {
			return &globalPool{}, []*graph.Value{first}
		}
	case "MaxPool", "AveragePool":
		if p := l.pool(n); p != nil {
			return p, []*graph.Value{first}
		}
	case "BatchNormalization":
		if scale, shift, ok := l.normalization(n); ok {
			return &scaleImage{scale: scale, shift: shift}, []*graph.Value{first}
		}
	}
	return nil, nil
}

func (l *layout) concat(n *graph.Node, axes int) (imageMachine, []*graph.Value) {
	if !joinsChannels(n, axes) {
		return nil, nil
	}
	for _, v := range n.Ins() {
		if !l.imageable(v, axes) || l.constant(v) != nil {
			return nil, nil
		}
	}
	return &concatImage{channels: channelCounts(n)}, n.Ins()
}

func joinsChannels(n *graph.Node, axes int) bool { return modulo(int(n.Int("axis", 1)), axes) == 1 }

// reducesPixels reports whether a reduction is over all axes behind the
// channels, which it keeps as axes of size 1.
func (l *layout) reducesPixels(n *graph.Node, rank int) bool {
	axes := n.Ints("axes")
	if v := n.In(1); v != nil {
		t := l.constant(v)
		if t == nil || t.DType() != tensor.Int64 {
			return false
		}
		axes = tensor.Data[int64](t)
	}
	if len(axes) != rank-2 || n.Int("keepdims", 1) == 0 {
		return false
	}
	reduced := map[int]bool{}
	for _, a := range axes {
		reduced[modulo(int(a), rank)] = true
	}
	return len(reduced) == rank-2 && !reduced[0] && !reduced[1]
}

func (l *layout) pool(n *graph.Node) imageMachine {
	if n.NumOut() != 1 {
		return nil
	}
	var size []int
	for _, k := range n.Ints("kernel_shape") {
		size = append(size, int(k))
	}
	w, err := windowOf(n, size...)
	if err != nil {
		l.note(n, "not moved to images: %v", err)
		return nil
	}
	whole := n.Op == "AveragePool" && n.Int("count_include_pad", 0) != 0
	if whole && (w.ceil || w.same != padExplicit) {
		l.note(n, "not moved to images: a mean that counts padding of windows that are cut off")
		return nil
	}
	return &pool{window: w, max: n.Op == "MaxPool", whole: whole}
}

// finish makes plain tensors of the images that plain nodes or outputs read,
// and removes the nodes that images replace.
func (l *layout) finish() {
	g := l.graph
	for _, n := range slices.Backward(l.replaced) {
		v := n.Out(0)
		if v.Used() {
			im := l.images[v]
			c := graph.NewNode(machineDomain, (&fromImage{}).name(), []*graph.Value{im}, 1)
			l.src.info[c] = nodeInfo{origin: l.src.info[n].origin, machine: &fromImage{axes: l.axes[v]}}
			if p := im.Producer(); p != nil {
				g.InsertAfter(p, c)
			} else {
				g.InsertBefore(n, c)
			}
			g.Replace(v, c.Out(0))
		}
		g.Remove(n)
	}
}

// placeHalos gives every image the halo that has room for what each of its
// readers needs.
func (l *layout) placeHalos() {
	halos := map[*graph.Value]halo{}
	for n := range l.graph.Nodes() {
		m, ok := l.src.info[n].machine.(imageMachine)
		if !ok {
			continue
		}
		for i, v := range n.Ins() {
			if v.Producer() != nil { // constants are shared as they are
				halos[v] = halos[v].union(m.border(i))
			}
		}
	}
	for n := range l.graph.Nodes() {
		m, ok := l.src.info[n].machine.(imageMachine)
		if !ok {
			continue
		}
		ins := make([]halo, n.NumIn())
		for i, v := range n.Ins() {
			ins[i] = halos[v]
		}
		m.place(ins, halos[n.Out(0)])
	}
}
