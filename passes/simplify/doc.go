// Package simplify holds passes that make a graph smaller and keep what it
// computes: what is dead, empty, constant or done twice goes, and what one
// operator can do is not left to two.
//
// Floor 5. Passes here look into subgraphs too, and into the bodies of
// functions as far as attributes given by the caller allow.
package simplify

import "github.com/onnxpack/onnxpack/passes"

// Members are the passes of [Simplify], in running order.
var Members = []*passes.Pass{
	DropDefaultInputs,
	LiftConstants,
	DropDropout,
	DropIdentity,
	DropNoop,
	InlineIf,
	FoldShapes,
	FoldConstants,
	MergeEqualInits,
	MergeEqualNodes,
	MergeReshapes,
	SinkTransposes,
	MergeTransposes,
	MergeCasts,
	MergeSlices,
	MergePads,
	MergeClips,
	MergeConcats,
	MergeScales,
	FusePadConv,
	FuseConvBN,
	FuseBNConv,
	FuseConvAffine,
	FuseMatMulAdd,
	DropDead,
}

// order states which member has to come before which, and why.
var order = []passes.Constraint{
	{Before: "lift-constants", After: "drop-noop", Reason: "whether an operand is neutral is seen on initializers only"},
	{Before: "drop-dropout", After: "fuse-conv-bn", Reason: "a dropout between the two hides the pattern"},
	{Before: "fold-shapes", After: "merge-reshapes", Reason: "a reshape whose target is a constant can take over its input's"},
	{Before: "fuse-conv-bn", After: "fuse-conv-affine", Reason: "a convolution that got a bias from its normalisation takes up the rest in one go"},
	{Before: "fuse-matmul-add", After: "drop-dead", Reason: "weights that are replaced die here"},
}

// Simplify repeats all of them until nothing changes.
var Simplify = passes.Fixpoint(passes.Pass{
	Name: "simplify",
	Doc: `remove and merge what a graph does not need

Repeats the passes of this family until none of them changes anything.`,
}, order, Members...)
