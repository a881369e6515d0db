// Package weightprune holds passes that set single weights to zero, and that
// mend what is lost by it.
//
// Floor 5. Zeros keep their place: what removes whole channels is nodeprune.
// How much a weight contributes is asked of passes/internal/saliency.
//
// A pass of this family goes through the same steps: it lists the layers
// (layer), gives each weight a score, decides how many weights each layer loses
// ([Options]: amount, scope), picks them within the pattern ([Pattern]), and
// repairs what remains.
package weightprune

import "github.com/onnxpack/onnxpack/passes"

// Passes are the passes of this family.
var Passes = []*passes.Pass{
	PruneMagnitude,
	PruneWanda,
	PruneOBS,
	PruneSparseGPT,
	PruneTaylor,
	RefitWeights,
	CorrectBias,
	SparsifyInitializers,
}
