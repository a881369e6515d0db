package nodeprune_test

import (
	"testing"

	"github.com/onnxpack/onnxpack/passes/nodeprune"
	"github.com/onnxpack/onnxpack/passes/passtest"
)

func TestFixtures(t *testing.T) { passtest.Family(t, nodeprune.Passes...) }
