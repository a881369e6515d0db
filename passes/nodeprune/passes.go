package nodeprune

import "github.com/onnxpack/onnxpack/passes"

// Passes lists the passes of the family.
var Passes = []*passes.Pass{PruneNodes, PruneLayers, DropConstantChannels}
