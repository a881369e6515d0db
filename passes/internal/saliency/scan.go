package saliency

import (
	"context"
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Trial is a change of a node whose effect is measured: other contents of a
// constant that it reads.
type Trial struct {
	Node   *graph.Node
	Weight *graph.Value
	// Variants are the contents that are tried in place of Weight's own.
	Variants []*tensor.Tensor
}

// Effect is what a change does to the outputs, as a mean over samples.
type Effect struct {
	// KL is the divergence of the first output, along its last axis, from the
	// original's, in nats: of probabilities, or of the softmax of scores.
	KL float64
	// Changed is the share of samples whose highest score moves.
	Changed float64
	// Error is the energy of the difference of all outputs over that of the
	// original's.
	Error float64
	// Loss is by how much the cross entropy of the labels rises; 0 without
	// labels.
	Loss float64
}

// Scan measures the effect of every variant of every trial alone. Trials stand
// in the order of their nodes in the main graph. The graph before a node is run
// once, not once for each trial: for n nodes of equal work, that halves the work
// and makes the last ones almost free. labels holds the class of each sample,
// negative if not known; nil if none is.
func Scan(ctx context.Context, m *graph.Model, feeds []map[string]tensor.Value, labels []int, trials []Trial, threads int, progress func(done int)) ([][]Effect, error) {
	s, err := newScanner(ctx, m, feeds, labels, threads)
	if err != nil {
		return nil, err
	}
	var all [][]Effect
	for i, t := range trials {
		if err := s.walk.To(t.Node); err != nil {
			return nil, err
		}
		effects, err := s.try(t)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", t.Node, err)
		}
		all = append(all, effects)
		if progress != nil {
			progress(i + 1)
		}
	}
	return all, nil
}

// outputs returns the outputs of each sample.
func outputs(w *Walk) ([]State, error) {
	if err := w.to(len(w.nodes)); err != nil {
		return nil, err
	}
	return w.states, nil
}

type scanner struct {
	walk   *Walk
	model  *graph.Model
	want   []State
	labels []int
}

func newScanner(ctx context.Context, m *graph.Model, feeds []map[string]tensor.Value, labels []int, threads int) (*scanner, error) {
	want, err := outputs(NewWalk(ctx, m, feeds, threads))
	return &scanner{walk: NewWalk(ctx, m, feeds, threads), model: m, want: want, labels: labels}, err
}

func (s *scanner) try(t Trial) ([]Effect, error) {
	rest, err := s.walk.Rest()
	if err != nil {
		return nil, err
	}
	effects := make([]Effect, len(t.Variants))
	for i, x := range t.Variants {
		node, err := s.variant(t, x)
		if err != nil {
			return nil, err
		}
		for k, state := range s.walk.States() {
			got, err := run(state, node, rest)
			if err != nil {
				return nil, err
			}
			if err := s.add(&effects[i], k, got); err != nil {
				return nil, err
			}
		}
	}
	return effects, nil
}

// variant compiles the next node with other contents of its weight.
func (s *scanner) variant(t Trial, x *tensor.Tensor) (func(State) (State, error), error) {
	g := t.Weight.Graph()
	old := t.Weight.Init
	if old == nil {
		return nil, fmt.Errorf("%v is no initializer", t.Weight)
	}
	g.SetInit(t.Weight, &graph.Literal{Tensor: x})
	defer g.SetInit(t.Weight, old)
	return s.walk.Node(t.Node)
}

// run runs a node and what comes after it, and returns what both make.
func run(state State, node, rest func(State) (State, error)) (State, error) {
	made, err := node(state)
	if err != nil {
		return nil, err
	}
	next := State{}
	for v, x := range state {
		next[v] = x
	}
	for v, x := range made {
		next[v] = x
	}
	out, err := rest(next)
	for v, x := range out {
		next[v] = x
	}
	return next, err
}

// add counts the outputs of sample k.
func (s *scanner) add(e *Effect, k int, got State) error {
	share := 1 / float64(len(s.want))
	signal, noise := 0.0, 0.0
	first := true
	for _, v := range s.model.Graph.Outputs() {
		w, ok := s.want[k][v].(*tensor.Tensor)
		g, okG := got[v].(*tensor.Tensor)
		if !ok || !okG || !w.DType().IsFloat() {
			continue
		}
		if !g.Shape().Equal(w.Shape()) {
			return fmt.Errorf("output %q is %v, was %v", v.Name(), g, w)
		}
		a, b := tensor.Float64s(w), tensor.Float64s(g)
		for i := range a {
			signal += a[i] * a[i]
			noise += (a[i] - b[i]) * (a[i] - b[i])
		}
		if first && len(a) > 0 {
			width := w.Shape()[max(0, w.Rank()-1):].Len()
			if isProbability(v) {
				a, b = mapped(a, logarithm), mapped(b, logarithm)
			}
			e.KL += share * divergence(a, b, width)
			if argmax(a) != argmax(b) {
				e.Changed += share
			}
			if s.labels != nil && s.labels[k] >= 0 && s.labels[k] < len(a) {
				e.Loss += share * (logSoftmax(a)[s.labels[k]] - logSoftmax(b)[s.labels[k]])
			}
		}
		first = false
	}
	if signal > 0 {
		e.Error += share * noise / signal
	}
	return nil
}

// isProbability reports whether a Softmax makes v.
func isProbability(v *graph.Value) bool {
	n := v.Producer()
	for n != nil && n.Is("Identity", "Cast") && n.In(0) != nil {
		n = n.In(0).Producer()
	}
	return n != nil && n.Is("Softmax")
}

// logarithm makes a score of a probability, which may have become zero.
func logarithm(p float64) float64 { return math.Log(max(p, 1e-12)) }

// divergence is the mean over rows of width numbers of the Kullback-Leibler
// divergence of softmax(b) from softmax(a).
func divergence(a, b []float64, width int) float64 {
	if width == 0 {
		return 0
	}
	sum := 0.0
	for at := 0; at < len(a); at += width {
		p, q := logSoftmax(a[at:at+width]), logSoftmax(b[at:at+width])
		for i := range p {
			sum += math.Exp(p[i]) * (p[i] - q[i])
		}
	}
	return sum * float64(width) / float64(len(a))
}

func logSoftmax(x []float64) []float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, v)
	}
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v - top - math.Log(sum)
	}
	return y
}

func argmax(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}
