package op

import "github.com/onnxpack/onnxpack/graph"

// mulDim returns d * n.
func mulDim(d graph.Dim, n int) graph.Dim { return d.Times(graph.Known(n)) }

// divDim returns d / n, rounded down.
func divDim(d graph.Dim, n int) graph.Dim { return d.FloorDiv(graph.Known(n)) }
