package op

import "github.com/onnxpack/onnxpack/graph"

// addDim returns d + n.
func addDim(d graph.Dim, n int) graph.Dim { return d.Plus(graph.Number(n)) }

// mulDim returns d * n.
func mulDim(d graph.Dim, n int) graph.Dim { return d.Times(graph.Number(n)) }

// divDim returns d / n, rounded down.
func divDim(d graph.Dim, n int) graph.Dim { return d.FloorDiv(graph.Number(n)) }
