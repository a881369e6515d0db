// Package quantize holds passes that store and compute a network in small
// integers.
//
// Floor 5. What an operator is to a quantizer (its weight, its channels,
// whether it only moves elements) is asked of graph/op; what runtimes have
// integer kernels for, and in which pattern, is stated here.
package quantize

import "github.com/onnxpack/onnxpack/passes"

// Passes lists the passes of this family, in running order.
var Passes = []*passes.Pass{Equalize, Static}
