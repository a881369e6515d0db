package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// recurrent is an LSTM or GRU over float32 with constant weights and the
// default activations. The products of all time steps with the input weights
// are one product; what is left for a step is the product with the recurrent
// weights and the gates.
type recurrent struct {
	cell       cell
	directions []direction
	input      int // features of x
	hidden     int
	reverse    bool // the only direction runs backward
}

// direction holds the packed weights of one direction.
type direction struct {
	w, r   []float32 // [input, gates*hidden], [hidden, gates*hidden]
	wb, rb []float32 // biases, gates*hidden; nil if there are none
}

// cell is what an LSTM and a GRU do differently.
type cell interface {
	name() string
	gates() int
	states() int // that a step hands to the next: 1, or 2 with the cell's
	// step computes a row of states from the products x*W and h*R with biases,
	// which it may overwrite.
	step(k *kernel.Table, hidden int, x, r []float32, h, c []float32)
}

type lstm struct{}

func (lstm) name() string { return "LSTM" }
func (lstm) gates() int   { return 4 }
func (lstm) states() int  { return 2 }

// step has gates in ONNX's order: input, output, forget, cell.
func (lstm) step(k *kernel.Table, n int, x, r, h, c []float32) {
	k.Add(x, x, r)
	k.Sigmoid(x[:3*n], x[:3*n])
	i, o, f, g := x[:n], x[n:2*n], x[2*n:3*n], x[3*n:4*n]
	k.Tanh(g, g)
	k.Mul(g, g, i)
	k.Mul(c, c, f)
	k.Add(c, c, g)
	k.Tanh(h, c)
	k.Mul(h, h, o)
}

// gru resets the state behind its product with the recurrent weights
// (linear_before_reset = 1).
type gru struct{}

func (gru) name() string { return "GRU" }
func (gru) gates() int   { return 3 }
func (gru) states() int  { return 1 }

// step has gates in ONNX's order: update, reset, hidden. The new state is
// (1-z)*g + z*h = g + z*(h-g).
func (gru) step(k *kernel.Table, n int, x, r, h, _ []float32) {
	k.Add(x[:2*n], x[:2*n], r[:2*n])
	k.Sigmoid(x[:2*n], x[:2*n])
	z, reset, g := x[:n], x[n:2*n], x[2*n:3*n]
	k.Mul(r[2*n:3*n], r[2*n:3*n], reset)
	k.Add(g, g, r[2*n:3*n])
	k.Tanh(g, g)
	k.Sub(h, h, g)
	k.Mul(h, h, z)
	k.Add(h, h, g)
}

func (m *recurrent) name() string { return m.cell.name() }

// eval takes x [steps, batch, input] and the initial states, each
// [directions, batch, hidden] or omitted, and gives y [steps, directions,
// batch, hidden] and the last states.
func (m *recurrent) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.DType() != tensor.Float32 || x.Rank() != 3 || x.Shape()[2] != m.input {
		return e.Errorf(0, "want float with 3 axes, the last of %d", m.input)
	}
	steps, batch := x.Shape()[0], x.Shape()[1]
	shape := tensor.Shape{len(m.directions), batch, m.hidden}
	states := make([]*tensor.Tensor, m.cell.states())
	for i := range states {
		states[i] = e.New(tensor.Float32, shape)
		first := e.Tensor(i + 1)
		switch {
		case first == nil:
			clear(tensor.Data[float32](states[i]))
		case !first.Shape().Equal(shape) || first.DType() != tensor.Float32:
			return e.Errorf(i+1, "want float%v", shape)
		default:
			copy(tensor.Data[float32](states[i]), tensor.Data[float32](first))
		}
	}
	y := e.New(tensor.Float32, tensor.Shape{steps, len(m.directions), batch, m.hidden})
	for d := range m.directions {
		m.run(e, d, steps, batch, tensor.Data[float32](x), tensor.Data[float32](y), states)
	}
	e.SetOut(0, y)
	for i, s := range states {
		e.SetOut(i+1, s)
	}
	return nil
}

// run computes direction d.
func (m *recurrent) run(e *op.Eval, d, steps, batch int, x, y []float32, states []*tensor.Tensor) {
	dir, wide, n := &m.directions[d], m.cell.gates()*m.hidden, m.hidden
	xw := tensor.Data[float32](e.New(tensor.Float32, tensor.Shape{steps * batch, wide}))
	hr := tensor.Data[float32](e.New(tensor.Float32, tensor.Shape{batch, wide}))
	multiply(e, xw, x, dir.w, dir.wb, steps*batch, wide, m.input)
	part := func(i int) []float32 {
		if i >= len(states) {
			return nil
		}
		return tensor.Data[float32](states[i])[d*batch*n : (d+1)*batch*n]
	}
	h, c := part(0), part(1)
	product := newStepProduct(e, hr, h, dir, batch, wide, n)
	for s := range steps {
		if d == 1 || m.reverse {
			s = steps - 1 - s
		}
		product.compute()
		for b := range batch {
			row := xw[(s*batch+b)*wide:][:wide]
			var cell []float32
			if c != nil {
				cell = c[b*n : (b+1)*n]
			}
			m.cell.step(e.Kernels, n, row, hr[b*wide:(b+1)*wide], h[b*n:(b+1)*n], cell)
		}
		copy(y[(s*len(m.directions)+d)*batch*n:], h)
	}
}

// stepProduct is the product of the states with the recurrent weights, which
// every step computes anew.
type stepProduct struct {
	kernel.ProductF32
	e            *op.Eval
	unit         int // columns of a group of panels
	count, grain int // of groups, and how many are worth a thread
}

// macsPerStep is how many multiply-accumulates of a step are worth a thread:
// fewer than elsewhere, since each thread then keeps its part of the weights in
// its own cache for all steps.
const macsPerStep = 1 << 16

func newStepProduct(e *op.Eval, c, h []float32, dir *direction, batch, wide, hidden int) *stepProduct {
	p := &stepProduct{ProductF32: kernel.ProductF32{A: h, B: dir.r, C: c, Bias: dir.rb}, e: e}
	p.M, p.N, p.K, p.LDA, p.LDC = batch, wide, hidden, hidden, wide
	p.unit = kernel.RowPanels * e.Kernels.GemmF32.NR
	p.count, p.grain = ceilDiv(wide, p.unit), ceilDiv(macsPerStep, max(1, batch*hidden*p.unit))
	return p
}

func (p *stepProduct) compute() { p.e.Parallel(p.count, p.grain, p.columns) }

// columns computes the groups of panels [lo, hi).
func (p *stepProduct) columns(lo, hi int) {
	tile := tiles.Get().(*kernel.TileF32)
	p.e.Kernels.GemmF32.Block(tile, &p.ProductF32, kernel.Range{Hi: p.M}, kernel.Range{Lo: lo * p.unit, Hi: min(hi*p.unit, p.N)})
	*tile = kernel.TileF32{}
	tiles.Put(tile)
}

// multiply is c = a*b + bias for a of m by k and a packed b of n columns.
func multiply(e *op.Eval, c, a, b, bias []float32, m, n, k int) {
	p := kernel.ProductF32{A: a, B: b, C: c, Bias: bias}
	p.M, p.N, p.K, p.LDA, p.LDC = m, n, k, k, n
	productF32(e, &p, epilogue{act: &activation{}})
}

// packRecurrent replaces the LSTM and GRU nodes that have a packed form.
func (o *optimizer) packRecurrent() {
	for n := range o.graph.Nodes() {
		if !n.Is("LSTM", "GRU") {
			continue
		}
		m, why := o.recurrentOf(n)
		if m == nil {
			o.note(n, "not packed: %s", why)
			continue
		}
		ins := []*graph.Value{n.In(0), n.In(5)}
		if m.cell.states() == 2 {
			ins = append(ins, n.In(6))
		}
		o.swap(n, m, ins)
	}
}

// swap puts a fused operator with the same results in the place of n.
func (o *optimizer) swap(n *graph.Node, m machine, ins []*graph.Value) {
	fused := graph.NewNode(machineDomain, m.name(), ins, n.NumOut())
	fused.Name = n.Name
	o.src.info[fused] = nodeInfo{origin: o.src.info[n].origin, machine: m}
	o.graph.InsertBefore(n, fused)
	for i, v := range n.Outs() {
		if v == nil {
			continue
		}
		fused.Out(i).Type, fused.Out(i).Inferred = v.Type, true
		o.graph.Replace(v, fused.Out(i))
	}
	o.graph.Remove(n)
}

// recurrentOf returns the packed form of n, or why there is none.
func (o *optimizer) recurrentOf(n *graph.Node) (*recurrent, string) {
	m := &recurrent{cell: lstm{}, reverse: n.Str("direction", "forward") == "reverse"}
	if n.Op == "GRU" {
		m.cell = gru{}
		if n.Int("linear_before_reset", 0) == 0 {
			return nil, "the state is reset before its product"
		}
	}
	switch {
	case n.Attr("activations") != nil && !defaultActivations(n):
		return nil, "the activations are not the default ones"
	case n.Attr("clip") != nil || n.Int("layout", 0) != 0 || n.Int("input_forget", 0) != 0:
		return nil, "clip, layout or input_forget is set"
	case n.In(4) != nil || n.In(7) != nil:
		return nil, "sequences have lengths of their own, or there are peepholes"
	}
	weights, ok := o.floats(n.In(1), n.In(2))
	if !ok {
		return nil, "the weights are not float32 constants"
	}
	s, r := o.constant(n.In(1)).Shape(), o.constant(n.In(2)).Shape()
	gates := m.cell.gates()
	if len(s) != 3 || len(r) != 3 || s[0] != r[0] || s[1] != r[1] || s[1] != gates*r[2] || s[0] > 2 {
		return nil, "the weights' shapes do not fit each other"
	}
	m.input, m.hidden = s[2], r[2]
	var bias []float32
	if n.In(3) != nil {
		b, ok := o.floats(n.In(3))
		if !ok || len(b[0]) != s[0]*2*s[1] {
			return nil, "the biases are not constants of the right size"
		}
		bias = b[0]
	}
	for d := range s[0] {
		m.directions = append(m.directions, o.direction(weights, bias, d, s[1], m.input, m.hidden))
	}
	return m, ""
}

// defaultActivations reports whether the activations that n states are those
// it would have without.
func defaultActivations(n *graph.Node) bool {
	want := []string{"Sigmoid", "Tanh", "Tanh"}
	if n.Op == "GRU" {
		want = want[:2]
	}
	list := n.Attr("activations").Strings
	return len(list) > 0 && len(list)%len(want) == 0 && slices.Equal(list, slices.Repeat(want, len(list)/len(want)))
}

// direction packs the weights of direction d, [wide, input] and [wide,
// hidden], and its biases.
func (o *optimizer) direction(weights [][]float32, bias []float32, d, wide, input, hidden int) direction {
	pack := func(w []float32, k int) []float32 {
		w = w[d*wide*k:][:wide*k]
		return o.memory.matrix(o.kernels, tensor.Of(tensor.Shape{wide, k}, w), w, k, wide, true)
	}
	dir := direction{w: pack(weights[0], input), r: pack(weights[1], hidden)}
	if bias != nil {
		both := bias[d*2*wide : (d+1)*2*wide]
		dir.wb, dir.rb = both[:wide], both[wide:]
	}
	return dir
}
