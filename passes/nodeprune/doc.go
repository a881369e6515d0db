// Package nodeprune removes channels, neurons, heads and hidden units from
// models: the weights get smaller, not sparser.
//
// Floor 5. Which indices of which tensors go together is asked of graph/op,
// operator by operator (op.Axes), and followed through the whole graph: see
// [Analyze]. A [Unit] is what has to be cut at once, a [Group] the units that
// cut the same axes. What cannot be cut is known with the chain of ties that
// leads to the reason.
//
// (Fang et al. 2023, DepGraph, arXiv 2301.12900, carried over to ONNX.)
package nodeprune
