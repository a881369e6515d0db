package convert

import (
	"testing"

	"github.com/onnxpack/onnxpack/passes/passtest"
)

func TestFixtures(t *testing.T) { passtest.Family(t, Members...) }
