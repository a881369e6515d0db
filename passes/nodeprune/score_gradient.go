package nodeprune

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// gradientSamples is how many samples gradients are taken of.
const gradientSamples = 256

// gates measures what the loss makes of units, to first and second order: what
// a unit gives goes through a gate of 1, and the derivative of the loss by the
// gate is the sum of w*dL/dw over the weights that the unit is read by. Taylor
// is the mean of its size over samples, Fisher half the mean of its square.
// (Molchanov et al. 2019, arXiv 1906.10771; Theis et al. 2018, arXiv
// 1801.05787; Liu et al. 2021, arXiv 2108.00708.)
type gates struct {
	web    *web
	groups []*Group
	axes   map[*Group][]WeightAxis // whose weights are summed
	sums   map[*Group][]float64
	square bool
	n      int
}

// newGates returns the gates of groups, and the weights that they sum over.
func (s *scorer) newGates(j *passes.Job, g *Groups, groups []*Group) (*gates, []*graph.Value) {
	t := &gates{web: g.web, groups: groups, axes: map[*Group][]WeightAxis{}, sums: map[*Group][]float64{}, square: s.criterion == "fisher"}
	return t, t.choose(s.readers, j.Model.Graph)
}

// movementRate is the learning rate of the training that movement watches.
const movementRate = 1e-3

// observeMovement scores the units of groups by how far their weights move away
// from zero, as those of weightprune.
func (s *scorer) observeMovement(j *passes.Job, g *Groups, groups []*Group) error {
	if !j.Env.Labelled {
		return errors.New("by:movement needs labelled data to train on, none was given")
	}
	t, by := s.newGates(j, g, groups)
	if len(by) == 0 {
		return nil
	}
	data, err := train.Collect(j.Context(), j.Env.Calibration(j.Context()))
	if err != nil {
		return fmt.Errorf("calibration data: %w", err)
	}
	moved, err := saliency.Moves(j.Context(), j.Model, by, data, train.Options{Rate: movementRate, Seed: j.Env.Seed, Threads: j.Env.Threads})
	if err != nil {
		return err
	}
	narrow := map[string][]float32{}
	for name, d := range moved {
		for _, x := range d {
			narrow[name] = append(narrow[name], float32(x))
		}
	}
	for _, group := range groups {
		if t.sums[group] != nil {
			t.sums[group] = t.of(group, narrow)
		}
	}
	s.measured = t.sums
	return nil
}

// observeGradients scores the units of groups by gradients on calibration data.
func (s *scorer) observeGradients(j *passes.Job, g *Groups, groups []*Group) error {
	t, by := s.newGates(j, g, groups)
	if len(by) == 0 {
		return nil
	}
	every := max(1, j.Env.Samples/gradientSamples)
	want := min(gradientSamples, j.Env.Samples)
	var grads *saliency.Gradients
	n := 0
	for sample, err := range j.Env.Calibration(j.Context()) {
		if err != nil {
			return fmt.Errorf("calibration data: %w", err)
		}
		if n++; (n-1)%every != 0 {
			continue
		}
		if grads == nil {
			if grads, err = saliency.NewGradients(j.Context(), j.Model, by, sample, j.Env.Threads); err != nil {
				return fmt.Errorf("gradients: %w", err)
			}
		}
		d, err := grads.Of(sample, j.Rand())
		if err != nil {
			return fmt.Errorf("gradients of sample %d: %w", n-1, err)
		}
		t.add(d)
		if j.ProgressAt("gradients", t.n, want); t.n == gradientSamples {
			break
		}
	}
	s.measured = t.sums
	return nil
}

// choose finds the weights whose products with gradients are the gates of each
// group: those that sum over its units, or where there are none, all that it
// cuts.
func (t *gates) choose(readers map[*axis][]layer, main *graph.Graph) []*graph.Value {
	var by []*graph.Value
	seen := map[*graph.Value]bool{}
	for _, g := range t.groups {
		var read, all []WeightAxis
		for _, c := range matrices(g) {
			v := c.Weight
			if !v.IsConst() || v.Graph() != main || v.Init.DType() != tensor.Float32 {
				continue
			}
			if all = append(all, c); len(readers[t.web.of(v, c.Axis)]) > 0 {
				read = append(read, c)
			}
		}
		if len(read) == 0 {
			read = all
		}
		for _, c := range read {
			if !seen[c.Weight] {
				seen[c.Weight] = true
				by = append(by, c.Weight)
			}
		}
		t.axes[g] = read
		if len(read) > 0 {
			t.sums[g] = make([]float64, len(g.Units))
		}
	}
	return by
}

// of sums the products of weights with d, which is like them, for the units of
// a group.
func (t *gates) of(g *Group, d map[string][]float32) []float64 {
	gate := make([]float64, len(g.Units))
	for _, c := range t.axes[g] {
		x := t.web.of(c.Weight, c.Axis)
		per := productSums(constant(c.Weight), d[c.Weight.Name()], c.Axis)
		for i, u := range g.Units {
			for _, k := range u.cuts[x] {
				gate[i] += per[k]
			}
		}
	}
	return gate
}

// add counts the gradients of one sample.
func (t *gates) add(grads map[string][]float32) {
	t.n++
	for _, g := range t.groups {
		sums := t.sums[g]
		if sums == nil {
			continue
		}
		for i, d := range t.of(g, grads) {
			if t.square {
				sums[i] += d * d / 2
			} else {
				sums[i] += math.Abs(d)
			}
		}
	}
}

// productSums sums the products of w with d at each index of an axis.
func productSums(w *tensor.Tensor, d []float32, at int) []float64 {
	s := w.Shape()
	n, inner := s[at], s[at+1:].Len()
	sums := make([]float64, n)
	data := tensor.Float32s(w)
	for lo := 0; inner > 0 && lo < min(len(data), len(d)); lo += inner {
		sum := float32(0)
		for i := lo; i < lo+inner; i++ {
			sum += data[i] * d[i]
		}
		sums[lo/inner%n] += float64(sum)
	}
	return sums
}
