package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// sparseProductLimit is up to which shares products with sparse matrices pay;
// they have to transpose both operand and result. sparseProductRows is how many
// rows of the operand there are at least: the lanes of the kernels lie along
// them.
var sparseProductLimit = sparseLimit{blocks: 0.35, single: 0.2}

const sparseProductRows = 32

// sparseRowLimit is the limit of products of one row, for which a dense matrix is
// read as fast as memory allows. Kernels take as long for it as for rowPixels
// rows.
var sparseRowLimit = sparseLimit{blocks: 0.15}

const rowPixels = 16

// sparseProduct is a product of a float32 tensor [..., k] with a constant matrix
// of few elements that are not zero, with what is computed along with it:
//
//	y = act(MatMul(x, w) + bias + res)
type sparseProduct struct {
	*sparseMatrix // n x k
	bias          []float32
	act           activation
}

func (s *sparseProduct) name() string {
	if s.act.name != "" {
		return "SparseMatMul+" + s.act.name
	}
	return "SparseMatMul"
}

func (s *sparseProduct) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.DType() != tensor.Float32 || x.Rank() == 0 || x.Shape()[x.Rank()-1] != s.cols {
		return e.Errorf(0, "want float with %d in the last axis", s.cols)
	}
	shape := x.Shape().Clone()
	shape[len(shape)-1] = s.rows
	y := e.New(tensor.Float32, shape)
	var res []float32
	if len(e.In) > 1 {
		r := e.Tensor(1)
		if r == nil || r.DType() != tensor.Float32 || !r.Shape().Equal(shape) {
			return e.Errorf(1, "want float%v", shape)
		}
		res = tensor.Data[float32](r)
	}
	if rows := shape[:len(shape)-1].Len(); rows == 1 {
		s.row(e, tensor.Data[float32](x), tensor.Data[float32](y), res)
	} else {
		s.product(e, tensor.Data[float32](x), tensor.Data[float32](y), res, rows)
	}
	e.SetOut(0, y)
	return nil
}

// sparseColumns is how many rows of the operand a thread takes at a time: so many
// that kernels are busy, and so few that what they read stays in the nearest cache.
const sparseColumns = 48

// row computes a product of one row, whose operand and result are columns as they
// are.
func (s *sparseProduct) row(e *op.Eval, x, y, res []float32) {
	p := kernel.SparseF32{X: x, Out: y, Bias: s.bias, LDX: 1, LDO: 1, Pixels: 1}
	act := &s.act
	if res != nil {
		act = &activation{}
	}
	e.Parallel(s.blocks(), 1+macsPerPiece/s.work(rowPixels), func(lo, hi int) {
		s.multiply(e.Kernels, p, act, kernel.Range{Lo: lo, Hi: hi})
		s.finish(e.Kernels, y[lo*s.height:hi*s.height], res, lo*s.height)
	})
}

// product computes so many rows of y. A thread transposes some of them, so that
// they become the columns of the sparse kernels' matrix.
func (s *sparseProduct) product(e *op.Eval, x, y, res []float32, rows int) {
	e.Parallel((rows+sparseColumns-1)/sparseColumns, 1, func(lo, hi int) {
		in, a := borrow(&sparseScratch, s.cols*sparseColumns)
		out, b := borrow(&sparseScratch, s.rows*sparseColumns)
		for i := lo; i < hi; i++ {
			first := i * sparseColumns
			count := min(sparseColumns, rows-first)
			part := y[first*s.rows:][:count*s.rows]
			k := e.Kernels
			k.Transpose(in, count, x[first*s.cols:], s.cols, count, s.cols)
			p := kernel.SparseF32{X: in, Out: out, Bias: s.bias, LDX: count, LDO: count, Pixels: count}
			if res == nil {
				s.multiply(k, p, &s.act, kernel.Range{Hi: s.blocks()})
			} else {
				s.multiply(k, p, &activation{}, kernel.Range{Hi: s.blocks()})
			}
			k.Transpose(part, s.rows, out, count, s.rows, count)
			s.finish(k, part, res, first*s.rows)
		}
		sparseScratch.Put(a)
		sparseScratch.Put(b)
	})
}

// finish adds the part of the residual from the given place on, and applies what
// the product has not done of the activation.
func (s *sparseProduct) finish(k *kernel.Table, y, res []float32, at int) {
	if res != nil {
		k.Add(y, y, res[at:at+len(y)])
		s.act.run(k, y, y)
	} else if s.act.apply != nil {
		s.act.apply(k, y, y)
	}
}

// rows is how many rows the operand has at least, as far as that is known.
func (c *productChain) rows() int {
	rows, shape := 1, c.x.Type.Shape
	for _, d := range shape[:len(shape)-1] {
		if !d.IsKnown() {
			return 1
		}
		rows *= d.Size
	}
	return rows
}

// sparse returns the product as one with a sparse matrix, nil if that does not
// pay. If it is not known how many rows there are, it has to pay for one.
func (c *productChain) sparse(w []float32) *sparseProduct {
	rows := c.rows()
	limit := sparseProductLimit
	if rows == 1 {
		limit = sparseRowLimit
	} else if rows < sparseProductRows {
		return nil
	}
	if !limit.hopes(w) {
		return nil
	}
	s := c.w.Shape()
	n, k := s[0], s[1]
	if !c.trans {
		n, k = s[1], s[0]
		t := make([]float32, len(w))
		c.o.kernels.Transpose(t, k, w, n, k, n)
		w = t
	}
	m := newSparseMatrix(w, n, k, limit)
	if m == nil || min(n, k) < sparseFirm {
		return nil
	}
	return &sparseProduct{sparseMatrix: m, bias: c.bias, act: c.act}
}
