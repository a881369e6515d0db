package nodeprune

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/targets"
)

const (
	// readColumns is how many columns of inputs a layer's moments are taken of,
	// for each of its inputs.
	readColumns = 16
	// momentBytes bounds the moments of all layers together.
	momentBytes = 4 << 30
	// refitDamp is the share of the mean variance of a layer's inputs that is
	// added to all, which holds weights near what they were.
	refitDamp = 1e-2
)

// reader is a layer that sums over channels that units cut, and the moments of
// its inputs: of their deviations from the means, as its bias makes up for these.
type reader struct {
	layer
	channels int
	inputs   *saliency.Inputs
	moments  *saliency.Moments
}

// newReader returns the reader of a layer with a float weight of its own; the
// error says why there is none.
func newReader(l layer, samples int) (*reader, error) {
	w := l.node.In(l.slot)
	if !l.node.Is("Conv", "Gemm", "MatMul") || constant(w) == nil || w.Init == nil || w.Init.DType() != tensor.Float32 {
		return nil, fmt.Errorf("%v has no float weight", l.node)
	}
	if _, sole := w.SoleUse(); !sole || w.Graph() != l.node.Graph() {
		return nil, fmt.Errorf("the weight of %v has other readers", l.node)
	}
	shape := w.Init.Tensor.Shape()
	in, err := saliency.InputsOf(l.node, l.slot, shape, 0)
	if err != nil {
		return nil, err
	}
	if in.Matrix.Groups > 1 {
		return nil, fmt.Errorf("the inputs of %v are of several groups", l.node)
	}
	limit := max(readColumns, readColumns*in.Matrix.Cols/max(1, samples))
	if in, err = saliency.InputsOf(l.node, l.slot, shape, limit); err != nil {
		return nil, err
	}
	return &reader{layer: l, channels: shape[l.from], inputs: in}, nil
}

// columns returns the columns of the layer's matrix that read some channels,
// which are those of every tap of its window.
func (r *reader) columns(channels []int) []int {
	var list []int
	for at := 0; at < r.inputs.Matrix.Cols; at += r.channels {
		for _, k := range channels {
			list = append(list, at+k)
		}
	}
	return list
}

// readersOf returns the readers of each group in the order of the graph, as far
// as there are any and their moments can be held.
func (s *scorer) readersOf(j *passes.Job, g *Groups, groups []*Group) map[*Group][]*reader {
	of := map[*Group][]*reader{}
	for _, group := range groups {
		for _, c := range group.Cuts {
			for _, l := range s.readers[g.web.of(c.Weight, c.Axis)] {
				if l.node.Graph() != j.Model.Graph {
					continue
				}
				r, err := s.reader(j, l)
				if err != nil {
					j.Log().Debug("no reader", "reason", err)
					continue
				}
				of[group] = append(of[group], r)
			}
		}
	}
	return of
}

// reader returns the reader of a layer, always the same.
func (s *scorer) reader(j *passes.Job, l layer) (*reader, error) {
	if r := s.known[l.node]; r != nil {
		return r, nil
	}
	r, err := newReader(l, j.Env.Samples)
	if err != nil {
		return nil, err
	}
	bytes := saliency.HessianBytes(r.inputs.Matrix)
	if s.held+bytes > momentBytes {
		return nil, fmt.Errorf("the inputs of %v are too many: their moments take %d bytes", l.node, bytes)
	}
	s.held += bytes
	if s.known == nil {
		s.known = map[*graph.Node]*reader{}
	}
	s.known[l.node] = r
	return r, nil
}

// gather takes the moments of readers that lack them. They leave out the samples
// that effects are measured on: a layer that is fitted to few samples does well
// on those.
func (s *scorer) gather(j *passes.Job, readers []*reader) error {
	kernels, err := targets.Host().Kernels()
	if err != nil {
		return err
	}
	of := map[*graph.Value][]*reader{}
	var values []*graph.Value
	for _, r := range readers {
		if r.moments != nil {
			continue
		}
		r.moments = saliency.NewMoments(r.inputs.Matrix, true, kernels, j.Env.Threads)
		r.moments.Centered = true
		v := r.inputs.Value
		if of[v] == nil {
			values = append(values, v)
		}
		of[v] = append(of[v], r)
	}
	if len(values) == 0 {
		return nil
	}
	tried := func(n int) bool {
		return s.trials != nil && 2*len(s.trials.numbers) <= j.Env.Samples && s.trials.numbers[n]
	}
	var failed error
	sample := map[*graph.Value]int{}
	err = j.Observe(values, func(v *graph.Value, t *tensor.Tensor) {
		n := sample[v]
		sample[v]++
		if tried(n) {
			return
		}
		for _, r := range of[v] {
			c, err := r.inputs.Read(t, n)
			if err == nil {
				err = r.moments.Add(c)
			}
			if err != nil && failed == nil {
				failed = err
			}
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

// matrix returns the weights, [Rows, Cols].
func (r *reader) matrix() []float64 {
	return r.inputs.Matrix.Load(0, tensor.Float64s(constant(r.node.In(r.slot))))
}

// refit returns the weights that come closest to what the layer gives without
// some columns, which are zero, and by how much the bias has to rise. The
// weights that stay are held near what they are.
func (r *reader) refit(gone []int) (weights *tensor.Tensor, rise []float64, err error) {
	m := r.inputs.Matrix
	w := r.matrix()
	kept := slices.DeleteFunc(ascending(m.Cols), func(c int) bool { return slices.Contains(gone, c) })
	x := make([]float64, len(w))
	if len(kept) > 0 {
		all := mat.NewDense(m.Cols, m.Cols, r.moments.Hessian(0))
		h, across := mat.NewDense(len(kept), len(kept), nil), mat.NewDense(m.Cols, len(kept), nil)
		near := mat.NewDense(m.Rows, len(kept), nil)
		for i, c := range kept {
			across.SetCol(i, mat.Col(nil, c, all))
			for k, d := range kept {
				h.Set(k, i, all.At(d, c))
			}
			for row := range m.Rows {
				near.Set(row, i, w[row*m.Cols+c])
			}
		}
		var cross mat.Dense
		cross.Mul(mat.NewDense(m.Rows, m.Cols, w), across)
		solved := ridge(h.RawMatrix().Data, cross.RawMatrix().Data, near.RawMatrix().Data, len(kept), refitDamp)
		if solved == nil {
			return nil, nil, fmt.Errorf("the inputs of %v depend on each other", r.node)
		}
		for i, c := range kept {
			for row := range m.Rows {
				x[row*m.Cols+c] = solved[row*len(kept)+i]
			}
		}
	}
	t := constant(r.node.In(r.slot))
	out := make([]float64, t.Len())
	m.Store(0, out, x)
	return tensor.FromFloat64s(t.DType(), t.Shape(), out), r.rise(w, x), nil
}

// ascending returns 0, 1, …, n-1.
func ascending(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// rise returns what the bias makes up for if weights x stand in the place of w.
func (r *reader) rise(w, x []float64) []float64 {
	m, means := r.inputs.Matrix, r.moments.Means(0)
	b := make([]float64, m.Rows)
	for row := range b {
		for c, mean := range means {
			b[row] += (w[row*m.Cols+c] - x[row*m.Cols+c]) * mean
		}
	}
	return b
}
