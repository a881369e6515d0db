package distill

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// align finds, for each pair whose numbers of channels differ, the linear
// projection W of the student's channels that comes closest to the teacher's
// on some samples, from which training goes on:
//
//	W = sum (t x^T) (sum (x x^T) + damp)^-1
//
// over the channels x and t of all samples and places. A random one would
// first ruin what the student has inherited.
func (i *imitation) align(ctx context.Context, student *graph.Model, pairs []pair, data train.Source, threads int) error {
	sample, err := data.At(0)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range pairs {
		names = append(names, p.student)
	}
	s, err := newPupil(ctx, student, sample, names, false, threads)
	if err != nil {
		return err
	}
	fits := make([]fit, len(pairs))
	n := min(probeSamples, data.Len())
	for k := range n {
		x, err := data.At(k * data.Len() / n)
		if err != nil {
			return err
		}
		have, err := s.session.Run(ctx, x.Feeds)
		if err != nil {
			return err
		}
		want, err := i.teacher.run(ctx, x.Feeds)
		if err != nil {
			return err
		}
		for m, p := range pairs {
			t, err := floatsOf(have[p.student])
			if err != nil {
				return fmt.Errorf("%q: %w", p.student, err)
			}
			fits[m].add(t, want[p.teacher])
		}
	}
	i.projectors = map[string]*mat.Dense{}
	for m, p := range pairs {
		if w := fits[m].solve(); w != nil {
			i.projectors[p.student] = w
		}
	}
	return nil
}

// fit gathers what a projection is found from.
type fit struct {
	gram  *mat.SymDense // of the student's channels
	cross *mat.Dense    // of the teacher's channels and the student's
}

// add counts the values of a sample. Values that do not fit each other count
// for nothing: the term that compares them says what is wrong.
func (f *fit) add(x, t *tensor.Tensor) {
	if x.Rank() != t.Rank() || x.Rank() < 3 {
		return
	}
	a, b := channelRows(x), channelRows(t)
	if a.RawMatrix().Cols != b.RawMatrix().Cols {
		return
	}
	if f.gram == nil {
		f.gram = mat.NewSymDense(a.RawMatrix().Rows, nil)
		f.cross = mat.NewDense(b.RawMatrix().Rows, a.RawMatrix().Rows, nil)
	}
	var gram mat.SymDense
	gram.SymOuterK(1, a)
	f.gram.AddSym(f.gram, &gram)
	var cross mat.Dense
	cross.Mul(b, a.T())
	f.cross.Add(f.cross, &cross)
}

// solve returns the projection [teacher's channels, student's], nil if nothing
// was counted.
func (f *fit) solve() *mat.Dense {
	if f.gram == nil {
		return nil
	}
	n := f.gram.SymmetricDim()
	damp := 1e-3*mat.Trace(f.gram)/float64(n) + 1e-12
	for k := range n {
		f.gram.SetSym(k, k, f.gram.At(k, k)+damp)
	}
	var chol mat.Cholesky
	if !chol.Factorize(f.gram) {
		return nil
	}
	var solved mat.Dense
	if chol.SolveTo(&solved, f.cross.T()) != nil {
		return nil
	}
	return mat.DenseCopyOf(solved.T())
}

// channelRows returns the value of a sample as a matrix with a row for each
// channel.
func channelRows(t *tensor.Tensor) *mat.Dense {
	axis := int(channelAxis(t.Rank()))
	channels, inner := t.Shape()[axis], t.Shape()[axis+1:].Len()
	x := tensor.Float32s(t)
	m := mat.NewDense(channels, len(x)/channels, nil)
	for k, v := range x {
		m.Set(k/inner%channels, k/(inner*channels)*inner+k%inner, float64(v))
	}
	return m
}

// project maps the channels of x to as many as want has, by a learned
// projection.
func (i *imitation) project(s *train.Scope, p pair, x *graph.Value, want tensor.Shape) (*graph.Value, error) {
	have, err := s.Shape(x)
	if err != nil || have.Equal(want) {
		return x, err
	}
	rank := len(want) + 1
	c := int(channelAxis(rank)) - 1
	w := s.Param("projector/"+p.student, func() *tensor.Tensor { return i.projector(p, have[c], want[c], rank) })
	if rank == 3 {
		return s.Op("MatMul", x, w), nil
	}
	return s.Op("Conv", x, w), nil
}

// projector returns where the learning of a projection begins, as the weight
// of a convolution of single places, or of a product with sequences.
func (i *imitation) projector(p pair, from, to, rank int) *tensor.Tensor {
	w := i.projectors[p.student]
	if w == nil {
		w = mat.NewDense(to, from, nil)
	}
	x := make([]float64, 0, from*to)
	if rank == 3 {
		for c := range from {
			x = append(x, mat.Col(nil, c, w)...)
		}
		return tensor.FromFloat64s(tensor.Float32, tensor.Shape{from, to}, x)
	}
	shape := tensor.Shape{to, from}
	for range rank - 2 {
		shape = append(shape, 1)
	}
	for r := range to {
		x = append(x, mat.Row(nil, r, w)...)
	}
	return tensor.FromFloat64s(tensor.Float32, shape, x)
}
