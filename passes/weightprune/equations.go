package weightprune

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

const (
	// solverRounds bounds the rounds of the conjugate gradients.
	solverRounds = 60
	// solverRest is the squared residual, as a share of that at zero, at which a
	// row counts as solved.
	solverRest = 1e-8
)

// equations are the normal equations of the rows of a matrix of weights, w H = c.
type equations struct {
	h       []float64 // n x n
	c       []float64 // rows x n
	rows, n int

	kernels *kernel.Table
	threads int
}

// solve returns the solution among the weights that are kept, the others being
// zero. damp times the mean of H's diagonal pulls weights to near, the more the
// less the equations decide them. x is where to start; it is changed. All rows
// take the steps of their conjugate gradients together, so that one matrix
// product does for all.
func (e *equations) solve(near, x []float64, keep []bool, damp float64) []float64 {
	s := &conjugate{equations: e, x: x, keep: keep, scale: make([]float64, e.n)}
	for i := range e.n {
		s.lambda += damp * e.h[i*e.n+i] / float64(e.n)
	}
	s.lambda = max(s.lambda, 1e-30)
	for i := range s.scale {
		s.scale[i] = 1 / (e.h[i*e.n+i] + s.lambda)
	}
	s.start(near)
	for range solverRounds {
		if s.step() {
			break
		}
	}
	return x
}

// conjugate is the state of the conjugate gradients, scaled by the diagonal, of
// all rows.
type conjugate struct {
	*equations
	lambda float64
	x      []float64
	keep   []bool
	scale  []float64 // by column

	residual []float64
	p        []float32 // directions
	hp       []float32 // times H
	energy   []float64 // of the residual, by row, as scaled
	enough   []float64 // by row
	packed   []float32 // H
}

func (s *conjugate) start(near []float64) {
	size := s.rows * s.n
	s.residual, s.p, s.hp = make([]float64, size), make([]float32, size), make([]float32, size)
	s.energy, s.enough = make([]float64, s.rows), make([]float64, s.rows)
	h := make([]float32, s.n*s.n)
	for i, x := range s.h {
		h[i] = float32(x)
	}
	s.packed = make([]float32, s.kernels.GemmF32.PackedLen(s.n, s.n))
	s.kernels.PackF32(s.packed, h, s.n, s.n, s.n, false)
	for i, k := range s.keep {
		if !k {
			s.x[i] = 0
		}
		s.p[i] = float32(s.x[i])
	}
	s.multiply()
	for i, k := range s.keep {
		r, scale := i/s.n, s.scale[i%s.n]
		s.p[i] = 0
		if !k {
			continue
		}
		want := s.c[i] + s.lambda*near[i]
		s.residual[i] = want - float64(s.hp[i]) - s.lambda*s.x[i]
		z := s.residual[i] * scale
		s.p[i] = float32(z)
		s.energy[r] += z * s.residual[i]
		s.enough[r] += solverRest * want * want * scale
	}
}

// multiply sets hp to p times H.
func (s *conjugate) multiply() {
	const chunk = 48
	saliency.Parallel(s.threads, (s.rows+chunk-1)/chunk, func(c int) {
		lo, hi := c*chunk, min((c+1)*chunk, s.rows)
		p := kernel.ProductF32{
			Geometry: kernel.Geometry{M: hi - lo, N: s.n, K: s.n, LDA: s.n, LDC: s.n},
			A:        s.p[lo*s.n:], B: s.packed, C: s.hp[lo*s.n:],
		}
		s.kernels.GemmF32.Block(new(kernel.TileF32), &p, kernel.Range{Hi: hi - lo}, kernel.Range{Hi: s.n})
	})
}

// step takes one step in every row and reports whether all are solved.
func (s *conjugate) step() bool {
	s.multiply()
	done := true
	for r := range s.rows {
		if s.energy[r] > s.enough[r] {
			s.row(r)
			done = done && s.energy[r] <= s.enough[r]
		}
	}
	return done
}

func (s *conjugate) row(r int) {
	n := s.n
	along := 0.0
	for i := r * n; i < (r+1)*n; i++ {
		along += float64(s.p[i]) * (float64(s.hp[i]) + s.lambda*float64(s.p[i]))
	}
	if along <= 0 {
		s.energy[r] = 0
		return
	}
	a, before := s.energy[r]/along, s.energy[r]
	s.energy[r] = 0
	for i := r * n; i < (r+1)*n; i++ {
		if !s.keep[i] {
			continue
		}
		s.x[i] += a * float64(s.p[i])
		s.residual[i] -= a * (float64(s.hp[i]) + s.lambda*float64(s.p[i]))
		s.energy[r] += s.residual[i] * s.residual[i] * s.scale[i-r*n]
	}
	for i := r * n; i < (r+1)*n; i++ {
		if s.keep[i] {
			s.p[i] = float32(s.residual[i]*s.scale[i-r*n] + s.energy[r]/before*float64(s.p[i]))
		}
	}
}
