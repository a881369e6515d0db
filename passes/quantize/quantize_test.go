package quantize_test

import (
	"testing"

	"github.com/onnxpack/onnxpack/passes/passtest"
	"github.com/onnxpack/onnxpack/passes/quantize"
)

func TestFixtures(t *testing.T) { passtest.Family(t, quantize.Passes...) }
