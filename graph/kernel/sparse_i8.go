package kernel

import "math"

// SparseI8 is a sparse matrix of int8 weights times a dense matrix X of uint8
// whose rows are channels and whose columns are pixels. Entries come in pairs, so
// that kernels add two products at once: pair j of a block of H rows, 1 or 4,
// holds two columns, and for each row the weights of both,
//
//	sum = sum over j, e < 2 of Values[2*(H*j+i)+e] * X[Columns[2*j+e]+p]
//	Out[r*LDO+p] is the low byte of
//	    round(clamp(float32(sum+Bias[r])*Scale[r], Lo, Hi)) + Zero
//
// for row r = H*b+i and p < Pixels, rounding half to even, as [OutQ8] does. j
// runs from Start[b] to Start[b+1]. An odd entry is paired with a weight of zero.
// Columns are offsets in X. Weights are int8 given as int16.
type SparseI8 struct {
	Values         []int16
	Columns, Start []int32
	X, Out         []uint8
	Bias           []int32
	Scale          []float32
	LDO, Pixels    int
	Lo, Hi         float32
	Zero           int32
}

func sparseI8(height int) func(*SparseI8, Range) {
	return func(s *SparseI8, blocks Range) {
		for b := blocks.Lo; b < blocks.Hi; b++ {
			for i := range height {
				for p := range s.Pixels {
					s.element(b, i, p, height)
				}
			}
		}
	}
}

func (s *SparseI8) element(b, i, p, height int) {
	r, sum := height*b+i, int32(0)
	for j := int(s.Start[b]); j < int(s.Start[b+1]); j++ {
		w := s.Values[2*(height*j+i):][:2]
		sum += int32(w[0])*int32(s.X[int(s.Columns[2*j])+p]) + int32(w[1])*int32(s.X[int(s.Columns[2*j+1])+p])
	}
	v := float32(float32(sum+s.Bias[r]) * s.Scale[r]) // the conversion keeps it from being fused
	s.Out[r*s.LDO+p] = uint8(int32(math.RoundToEven(float64(clamp(v, s.Lo, s.Hi)))) + s.Zero)
}

func gatherU8(dst []uint8, ldd int, src []uint8, at []int32, n int, flip uint8) {
	for i, from := range at {
		for c, v := range src[from:][:n] {
			dst[c*ldd+i] = v ^ flip
		}
	}
}

func scatterU8(dst []uint8, at []int32, src []uint8, lds, n int) {
	for i, to := range at {
		row := dst[to:][:n]
		for c := range row {
			row[c] = src[c*lds+i]
		}
	}
}
