package saliency

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Matrix says which elements of a weight form matrices of Rows outputs times
// Cols inputs, one for each group: what a node computes is, for each group and
// each position of its input, a product of such a matrix and a column of
// inputs. The columns of a convolution lie as its taps, each with all channels,
// the order in which sparse kernels and N:M patterns walk them.
type Matrix struct {
	Groups, Rows, Cols int

	group      int
	rows, cols []int
}

// At returns the position of an element in the weight.
func (m *Matrix) At(group, row, col int) int { return group*m.group + m.rows[row] + m.cols[col] }

// Load copies the matrix of a group, row by row, out of a weight's elements.
func (m *Matrix) Load(group int, w []float64) []float64 {
	x := make([]float64, 0, m.Rows*m.Cols)
	for _, r := range m.rows {
		at := group*m.group + r
		for _, c := range m.cols {
			x = append(x, w[at+c])
		}
	}
	return x
}

// Store is the reverse of Load.
func (m *Matrix) Store(group int, w, x []float64) {
	for i, r := range m.rows {
		at := group*m.group + r
		for j, c := range m.cols {
			w[at+c] = x[i*m.Cols+j]
		}
	}
}

// Equal reports whether two matrices see a weight alike.
func (m *Matrix) Equal(o *Matrix) bool {
	if m.Groups != o.Groups || m.Rows != o.Rows || m.Cols != o.Cols || m.group != o.group {
		return false
	}
	return equalInts(m.rows, o.rows) && equalInts(m.cols, o.cols)
}

func equalInts(a, b []int) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Depthwise reports whether each output reads one input channel of its own, so
// that there are many tiny matrices.
func (m *Matrix) Depthwise() bool { return m.Groups > 1 && m.Rows == 1 }

// MatrixOf returns how node n uses its input slot, a weight of the given
// shape. The error says why it is no weight of a matrix product.
func MatrixOf(n *graph.Node, slot int, shape tensor.Shape) (*Matrix, error) {
	switch {
	case n.Is("Conv") && slot == 1:
		return convMatrix(n, shape)
	case n.Is("ConvTranspose") && slot == 1:
		return convTransposeMatrix(n, shape)
	case n.Is("Gemm") && slot <= 1 && len(shape) == 2:
		name := [2]string{"transA", "transB"}[slot]
		inputsLast := (n.Int(name, 0) != 0) != (slot == 0)
		return flatMatrix(shape, inputsLast), nil
	case n.Is("MatMul") && slot <= 1 && len(shape) > 0:
		return flatMatrix(shape, slot == 0), nil
	}
	return nil, fmt.Errorf("input %d is no weight of a matrix product", slot)
}

// flatMatrix sees a stack of matrices whose last axis is that of the inputs,
// or else the last but one. A weight of one axis is a single row.
func flatMatrix(s tensor.Shape, inputsLast bool) *Matrix {
	if len(s) == 1 {
		return &Matrix{Groups: 1, Rows: 1, Cols: s[0], rows: []int{0}, cols: steps(s[0], 1)}
	}
	a, b := s[len(s)-2], s[len(s)-1]
	m := &Matrix{Groups: s[:len(s)-2].Len(), Rows: b, Cols: a, group: a * b, rows: steps(b, 1), cols: steps(a, b)}
	if inputsLast {
		m.Rows, m.Cols, m.rows, m.cols = a, b, steps(a, b), steps(b, 1)
	}
	return m
}

// convMatrix sees filters [out, in/groups, taps…].
func convMatrix(n *graph.Node, s tensor.Shape) (*Matrix, error) {
	groups, err := groupsOf(n, s, s[0])
	if err != nil {
		return nil, err
	}
	taps := s[2:].Len()
	m := &Matrix{Groups: groups, Rows: s[0] / groups, Cols: s[1] * taps}
	m.group = m.Rows * m.Cols
	m.rows = steps(m.Rows, m.Cols)
	for t := range taps {
		for c := range s[1] {
			m.cols = append(m.cols, c*taps+t)
		}
	}
	return m, nil
}

// convTransposeMatrix sees filters [in, out/groups, taps…]. An output of the
// matrix is what an input pixel adds to one of the pixels around it.
func convTransposeMatrix(n *graph.Node, s tensor.Shape) (*Matrix, error) {
	groups, err := groupsOf(n, s, s[0])
	if err != nil {
		return nil, err
	}
	m := &Matrix{Groups: groups, Rows: s[1:].Len(), Cols: s[0] / groups}
	m.group = m.Rows * m.Cols
	m.rows, m.cols = steps(m.Rows, 1), steps(m.Cols, m.Rows)
	return m, nil
}

func groupsOf(n *graph.Node, s tensor.Shape, channels int) (int, error) {
	if len(s) < 3 {
		return 0, fmt.Errorf("weight has %d axes, want at least 3", len(s))
	}
	groups := int(n.Int("group", 1))
	if groups < 1 || channels%groups != 0 {
		return 0, fmt.Errorf("%d channels are not divided by %d groups", channels, groups)
	}
	return groups, nil
}

// steps returns 0, step, 2*step and so on.
func steps(n, step int) []int {
	x := make([]int, n)
	for i := range x {
		x[i] = i * step
	}
	return x
}

// Dense returns the matrix that columns lo to hi-1 of a row-major matrix with
// stride columns form.
func Dense(rows, lo, hi, stride int) *Matrix {
	m := &Matrix{Groups: 1, Rows: rows, Cols: hi - lo, rows: steps(rows, stride), cols: steps(hi-lo, 1)}
	for i := range m.rows {
		m.rows[i] += lo
	}
	return m
}
