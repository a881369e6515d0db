// Package targets describes the CPUs that a model can be made for, and hands
// out the kernels for the one it runs on.
//
// Floor 2. A [Target] is data that can be inspected on any host. The package
// refuses to know models.
package targets

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/targets/internal/simd"
)

// ErrForeign says that a target's kernels cannot run on this CPU.
var ErrForeign = errors.New("target is foreign to this CPU")

// Target is the profile of one kind of CPU.
type Target struct {
	Name string
	// Doc is one line for lists.
	Doc string
	// Arch is the architecture in Go's spelling: amd64 or arm64.
	Arch string
	// Features are the instruction sets that code for this target may use, in
	// the lower-case spelling of the cpuid package, sorted.
	Features []string
	// VectorBytes is the width of the widest vector register in use.
	VectorBytes int
	// Caches are per core, in bytes, but for L3, which may be shared.
	Caches Caches
	// Cores counts the cores a process may use; 0 in a profile that stands
	// for many machines.
	Cores int
	Peak  Peak
	// Saturates says that the CPU's fast product of uint8 by int8 adds pairs
	// of products in 16 bits with saturation, so that a runtime which uses it
	// (ONNX Runtime does) computes other results than on other CPUs, unless
	// one side fits in 7 bits.
	Saturates bool
}

// Caches are sizes in bytes; 0 is unknown.
type Caches struct{ L1D, L2, L3 int }

// Peak holds multiply-accumulates per cycle and core: F32 fused, Int8 by the
// fastest exact instruction that the target has, BF16 where it has one.
type Peak struct{ F32, Int8, BF16 float64 }

// Has reports whether the target has all the named features.
func (t Target) Has(features ...string) bool {
	for _, f := range features {
		if !slices.Contains(t.Features, f) {
			return false
		}
	}
	return true
}

// Kernels returns the table of kernels for t: the portable one, overlaid by
// every set of assembly kernels whose features t has. The error wraps
// [ErrForeign] if this CPU cannot run them.
func (t Target) Kernels() (*kernel.Table, error) {
	if err := t.runnable(); err != nil {
		return nil, err
	}
	table := kernel.Generic()
	table.Name = t.Name
	for _, set := range simd.Sets() {
		if t.Has(set.Needs...) {
			set.Overlay(table)
		}
	}
	return table, nil
}

// Emulated returns kernels that compute integer products as an int8 runtime on
// t does, saturation included, and everything else as this CPU does. They run
// anywhere; by the saturating instruction itself where this CPU has it.
func (t Target) Emulated() *kernel.Table {
	table, err := Host().Kernels()
	if err != nil {
		table = kernel.Generic()
	}
	if t.Saturates {
		table.GemmU8S8 = saturating()
		table.GemmU8S8Fit = table.GemmU8S8
	}
	table.Name = t.Name + "-emulated"
	return table
}

// saturating returns the fastest product that saturates and runs here. ONNX
// Runtime pairs the weights of a convolution in the order kernel row, kernel
// column, input channel.
func saturating() kernel.GemmI8 {
	for _, t := range profiles() {
		if table, err := t.Kernels(); err == nil && table.GemmU8S8Fit.Saturates {
			return table.GemmU8S8Fit.AcrossTaps()
		}
	}
	return kernel.Saturating().GemmU8S8
}

func (t Target) runnable() error {
	if t.Arch != runtime.GOARCH {
		return fmt.Errorf("target %q: needs %s, this is %s: %w", t.Name, t.Arch, runtime.GOARCH, ErrForeign)
	}
	host := Host()
	for _, f := range t.Features {
		if !host.Has(f) {
			return fmt.Errorf("target %q: this CPU has no %s: %w", t.Name, f, ErrForeign)
		}
	}
	return nil
}

// All lists the profiles, the host's last.
func All() []Target { return append(profiles(), Host()) }

// ByName returns the profile of that name.
func ByName(name string) (Target, error) {
	for _, t := range All() {
		if t.Name == name {
			return t, nil
		}
	}
	return Target{}, fmt.Errorf("target %q: no such target, want one of %v", name, Names())
}

// Names lists the names of [All].
func Names() []string {
	var names []string
	for _, t := range All() {
		names = append(names, t.Name)
	}
	return names
}
