package grad_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// torchModels are blocks of networks that testdata/torch_judge.py builds in
// torch under the same names.
var torchModels = map[string]string{
	"convolution": header + `g (double[3,2,8,8] x, double[4,2,3,3] w, double[4] b, double[4] s, double[4] t, double[16,3] k) => (double loss)
		<int64[3] labels = {0,1,2}, double[4] m = {0,0,0,0}, double[4] v = {1,1,1,1}> {
		c = Conv <strides = [2,2], pads = [1,1,1,1]> (x, w, b)  n, rm, rv = BatchNormalization <training_mode = 1> (c, s, t, m, v)
		a = Relu (n)  p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (a)  f = Flatten (p)  y = MatMul (f, k)
		loss = SoftmaxCrossEntropyLoss (y, labels)
	}`,
	"transformer": newer + `g (double[2,3,8] x, double[8,8] wq, double[8,8] wk, double[8,8] wv, double[8] s, double[8] t, double[8,6] wf) => (double loss) {
		q = MatMul (x, wq)  k = MatMul (x, wk)  v = MatMul (x, wv)  a = Attention <q_num_heads = 2, kv_num_heads = 2> (q, k, v)
		h = Add (x, a)  n = LayerNormalization (h, s, t)  f = MatMul (n, wf)  y = Gelu (f)  z = Mul (y, y)  loss = ReduceMean <keepdims = 0> (z)
	}`,
	"recurrence": header + `g (double[5,2,3] x, double[1,16,3] w, double[1,16,4] r, double[1,32] b, double[4,2] k) => (double loss) <int64 last = {0}> {
		y, h = LSTM <hidden_size = 4> (x, w, r, b)  f = Gather (h, last)  p = MatMul (f, k)  z = Mul (p, p)  loss = ReduceSum <keepdims = 0> (z)
	}`,
}

// python is Debian's, which has python3-torch.
const python = "/usr/bin/python3"

type torchTensor struct {
	Shape []int     `json:"shape"`
	Data  []float64 `json:"data"`
}

// torchMissing returns why there is no torch, "" if it is here; with
// ONNXPACK_TORCH set it has to be.
func torchMissing(t testing.TB) string {
	const find = "import importlib.util, sys; sys.exit(not importlib.util.find_spec('torch'))"
	if err := exec.Command(python, "-c", find).Run(); err != nil {
		missing := fmt.Sprintf("torch is not here (python3-torch): %v", err)
		if os.Getenv("ONNXPACK_TORCH") != "" {
			t.Fatal(missing)
		}
		return missing
	}
	return ""
}

// Gradients of whole blocks equal those of torch, where it is installed.
func TestGradientsEqualTorch(t *testing.T) {
	if missing := torchMissing(t); missing != "" {
		t.Skip(missing)
	}
	blocks := map[string]*graph.Model{}
	feeds := map[string]map[string]tensor.Value{}
	for name, text := range torchModels {
		m, err := graph.ParseModel(text)
		if err != nil {
			t.Fatal(err)
		}
		var by []string
		feeds[name], by = randomFeeds(m)
		if blocks[name], err = grad.Build(m, grad.Options{Loss: "loss", By: by}); err != nil {
			t.Fatal(err)
		}
	}
	for name, grads := range askTorch(t, feeds) {
		t.Run(name, func(t *testing.T) {
			ours := runModel(t, blocks[name], feeds[name])
			for in, want := range grads {
				got := tensor.Data[float64](ours[grad.Name(in)].(*tensor.Tensor))
				for i, w := range want {
					if math.Abs(got[i]-w) > 1e-7*(1+math.Abs(w)) {
						t.Fatalf("d loss / d %s[%d] is %v, torch has %v", in, i, got[i], w)
					}
				}
			}
		})
	}
}

// askTorch returns the gradients of each model by every feed as torch computes
// them.
func askTorch(t *testing.T, feeds map[string]map[string]tensor.Value) map[string]map[string][]float64 {
	in := map[string]map[string]torchTensor{}
	for model, values := range feeds {
		in[model] = map[string]torchTensor{}
		for name, v := range values {
			x := v.(*tensor.Tensor)
			in[model][name] = torchTensor{x.Shape(), tensor.Data[float64](x)}
		}
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/torch_judge.py")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), &stderr
	answer, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var out map[string]map[string][]float64
	if err := json.Unmarshal(answer, &out); err != nil {
		t.Fatal(err)
	}
	if len(out) != len(feeds) {
		t.Fatalf("torch answers for %d of %d models", len(out), len(feeds))
	}
	return out
}
