package weightprune

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// PruneMagnitude sets the weights of least magnitude to zero.
var PruneMagnitude = passes.Define(passes.Pass{
	Name: "prune-magnitude",
	Doc: `set the weights of least magnitude to zero

Either a share of all weights (sparsity) or all below a bound (threshold). With
scope:layer each weight tensor loses that share; with scope:global all tensors
are ranked together. Of equal magnitudes the later ones go first. (Han et al.
2015, arXiv 1506.02626.)`,
	Kind: passes.Lossy,
}, MagnitudeOptions{Scope: "layer"}, pruneMagnitude)

// MagnitudeOptions are the options of [PruneMagnitude]. One of Sparsity and
// Threshold is set.
type MagnitudeOptions struct {
	Sparsity  float64  `opt:"sparsity" help:"share of weights to set to zero, at least 0 and less than 1"`
	Threshold float64  `opt:"threshold" help:"magnitude below which weights are set to zero"`
	Scope     string   `opt:"scope" oneof:"layer|global" help:"whether tensors are ranked one by one or together"`
	Include   []string `opt:"include" help:"nodes that are pruned, patterns with * and ?; all if empty"`
	Exclude   []string `opt:"exclude" help:"nodes that are left alone, patterns with * and ?"`
}

// Validate reports options that contradict each other or are out of range.
func (o MagnitudeOptions) Validate() error {
	switch {
	case (o.Sparsity != 0) == (o.Threshold != 0):
		return errors.New("want one of the options \"sparsity\" and \"threshold\"")
	case o.Sparsity < 0 || o.Sparsity >= 1:
		return fmt.Errorf("option \"sparsity\": got %v, want at least 0 and less than 1", o.Sparsity)
	case o.Threshold < 0:
		return fmt.Errorf("option \"threshold\": got %v, want more than 0", o.Threshold)
	}
	return nil
}

func pruneMagnitude(j *passes.Job, o MagnitudeOptions) error {
	if err := o.Validate(); err != nil { // defaults are not asked
		return err
	}
	list := weights(j, filter{o.Include, o.Exclude})
	cuts := o.cuts(list)
	zeros, total := 0, 0
	for i, w := range list {
		if err := j.Context().Err(); err != nil {
			return err
		}
		x := slices.Clone(tensor.Float64s(w.tensor))
		if cut := cuts[i].apply(x); cut > 0 {
			w.set(x)
			j.Changed(1)
		}
		zeros += count(x)
		total += len(x)
		j.Progress(i+1, len(list))
	}
	if total > 0 {
		j.Figure("sparsity", float64(zeros)/float64(total))
	}
	return nil
}

// cut says which weights of a tensor go: all of lesser magnitude than bound,
// and of those with exactly this magnitude the last ones.
type cut struct {
	bound float64
	ties  int // how many of those at the bound go
}

// cuts returns the cut of every tensor.
func (o MagnitudeOptions) cuts(list []weight) []cut {
	cuts := make([]cut, len(list))
	if o.Threshold > 0 {
		for i := range cuts {
			cuts[i] = cut{bound: o.Threshold}
		}
		return cuts
	}
	if o.Scope == "layer" {
		for i, w := range list {
			m := magnitudes(w)
			cuts[i] = cutOf(m, int(o.Sparsity*float64(len(m))))
		}
		return cuts
	}
	var all []float64
	for _, w := range list {
		all = append(all, magnitudes(w)...)
	}
	whole := cutOf(all, int(o.Sparsity*float64(len(all))))
	for i := len(list) - 1; i >= 0; i-- { // of ties the later ones go first
		at := 0
		for _, m := range magnitudes(list[i]) {
			if m == whole.bound {
				at++
			}
		}
		cuts[i] = cut{whole.bound, min(at, whole.ties)}
		whole.ties -= cuts[i].ties
	}
	return cuts
}

func magnitudes(w weight) []float64 {
	m := slices.Clone(tensor.Float64s(w.tensor))
	for i, x := range m {
		m[i] = math.Abs(x)
	}
	return m
}

// cutOf returns the cut that takes the n least of the magnitudes m, which it
// sorts.
func cutOf(m []float64, n int) cut {
	if n == 0 {
		return cut{}
	}
	slices.Sort(m)
	c := cut{bound: m[n-1]}
	for i := n - 1; i >= 0 && m[i] == c.bound; i-- {
		c.ties++
	}
	return c
}

// apply sets the weights of x that c takes to zero, and returns how many were
// not zero before.
func (c cut) apply(x []float64) int {
	done := 0
	zero := func(i int) {
		if x[i] != 0 {
			x[i] = 0
			done++
		}
	}
	ties := c.ties
	for i := len(x) - 1; i >= 0; i-- {
		switch m := math.Abs(x[i]); {
		case m < c.bound:
			zero(i)
		case m == c.bound && ties > 0:
			zero(i)
			ties--
		}
	}
	return done
}

func count(x []float64) int {
	n := 0
	for _, v := range x {
		if v == 0 {
			n++
		}
	}
	return n
}
