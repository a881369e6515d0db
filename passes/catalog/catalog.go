// Package catalog is the list of all passes.
//
// Floor 6.
package catalog

import (
	"slices"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/convert"
	"github.com/onnxpack/onnxpack/passes/distill"
	"github.com/onnxpack/onnxpack/passes/nodeprune"
	"github.com/onnxpack/onnxpack/passes/quantize"
	"github.com/onnxpack/onnxpack/passes/simplify"
	"github.com/onnxpack/onnxpack/passes/weightprune"
)

// Family is the passes of one package.
type Family struct {
	Name   string
	Passes []*passes.Pass
}

// Families lists all passes, family by family.
func Families() []Family {
	return []Family{
		{"convert", convert.Members},
		{"simplify", slices.Concat([]*passes.Pass{simplify.Simplify}, simplify.Members)},
		{"weightprune", weightprune.Passes},
		{"nodeprune", nodeprune.Passes},
		{"quantize", quantize.Passes},
		{"distill", []*passes.Pass{distill.FineTune, distill.Distill, distill.LowerRank, distill.ReestimateNorms}},
	}
}

// All lists all passes, in the order of [Families].
func All() []*passes.Pass {
	var all []*passes.Pass
	for _, f := range Families() {
		all = append(all, f.Passes...)
	}
	return all
}

// Order states which passes have to come before which where both are in one
// pipeline, and why.
var Order = []passes.Constraint{
	{Before: "simplify", After: "quantize-static", Reason: "normalisations and activations that are not folded yet keep their neighbours from the integer kernels"},
	{Before: "simplify", After: "equalize-channels", Reason: "a normalisation between two convolutions keeps them from sharing their ranges"},
	{Before: "equalize-channels", After: "quantize-static", Reason: "what is quantized has no float weights left to rescale"},
	{Before: "prune-nodes", After: "equalize-channels", Reason: "channels that were rescaled rank otherwise by their weights"},
	{Before: "prune-magnitude", After: "equalize-channels", Reason: "weights that were rescaled rank otherwise"},
	{Before: "prune-nodes", After: "quantize-static", Reason: "what is quantized has no float weights left to rank and to mend"},
	{Before: "prune-layers", After: "quantize-static", Reason: "scales are measured on values that a missing layer changes, and quantized layers cannot be mended"},
	{Before: "drop-constant-channels", After: "quantize-static", Reason: "a constant is folded into float biases"},
	{Before: "prune-layers", After: "prune-nodes", Reason: "channels of layers that go need no ranking"},
	{Before: "drop-constant-channels", After: "prune-nodes", Reason: "channels that go for nothing should not use up the share that may go"},
	{Before: "prune-nodes", After: "prune-magnitude", Reason: "zeros would be cut with their channels, and the rest would be denser than asked for"},
	{Before: "prune-magnitude", After: "quantize-static", Reason: "what is quantized has no float weights left to rank"},
	{Before: "prune-wanda", After: "quantize-static", Reason: "what is quantized has no float weights left to rank"},
	{Before: "prune-obs", After: "quantize-static", Reason: "what is quantized has no float weights left to rank"},
	{Before: "prune-sparsegpt", After: "quantize-static", Reason: "what is quantized has no float weights left to rank"},
	{Before: "prune-taylor", After: "quantize-static", Reason: "what is quantized has no float weights left to rank"},
	{Before: "refit-weights", After: "quantize-static", Reason: "what is quantized has no float weights left to fit"},
	{Before: "correct-bias", After: "quantize-static", Reason: "its biases are integers in scales of their own, which it corrects by itself"},
	{Before: "refit-weights", After: "correct-bias", Reason: "weights that are fitted move the means that biases make up for"},
	{Before: "prune-magnitude", After: "refit-weights", Reason: "there is nothing to fit before weights are zero"},
	{Before: "prune-wanda", After: "refit-weights", Reason: "there is nothing to fit before weights are zero"},
	{Before: "prune-obs", After: "refit-weights", Reason: "there is nothing to fit before weights are zero"},
	{Before: "prune-sparsegpt", After: "refit-weights", Reason: "there is nothing to fit before weights are zero"},
	{Before: "prune-taylor", After: "refit-weights", Reason: "there is nothing to fit before weights are zero"},
	{Before: "simplify", After: "sparsify-initializers", Reason: "what is sparse is neither folded nor fused"},
	{Before: "prune-magnitude", After: "sparsify-initializers", Reason: "weights that are pruned are written as dense tensors"},
	{Before: "prune-wanda", After: "sparsify-initializers", Reason: "weights that are pruned are written as dense tensors"},
	{Before: "prune-obs", After: "sparsify-initializers", Reason: "weights that are pruned are written as dense tensors"},
	{Before: "prune-sparsegpt", After: "sparsify-initializers", Reason: "weights that are pruned are written as dense tensors"},
	{Before: "prune-taylor", After: "sparsify-initializers", Reason: "weights that are pruned are written as dense tensors"},
	{Before: "refit-weights", After: "sparsify-initializers", Reason: "weights that are fitted are written as dense tensors"},
	{Before: "quantize-static", After: "sparsify-initializers", Reason: "what is sparse is not quantized"},
}

// Parse reads the steps of a command line (see [passes.ParseSteps]).
func Parse(text string) ([]passes.Step, error) { return passes.ParseSteps(text, All()) }

// Check reports the first constraint of [Order] that steps break.
func Check(steps []passes.Step) error {
	var list []*passes.Pass
	for _, s := range steps {
		if !slices.Contains(list, s.Pass) {
			list = append(list, s.Pass)
		}
	}
	return passes.CheckOrder(list, Order)
}
