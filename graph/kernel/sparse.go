package kernel

// SparseF32 is a sparse matrix of weights times a dense matrix X whose rows are
// channels and whose columns are pixels:
//
//	Out[r*LDO+p] = clamp(sum over j of Values[j] * X[Columns[j]*LDX+p] + Bias[r], Lo, Hi)
//
// for p < Pixels. In compressed rows, j runs from Start[r] to Start[r+1]. In
// blocks of 4x1, four rows 4b..4b+3 share their columns: j runs from Start[b] to
// Start[b+1], and Values[4*j+i] belongs to row 4b+i. Bias may be nil.
type SparseF32 struct {
	Values         []float32
	Columns, Start []int32
	X, Out, Bias   []float32
	LDX, LDO       int
	Pixels         int
	Lo, Hi         float32
}

func sparseRows(s *SparseF32, rows Range) {
	for r := rows.Lo; r < rows.Hi; r++ {
		for p := range s.Pixels {
			s.element(r, p, s.Start[r], s.Start[r+1], 1, 0)
		}
	}
}

func sparseBlocks(s *SparseF32, blocks Range) {
	for b := blocks.Lo; b < blocks.Hi; b++ {
		for i := range 4 {
			for p := range s.Pixels {
				s.element(4*b+i, p, s.Start[b], s.Start[b+1], 4, i)
			}
		}
	}
}

func (s *SparseF32) element(r, p int, from, to int32, step, i int) {
	v := float32(0)
	for j := int(from); j < int(to); j++ {
		v = fma32(s.Values[j*step+i], s.X[int(s.Columns[j])*s.LDX+p], v)
	}
	if s.Bias != nil {
		v += s.Bias[r]
	}
	s.Out[r*s.LDO+p] = clamp(v, s.Lo, s.Hi)
}
