// Package kernel holds the inner loops of operators as a table of function
// values, and the portable Go version of each.
//
// It is on floor 0: it knows slices only; no tensors, no graphs, no CPUs.
package kernel

// Table holds the kernels of one target.
type Table struct{}
