package grad_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
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

// BenchmarkStep is one training step of ResNet20 on 32 images, without the
// update of the parameters.
func BenchmarkStep(b *testing.B) {
	s := resnetStep(b, 32)
	times := map[string]time.Duration{}
	o := engine.Options{Threads: 2}
	if os.Getenv("ONNXPACK_TRACE") != "" {
		o.Trace = func(s engine.Step) { times[s.Op] += s.Elapsed }
	}
	sess, err := engine.Compile(b.Context(), s.model, o)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := sess.Run(b.Context(), s.feeds); err != nil {
			b.Fatal(err)
		}
	}
	for op, d := range times {
		b.Logf("%-24s %v", op, d/time.Duration(b.N))
	}
}
