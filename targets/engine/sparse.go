package engine

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Sparse kernels pay where at most this share of a weight's blocks of four
// outputs by one input, or of its single elements, is not zero, room left for
// the conversions of neighbours that work on images; and where rows and columns
// are so many that the overhead of a row does not matter.
const (
	sparseBlockShare = 0.3
	sparseRowShare   = 0.2
	sparseLeast      = 32 // channels
)

// sparseConv is a convolution of single pixels with few weights that are not
// zero, over tensors [N, C, spatial…] as they are: each row of channels is a
// row of the sparse kernels' matrix.
//
//	y = act(Conv(x, w) + bias)
type sparseConv struct {
	cin, cout int
	height    int // rows of a block: 1 or 4
	values    []float32
	columns   []int32
	start     []int32
	bias      []float32 // nil if none
	act       activation
}

func (s *sparseConv) name() string {
	if s.act.name != "" {
		return "SparseConv+" + s.act.name
	}
	return "SparseConv"
}

// newSparseConv returns the operator for the weights [cout, cin], nil if they
// are too dense to gain from it.
func newSparseConv(w []float32, cout, cin int) *sparseConv {
	if min(cout, cin) < sparseLeast {
		return nil
	}
	height := 4
	if cout%4 != 0 || sparseShare(w, cout, cin, 4) > sparseBlockShare {
		if height = 1; sparseShare(w, cout, cin, 1) > sparseRowShare {
			return nil
		}
	}
	s := &sparseConv{cin: cin, cout: cout, height: height, start: []int32{0}}
	for r := 0; r < cout; r += height {
		s.addRow(w, r)
	}
	return s
}

// sparseShare is the share of blocks of height rows by one column that are not
// all zero.
func sparseShare(w []float32, rows, cols, height int) float64 {
	n := 0
	for r := 0; r < rows; r += height {
		for c := range cols {
			if anyOf(w, r, c, cols, height) {
				n++
			}
		}
	}
	return float64(n) / float64(rows/height*cols)
}

func anyOf(w []float32, r, c, cols, height int) bool {
	for i := range height {
		if w[(r+i)*cols+c] != 0 {
			return true
		}
	}
	return false
}

// addRow appends the blocks of rows r to r+height-1.
func (s *sparseConv) addRow(w []float32, r int) {
	for c := range s.cin {
		if !anyOf(w, r, c, s.cin, s.height) {
			continue
		}
		s.columns = append(s.columns, int32(c))
		for i := range s.height {
			s.values = append(s.values, w[(r+i)*s.cin+c])
		}
	}
	s.start = append(s.start, int32(len(s.columns)))
}

func (s *sparseConv) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.DType() != tensor.Float32 || x.Rank() < 3 || x.Shape()[1] != s.cin {
		return e.Errorf(0, "want float [N, %d, spatial…]", s.cin)
	}
	shape := x.Shape().Clone()
	shape[1] = s.cout
	y := e.New(tensor.Float32, shape)
	pixels, rows := shape[2:].Len(), s.cout/s.height
	src, dst := tensor.Data[float32](x), tensor.Data[float32](y)
	each := max(1, len(s.values)/rows*pixels) // multiply-accumulates of a row
	e.Parallel(shape[0]*rows, 1+macsPerPiece/each, func(lo, hi int) {
		for lo < hi {
			n, r := lo/rows, lo%rows
			end := min(rows, r+hi-lo)
			s.rows(e.Kernels, src[n*s.cin*pixels:], dst[n*s.cout*pixels:], pixels, kernel.Range{Lo: r, Hi: end})
			lo += end - r
		}
	})
	e.SetOut(0, y)
	return nil
}

// rows computes a range of rows, or blocks of them, of one sample.
func (s *sparseConv) rows(k *kernel.Table, x, y []float32, pixels int, rows kernel.Range) {
	p := kernel.SparseF32{
		Values: s.values, Columns: s.columns, Start: s.start, Bias: s.bias,
		X: x, Out: y, LDX: pixels, LDO: pixels, Pixels: pixels, Lo: s.act.lo, Hi: s.act.hi,
	}
	if p.Lo == 0 && p.Hi == 0 {
		p.Lo, p.Hi = float32(math.Inf(-1)), float32(math.Inf(1))
	}
	if s.height == 4 {
		k.SparseBlocks(&p, rows)
	} else {
		k.SparseRows(&p, rows)
	}
	if s.act.apply != nil {
		part := y[rows.Lo*s.height*pixels : rows.Hi*s.height*pixels]
		s.act.apply(k, part, part)
	}
}

// sparseConvs makes sparse operators of convolutions of single pixels whose
// weights are mostly zero, and of the activations behind them.
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
	if w == nil || w.DType() != tensor.Float32 || w.Rank() != 4 || w.Shape()[2:].Len() != 1 {
		return nil
	}
	win, err := windowOf(n, 1, 1)
	if err != nil || win.stride != [2]int{1, 1} || win.before != [2]int{} || win.after != [2]int{} {
		return nil
	}
	s := newSparseConv(tensor.Data[float32](w), w.Shape()[0], w.Shape()[1])
	if s == nil {
		return nil
	}
	if n.In(2) != nil {
		b, ok := o.floats(n.In(2))
		if !ok || len(b[0]) != s.cout {
			return nil
		}
		s.bias = b[0]
	}
	return s
}
