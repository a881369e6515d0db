package op

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// evalSparseMatMul multiplies a sparse matrix, stored by its elements, by a
// dense one: alpha * A * B, either transposed if asked.
func evalSparseMatMul(e *Eval) error {
	a, ok := e.In[0].(*tensor.Sparse)
	b := e.Tensor(1)
	if !ok || b == nil || len(a.Shape) != 2 || b.Rank() != 2 {
		return e.Errorf(1, "want a sparse and a dense matrix")
	}
	transA, transB := e.Node.Int("transA", 0) != 0, e.Node.Int("transB", 0) != 0
	m, k := sides(a.Shape, transA)
	kb, n := sides(b.Shape(), transB)
	if k != kb {
		return e.Errorf(1, "%d columns of the sparse matrix against %d rows", k, kb)
	}
	places, err := sparsePlaces(a)
	if err != nil {
		return err
	}
	alpha := float64(e.Node.Float("alpha", 1))
	values, y, out := tensor.Float64s(a.Values), tensor.Float64s(b), make([]float64, m*n)
	rowB, colB := n, 1
	if transB {
		rowB, colB = 1, k
	}
	for i, p := range places {
		r, c := p/a.Shape[1], p%a.Shape[1]
		if transA {
			r, c = c, r
		}
		for j := range n {
			out[r*n+j] += alpha * values[i] * y[c*rowB+j*colB]
		}
	}
	e.SetOut(0, tensor.FromFloat64s(b.DType(), tensor.Shape{m, n}, out))
	return nil
}

// sides returns the rows and columns of a matrix, seen transposed if asked.
func sides(s tensor.Shape, transposed bool) (rows, cols int) {
	if transposed {
		return s[1], s[0]
	}
	return s[0], s[1]
}

// sparsePlaces returns the linear places of the stored elements.
func sparsePlaces(s *tensor.Sparse) ([]int, error) {
	list, err := ints(s.Indices)
	if err != nil {
		return nil, err
	}
	places := list
	if s.Indices.Rank() == 2 {
		str, rank := s.Shape.Strides(), len(s.Shape)
		places = make([]int, len(list)/max(rank, 1))
		for i := range places {
			for a := range rank {
				x, err := wrapIndex(list[i*rank+a], s.Shape[a])
				if err != nil {
					return nil, err
				}
				places[i] += x * str[a]
			}
		}
	}
	for i, p := range places {
		if places[i], err = wrapIndex(p, s.Shape.Len()); err != nil {
			return nil, err
		}
	}
	return places, nil
}

func inferSparseMatMul(c *Infer) error {
	out := unknownDims(2)
	if t := c.In[0]; t != nil && len(t.Shape) == 2 {
		out[0] = t.Shape[0]
		if c.Node.Int("transA", 0) != 0 {
			out[0] = t.Shape[1]
		}
	}
	if b := c.Shape(1); len(b) == 2 {
		out[1] = b[1]
		if c.Node.Int("transB", 0) != 0 {
			out[1] = b[0]
		}
	}
	c.SetOut(0, c.Elem(1), graph.Dims(out))
	return nil
}
