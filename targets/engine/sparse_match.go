package engine

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// sparseFirm is from how many rows and columns on a sparse convolution pays even
// if the layouts of both operand and result have to be converted for it.
const sparseFirm = 32

// sparseConvs makes sparse operators of convolutions whose weights are mostly
// zero, and of what can be computed along with them:
//
//	c = Conv(x, w)  a = Relu(c)  d = Conv<group = channels>(a, v)  y = Relu(d)
//	c = Conv(x, w)  a = Add(c, r)  y = Relu(a)
func (o *optimizer) sparseConvs() {
	found := o.sparseFound()
	for n := range o.graph.Nodes() {
		s := found[n]
		if s == nil {
			continue
		}
		nodes, ins := []*graph.Node{n}, []*graph.Value{n.In(0)}
		if add, r := o.residualAfter(n); add != nil {
			nodes, ins = append(nodes, add), append(ins, r)
		}
		nodes, s.act = o.withActivation(nodes)
		if d, _ := next(nodes[len(nodes)-1]); d != nil && len(ins) == 1 {
			if s.then = o.planesDepthwise(d, s.cout); s.then != nil {
				nodes, s.then.act = o.withActivation(append(nodes, d))
			}
		}
		last := nodes[len(nodes)-1]
		typ := last.Out(0).Type
		m := o.insert(last, s, n, ins...)
		m.Out(0).Type = typ
		o.replace(m, nodes...)
	}
}

// withActivation appends the activation that alone reads the last of the nodes,
// if there is one.
func (o *optimizer) withActivation(nodes []*graph.Node) ([]*graph.Node, activation) {
	nx, i := next(nodes[len(nodes)-1])
	if nx == nil || i != 0 {
		return nodes, activation{}
	}
	act, ok := o.activationOf(nx)
	if !ok {
		return nodes, activation{}
	}
	return append(nodes, nx), act
}

// residualAfter returns the sum that alone reads n, and what it adds to that, if
// it is of the same shape.
func (o *optimizer) residualAfter(n *graph.Node) (*graph.Node, *graph.Value) {
	add, i := next(n)
	if add == nil || !add.Is("Add") {
		return nil, nil
	}
	r := add.In(1 - i)
	if !o.isFloat32(n.Out(0)) || !o.isFloat32(r) || r == n.Out(0) || !sameDims(n.Out(0), r) {
		return nil, nil
	}
	return add, r
}

// sparseFound returns the sparse operators of the graph's convolutions. Small
// ones are worth it only beside others, where no layout has to be converted.
func (o *optimizer) sparseFound() map[*graph.Node]*sparseConv {
	found, small := map[*graph.Node]*sparseConv{}, map[*graph.Node]*sparseConv{}
	for n := range o.graph.Nodes() {
		if s := o.sparseConv(n); s != nil {
			if min(s.rows, s.cols) >= sparseFirm {
				found[n] = s
			} else {
				small[n] = s
			}
		}
	}
	for again := len(small) > 0; again; {
		again = false
		for n, s := range small {
			if o.besides(n, found) {
				found[n], again = s, true
				delete(small, n)
			}
		}
	}
	return found
}

// besides reports whether n's operand comes from, or its result goes to, a
// convolution among those found, through operators that keep the layout.
func (o *optimizer) besides(n *graph.Node, found map[*graph.Node]*sparseConv) bool {
	for p := n.In(0).Producer(); p != nil; p = p.In(0).Producer() {
		if found[p] != nil {
			return true
		}
		if !o.keepsPlanes(p) {
			break
		}
	}
	return o.leadsTo(n.Out(0), found)
}

func (o *optimizer) leadsTo(v *graph.Value, found map[*graph.Node]*sparseConv) bool {
	for _, u := range v.Uses() {
		if found[u.Node] != nil || o.keepsPlanes(u.Node) && o.leadsTo(u.Node.Out(0), found) {
			return true
		}
	}
	return false
}

// keepsPlanes reports whether n is computed over planes as well as over images.
func (o *optimizer) keepsPlanes(n *graph.Node) bool {
	if n.NumIn() == 0 || n.In(0) == nil || n.NumOut() != 1 {
		return false
	}
	if _, ok := o.activationOf(n); ok || n.Is("Add") {
		return true
	}
	return n.Is("Conv") && o.planesDepthwise(n, int(n.Int("group", 1))) != nil
}

// integral reports whether n is computed in integers, with 8-bit result.
func (o *optimizer) integral(n *graph.Node) bool {
	notes := len(o.notes)
	c := (&layout{optimizer: o}).quantChain(n)
	o.notes = o.notes[:notes] // they are made when its turn comes
	return c != nil && c.result.typ != tensor.Undefined
}

// sparseConv returns the sparse operator for n alone, nil if there is none.
func (o *optimizer) sparseConv(n *graph.Node) *sparseConv {
	if !n.Is("Conv") || n.Int("group", 1) != 1 || !o.isFloat32(n.In(0)) {
		return nil
	}
	if o.denseIntegers(n.In(1), sparsePixelLimit) || o.integral(n) {
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
	switch {
	case shape[2:].Len() == 1:
		limit = sparsePixelLimit
	case tiledBy(&win, 1, shape[1], shape[0]):
		limit = sparseTiledLimit
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
