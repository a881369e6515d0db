package simplify_test

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/passtest"
	"github.com/onnxpack/onnxpack/passes/simplify"
)

func TestFixtures(t *testing.T) {
	passtest.Family(t, slices.Concat(simplify.Members, []*passes.Pass{simplify.Simplify})...)
}
