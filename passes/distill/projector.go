package distill

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
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
	fits, err := i.compare(ctx, student, pairs, data, threads)
	if err != nil {
		return err
	}
	i.projectors = map[string]*mat.Dense{}
	for k, p := range pairs {
		if w := fits[k].solve(); w != nil {
			i.projectors[p.student] = w
		}
	}
	return nil
}

// anchor finds which channels of the teacher a student has inherited: those
// that its own go with on some samples. Such a student is held to them as they
// are, since the layers behind know what each channel means; a learned
// projection would let it turn them into each other. Pairs of which that cannot
// be said are aligned.
func (i *imitation) anchor(ctx context.Context, student *graph.Model, pairs []pair, data train.Source, threads int) error {
	fits, err := i.compare(ctx, student, pairs, data, threads)
	if err != nil {
		return err
	}
	i.inherited, i.projectors = map[string][]int64{}, map[string]*mat.Dense{}
	for k, p := range pairs {
		if at := fits[k].inherited(); at != nil {
			i.inherited[p.student] = at
		} else if w := fits[k].solve(); w != nil {
			i.projectors[p.student] = w
		}
	}
	return nil
}

// compare gathers what relates the channels of pairs on some samples.
func (i *imitation) compare(ctx context.Context, student *graph.Model, pairs []pair, data train.Source, threads int) ([]fit, error) {
	sample, err := data.At(0)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range pairs {
		names = append(names, p.student)
	}
	s, err := newPupil(ctx, student, sample, names, false, threads)
	if err != nil {
		return nil, err
	}
	fits := make([]fit, len(pairs))
	n := min(probeSamples, data.Len())
	for k := range n {
		x, err := data.At(k * data.Len() / n)
		if err != nil {
			return nil, err
		}
		have, err := s.session.Run(ctx, x.Feeds)
		if err != nil {
			return nil, err
		}
		want, err := i.teacher.run(ctx, x.Feeds)
		if err != nil {
			return nil, err
		}
		for m, p := range pairs {
			t, err := floatsOf(have[p.student])
			if err != nil {
				return nil, fmt.Errorf("%q: %w", p.student, err)
			}
			fits[m].add(t, want[p.teacher])
		}
	}
	return fits, nil
}

// fit gathers what relates a student's channels to a teacher's.
type fit struct {
	places      int
	gram        *mat.SymDense // of the student's channels
	cross       *mat.Dense    // of the teacher's channels and the student's
	sums, wants []float64     // of the student's channels and the teacher's
	wantSquares []float64
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
		f.sums = make([]float64, a.RawMatrix().Rows)
		f.wants, f.wantSquares = make([]float64, b.RawMatrix().Rows), make([]float64, b.RawMatrix().Rows)
	}
	f.places += a.RawMatrix().Cols
	for r := range f.sums {
		f.sums[r] += floats.Sum(a.RawRowView(r))
	}
	for r := range f.wants {
		row := b.RawRowView(r)
		f.wants[r] += floats.Sum(row)
		f.wantSquares[r] += floats.Dot(row, row)
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

// leastLikeness is the mean correlation from which on channels count as
// inherited.
const leastLikeness = 0.5

// inherited returns, for each of the student's channels, the teacher's channel
// that it correlates with, each at most once, best pairs first; nil if they
// hardly do, or the teacher does not have more channels.
func (f *fit) inherited() []int64 {
	if f.gram == nil || len(f.wants) <= len(f.sums) {
		return nil
	}
	type couple struct {
		r    float64
		s, t int
	}
	var list []couple
	n := float64(f.places)
	for s := range f.sums {
		for t := range f.wants {
			spread := (f.gram.At(s, s) - f.sums[s]*f.sums[s]/n) * (f.wantSquares[t] - f.wants[t]*f.wants[t]/n)
			if r := f.cross.At(t, s) - f.sums[s]*f.wants[t]/n; spread > 0 {
				list = append(list, couple{r / math.Sqrt(spread), s, t})
			} else {
				list = append(list, couple{0, s, t})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b couple) int { return cmp.Compare(b.r, a.r) })
	at, taken, total := make([]int64, len(f.sums)), make([]bool, len(f.wants)), 0.0
	for s := range at {
		at[s] = -1
	}
	for _, c := range list {
		if at[c.s] < 0 && !taken[c.t] {
			at[c.s], taken[c.t] = int64(c.t), true
			total += c.r
		}
	}
	if total < leastLikeness*float64(len(at)) {
		return nil
	}
	return at
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
