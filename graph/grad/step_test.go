package grad_test

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// trainingStep is a model whose parameters are inputs, with the gradients of
// a cross entropy by all of them.
type trainingStep struct {
	model *graph.Model
	feeds map[string]tensor.Value
}

// resnetStep turns the shared ResNet20 into a training step for a batch of
// random images. It skips the test where the model is missing.
func resnetStep(t testing.TB, batch int) trainingStep {
	path := filepath.Join(os.Getenv("ONNXPACK_SHARED"), "models", "cifar10_resnet20.onnx")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("shared models are not here: %v", err)
	}
	f, err := onnxio.Open(path, onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m := f.Model.Clone()
	m.SetOpset("", 15)
	s := trainingStep{feeds: map[string]tensor.Value{}}
	rng := rand.New(rand.NewPCG(1, 2))
	by := s.trainable(m, rng)
	g := m.Graph
	image, logits := g.Inputs()[0], g.Outputs()[0]
	labels := g.AddInput("labels", graph.TensorOf(tensor.Int64, graph.Dims{graph.Known(batch)}))
	loss := g.Append(graph.NewNode("", "SoftmaxCrossEntropyLoss", []*graph.Value{logits, labels}, 1)).Out(0)
	loss.Type = graph.TensorOf(tensor.Float32, graph.Dims{})
	g.AddOutput(loss)
	x := make([]float32, batch*3*32*32)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	s.feeds[image.Name()] = tensor.Of(tensor.Shape{batch, 3, 32, 32}, x)
	s.feeds["labels"] = tensor.Of(tensor.Shape{batch}, make([]int64, batch))
	types := map[string]*graph.Type{image.Name(): graph.TensorOf(tensor.Float32, graph.DimsOf(tensor.Shape{batch, 3, 32, 32}))}
	image.Type = types[image.Name()]
	if s.model, err = grad.Build(m, grad.Options{Loss: loss.Name(), By: by, Inputs: types}); err != nil {
		t.Fatal(err)
	}
	return s
}

// trainable makes inputs of m's float parameters and puts its batch
// normalizations into training form. It returns the names of what is trained.
func (s *trainingStep) trainable(m *graph.Model, rng *rand.Rand) []string {
	g := m.Graph
	var by []string
	for _, v := range g.Inits() {
		if v.Init.Tensor == nil || v.Init.Tensor.DType() != tensor.Float32 || v.Init.Tensor.Len() == 1 {
			continue
		}
		in := g.AddInput("trained/"+v.Name(), graph.TensorOf(tensor.Float32, graph.DimsOf(v.Init.Tensor.Shape())))
		s.feeds[in.Name()] = v.Init.Tensor
		g.ReplaceUses(v, in)
		by = append(by, in.Name())
	}
	for n := range g.Nodes() {
		if n.Is("BatchNormalization") {
			n.SetAttr(graph.IntAttr("training_mode", 1))
			n.AddOut()
			n.AddOut()
		}
	}
	return by
}

func TestTrainingStep(t *testing.T) {
	s := resnetStep(t, 4)
	sess, err := engine.Compile(t.Context(), s.model, engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sess.Run(t.Context(), s.feeds); err != nil {
		t.Fatal(err)
	}
}

// transformerStep is a block of BERT-tiny: 128 features, 2 heads, 512 hidden,
// 32 sequences of 128 tokens; testdata/torch_step.py has the same.
func transformerStep(t testing.TB) trainingStep {
	const text = newer + `g (float[32,128,128] x, float[128,384] wi, float[384] bi, float[128,128] wo, float[128] bo, float[128] s1, float[128] t1,
		float[128,512] w1, float[512] b1, float[512,128] w2, float[128] b2, float[128] s2, float[128] t2) => (float loss) <int64[3] parts = {128,128,128}> {
		p = MatMul (x, wi)  qkv = Add (p, bi)  q, k, v = Split <axis = 2> (qkv, parts)
		a = Attention <q_num_heads = 2, kv_num_heads = 2> (q, k, v)  o1 = MatMul (a, wo)  o = Add (o1, bo)
		r1 = Add (x, o)  n1 = LayerNormalization (r1, s1, t1)
		h1 = MatMul (n1, w1)  h2 = Add (h1, b1)  h = Gelu (h2)  f1 = MatMul (h, w2)  f = Add (f1, b2)
		r2 = Add (n1, f)  y = LayerNormalization (r2, s2, t2)  z = Mul (y, y)  loss = ReduceMean <keepdims = 0> (z)
	}`
	m, err := graph.ParseModel(text)
	if err != nil {
		t.Fatal(err)
	}
	s := trainingStep{feeds: feedsOf(m)}
	var by []string
	for _, v := range m.Graph.Feeds()[1:] {
		by = append(by, v.Name())
	}
	if s.model, err = grad.Build(m, grad.Options{Loss: "loss", By: by}); err != nil {
		t.Fatal(err)
	}
	return s
}

// A training step, without the update of the parameters, takes turns with the
// same step in torch: what is reported is the least time of either, and their
// ratio.
func BenchmarkStep(b *testing.B) {
	steps := map[string]func() trainingStep{
		"resnet20":    func() trainingStep { return resnetStep(b, 32) },
		"transformer": func() trainingStep { return transformerStep(b) },
	}
	for _, name := range []string{"resnet20", "transformer"} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", name, threads), func(b *testing.B) {
				s := steps[name]()
				sess, err := engine.Compile(b.Context(), s.model, engine.Options{Threads: threads})
				if err != nil {
					b.Fatal(err)
				}
				torch := newTorchStep(b, name, threads)
				ours, theirs := math.Inf(1), math.Inf(1)
				for b.Loop() {
					start := time.Now()
					if _, err := sess.Run(b.Context(), s.feeds); err != nil {
						b.Fatal(err)
					}
					ours = min(ours, time.Since(start).Seconds())
					theirs = min(theirs, torch())
				}
				b.ReportMetric(1e3*ours, "ms")
				b.ReportMetric(1e3*theirs, "torch-ms")
				b.ReportMetric(ours/theirs, "ratio")
			})
		}
	}
}

// newTorchStep starts torch and returns a function that takes one step in it
// and tells the seconds, infinitely many without torch.
func newTorchStep(b *testing.B, name string, threads int) func() float64 {
	if missing := torchMissing(b); missing != "" {
		b.Log(missing)
		return func() float64 { return math.Inf(1) }
	}
	cmd := exec.CommandContext(b.Context(), python, "testdata/torch_step.py", name, strconv.Itoa(threads))
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	return func() float64 {
		if _, err := fmt.Fprintln(in); err != nil || !lines.Scan() {
			b.Fatalf("torch gave no answer: %v", err)
		}
		seconds, err := strconv.ParseFloat(lines.Text(), 64)
		if err != nil {
			b.Fatal(err)
		}
		return seconds
	}
}
