package weightprune_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

// TestSqueezeNet sets 60 % of the weights of a compact network to zero without
// training, and judges it on images that did not calibrate. It is behind
// ONNXPACK_LONG: it takes some minutes.
func TestSqueezeNet(t *testing.T) {
	shared := os.Getenv("ONNXPACK_SHARED")
	if shared == "" || os.Getenv("ONNXPACK_LONG") == "" {
		t.Skip("ONNXPACK_SHARED or ONNXPACK_LONG is not set")
	}
	f, err := onnxio.Open(filepath.Join(shared, "models", "squeezenet1.1.onnx"), onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := dataset.Open("images:"+filepath.Join(shared, "data", "imagenet")+"?preset=imagenet-torchvision", f.Model.Graph.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	calib, rest := data.Split(200)
	was := top1(t, f.Model, rest)
	for _, c := range []struct {
		steps string
		loss  float64 // of top-1 that is allowed
	}{
		{"prune-magnitude=sparsity:0.6", 1},
		{"prune-sparsegpt=sparsity:0.6", 1},
		{"prune-sparsegpt=sparsity:0.6;in_turn:true;scope:sensitivity", squeezeNetLoss},
	} {
		m, _ := pruned(t, f.Model, calib, 0, "simplify,"+c.steps)
		is := top1(t, m, rest)
		t.Logf("%-50s top-1 %.4f -> %.4f", c.steps, was, is)
		if was-is > c.loss {
			t.Errorf("%s: top-1 falls from %.4f to %.4f", c.steps, was, is)
		}
	}
}

// squeezeNetLoss is how much top-1 SqueezeNet may lose.
const squeezeNetLoss = 0.06
