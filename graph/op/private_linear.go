package op

import (
	"github.com/onnxpack/onnxpack/graph/op/internal/dft"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privateLinearDefs are gradients of determinants and transforms.
//
//	DetGrad (dy, x)                     gradient by the matrices of Det
//	DFTGrad (dy, shape of x, dft_length, axis)
//	                                    gradient by the input of DFT, with its
//	                                    attributes, and axis as one of them
//	                                    where it is no input
var privateLinearDefs = []*Def{
	{Domain: PrivateDomain, Name: "DetGrad", Since: 1, Eval: evalDetGrad, Cost: perInput(8),
		Infer: func(c *Infer) error { c.SetOut(0, c.Elem(1), c.Shape(1)); return nil }},
	{Domain: PrivateDomain, Name: "DFTGrad", Since: 1, Eval: evalDFTGrad, Cost: costDFT,
		Infer: func(c *Infer) error { c.SetOut(0, c.Elem(0), c.Dims(1)); return nil }},
}

// evalDetGrad gives each element its cofactor times dy: the determinant
// without the row and the column of the element, so that singular matrices
// have a gradient too.
func evalDetGrad(e *Eval) error {
	s := e.Tensor(1).Shape()
	r := len(s)
	if r < 2 || s[r-1] != s[r-2] {
		return e.Errorf(1, "want square matrices")
	}
	n := s[r-1]
	dy, x := tensor.Float64s(e.Tensor(0)), tensor.Float64s(e.Tensor(1))
	if len(dy) != s[:r-2].Len() {
		return e.Errorf(0, "want the shape %v of the determinants", s[:r-2])
	}
	dx := make([]float64, len(x))
	e.Parallel(len(dy), 1, func(lo, hi int) {
		minor := make([]float64, n*n)
		for i := lo; i < hi; i++ {
			m := x[i*n*n:][:n*n]
			for at := range m {
				c := determinant(withoutCross(minor, m, n, at), n-1)
				if (at/n+at%n)%2 == 1 {
					c = -c
				}
				dx[i*n*n+at] = dy[i] * c
			}
		}
	})
	e.SetOut(0, tensor.FromFloat64s(e.Tensor(1).DType(), s, dx))
	return nil
}

// withoutCross writes m, an n by n matrix, without the row and the column of
// element at to dst.
func withoutCross(dst, m []float64, n, at int) []float64 {
	dst = dst[:0]
	for i, v := range m {
		if i/n != at/n && i%n != at%n {
			dst = append(dst, v)
		}
	}
	return dst
}

// evalDFTGrad is the adjoint of a transform. That of a forward transform is an
// inverse one without its division by the length; where only one side of the
// spectrum was given, the other side has no gradient. That of an inverse
// transform is a forward one, divided by the length; where one side stood for
// both, the frequencies between the first and the middle one counted twice.
// Of a real signal the imaginary part has no gradient.
func evalDFTGrad(e *Eval) error {
	xs, err := e.shapeOperand(1)
	if err != nil {
		return err
	}
	dy := e.Tensor(0)
	ys := dy.Shape()
	last := len(xs) - 1
	if last < 1 || len(ys) != len(xs) || xs[last] != 1 && xs[last] != 2 {
		return e.Errorf(0, "want the axes of an input %v", xs)
	}
	version := int64(17)
	if e.Node.Attr("axis") == nil {
		version = 20
	}
	axis, err := dftAxis(version, e.Node, e.Tensor(3), len(xs))
	if err != nil {
		return e.Errorf(1, "%v", err)
	}
	p := dft.Plan{Length: ys[axis], Inverse: e.Node.Int("inverse", 0) != 0, Onesided: e.Node.Int("onesided", 0) != 0}
	if p.Onesided && !p.Inverse {
		if p.Length, err = e.int(2, xs[axis]); err != nil {
			return err
		}
	}
	if p.Length < 1 {
		return e.Errorf(2, "length is %d, want at least 1", p.Length)
	}
	if want := p.Out(); ys[axis] != want || ys[last] != p.OutParts() {
		return e.Errorf(0, "want %d values of %d parts along axis %d", want, p.OutParts(), axis)
	}
	e.SetOut(0, cast(dftAdjoint(e, p, axis, xs), dy.DType()))
	return nil
}

// dftAdjoint returns, as Float64, the gradient by the input of shape xs of a
// transform along an axis whose result has the gradient input 0.
func dftAdjoint(e *Eval, p dft.Plan, axis int, xs tensor.Shape) *tensor.Tensor {
	ys, last := e.Tensor(0).Shape(), len(xs)-1
	dy, dx := tensor.Float64s(e.Tensor(0)), tensor.New(tensor.Float64, xs)
	dst := tensor.Data[float64](dx)
	in, out := newLanes(ys, axis, last), newLanes(xs, axis, last)
	values, parts := xs[axis], xs[last]
	e.Parallel(in.count, in.laneGrain(), func(lo, hi int) {
		back := dft.Plan{Length: p.Length, Inverse: !p.Inverse}
		grad, full, lane := make([]float64, in.size), make([]float64, 2*p.Length), make([]float64, out.size)
		for i := lo; i < hi; i++ {
			back.Transform(full, readLane(in, i, dy, grad), ys[last])
			clear(lane)
			for j := range min(values, p.Length) {
				scale := adjointScale(p, j)
				for k := range parts {
					lane[j*parts+k] = scale * full[2*j+k]
				}
			}
			writeLane(out, i, dst, lane)
		}
	})
	return dx
}

// adjointScale is what value j of the transform back is multiplied by.
func adjointScale(p dft.Plan, j int) float64 {
	n := float64(p.Length)
	switch {
	case !p.Inverse:
		return n
	case !p.Onesided:
		return 1 / n
	case j > p.Length/2:
		return 0
	case j > 0 && 2*j != p.Length:
		return 2 / n
	}
	return 1 / n
}
