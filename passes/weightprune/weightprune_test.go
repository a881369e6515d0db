package weightprune_test

import (
	"testing"

	"github.com/onnxpack/onnxpack/passes/passtest"
	"github.com/onnxpack/onnxpack/passes/weightprune"
)

func TestFixtures(t *testing.T) { passtest.Family(t, weightprune.Passes...) }
