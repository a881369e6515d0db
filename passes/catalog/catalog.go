// Package catalog is the list of all passes.
//
// Floor 6.
package catalog

import (
	"slices"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/simplify"
)

// All returns every pass, presets first, then family by family.
func All() []*passes.Pass {
	return slices.Concat(
		[]*passes.Pass{simplify.Simplify},
		simplify.Members,
	)
}

// Order states which passes have to come before which where both are in one
// pipeline, and why.
var Order = []passes.Constraint{}

// Parse reads the steps of a command line (see [passes.ParseSteps]).
func Parse(text string) ([]passes.Step, error) { return passes.ParseSteps(text, All()) }

// Check reports the first constraint that steps, in their order, break.
func Check(steps []passes.Step) error {
	var list []*passes.Pass
	for _, s := range steps {
		if !slices.Contains(list, s.Pass) {
			list = append(list, s.Pass)
		}
	}
	return passes.CheckOrder(list, Order)
}
