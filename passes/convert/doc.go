// Package convert holds passes that change the form of a model and not what
// it computes: the version of the operators it speaks, and its functions.
//
// Floor 5. It refuses to know what makes a model fast or small.
package convert

import "github.com/onnxpack/onnxpack/passes"

// Members lists the passes of the family.
var Members = []*passes.Pass{InlineFunctions, ConvertOpset}
