package weightprune_test

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/passtest"
	"github.com/onnxpack/onnxpack/passes/weightprune"
)

// TestFixtures runs the fixtures of the passes that need no second model.
func TestFixtures(t *testing.T) {
	list := slices.DeleteFunc(slices.Clone(weightprune.Passes), func(p *passes.Pass) bool { return p.Needs&passes.Models != 0 })
	passtest.Family(t, list...)
}
