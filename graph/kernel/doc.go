// Package kernel names the inner loops of the engine. A [Table] holds one
// function value per loop; [Generic] fills every row with portable Go that is
// complete, slow, and the oracle of all faster versions. A target replaces the
// rows for which it has something better.
//
// Floor 0. Kernels see slices only: no tensors, no graphs, no CPUs. They never
// allocate, keep no state, and write nothing but their destination. Callers
// have checked the lengths; a destination may be the source itself where the
// row's comment does not say otherwise, but must not overlap it in part.
package kernel
