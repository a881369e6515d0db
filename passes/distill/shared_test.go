package distill_test

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/distill"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Data below ONNXPACK_SHARED.
const (
	mnistTrain = "idx:data/mnist/train10000-images-idx3-ubyte.gz+data/mnist/train10000-labels-idx1-ubyte.gz?scale=0.00392156862745098"
	mnistTest  = "idx:data/mnist/test5000-images-idx3-ubyte.gz+data/mnist/test5000-labels-idx1-ubyte.gz?scale=0.00392156862745098"
	cifarTrain = "cifar10:data/cifar10/train_2000.bin?preset=cifar10-torchvision"
	cifarTest  = "cifar10:data/cifar10/test_2000.bin?preset=cifar10-torchvision"
)

// long skips a test that takes minutes, unless it is asked for.
func long(t *testing.T) {
	t.Helper()
	shared := os.Getenv("ONNXPACK_SHARED")
	if shared == "" || os.Getenv("ONNXPACK_LONG") == "" {
		t.Skip("set ONNXPACK_SHARED and ONNXPACK_LONG=1 to run")
	}
	t.Chdir(shared)
}

// smallCNN returns a network for 28x28 digits with random weights (He et al.
// 2015): three convolutions with batch normalization and pooling, a readout.
func smallCNN(seed uint64) *graph.Model {
	m := &graph.Model{IRVersion: 8, Opsets: []graph.Opset{{Domain: "", Version: 17}}, Graph: graph.New("digits")}
	m.Graph.Attach(m)
	b := graph.NewBuilder(m.Graph, nil)
	r := rand.New(rand.NewPCG(seed, 1))
	weights := func(name string, shape ...int) *graph.Value {
		w := tensor.New(tensor.Float32, shape)
		fan := w.Len() / shape[0]
		for i := range tensor.Data[float32](w) {
			tensor.Data[float32](w)[i] = float32(r.NormFloat64() * math.Sqrt(2/float64(fan)))
		}
		return b.Const(name, w)
	}
	filled := func(name string, n int, x float32) *graph.Value {
		v := make([]float32, n)
		for i := range v {
			v[i] = x
		}
		return b.Const(name, tensor.Of(tensor.Shape{n}, v))
	}
	batch := graph.Symbol("N")
	h := m.Graph.AddInput("image", graph.TensorOf(tensor.Float32, graph.Dims{batch, graph.Known(1), graph.Known(28), graph.Known(28)}))
	stage := func(name string, from, to int) {
		h = b.OpAttrs("Conv", []*graph.Attr{graph.IntsAttr("kernel_shape", 3, 3), graph.IntsAttr("pads", 1, 1, 1, 1)},
			h, weights(name+"/weight", to, from, 3, 3))
		h = b.Op("BatchNormalization", h, filled(name+"/scale", to, 1), filled(name+"/shift", to, 0),
			filled(name+"/mean", to, 0), filled(name+"/var", to, 1))
		h = b.OpAttrs("MaxPool", []*graph.Attr{graph.IntsAttr("kernel_shape", 2, 2), graph.IntsAttr("strides", 2, 2)}, b.Op("Relu", h))
	}
	stage("stage1", 1, 16)
	stage("stage2", 16, 32)
	stage("stage3", 32, 64)
	h = b.OpAttrs("Flatten", []*graph.Attr{graph.IntAttr("axis", 1)}, h)
	h = b.OpAttrs("Gemm", []*graph.Attr{graph.IntAttr("transB", 1)}, h, weights("out/weight", 10, 64*3*3), filled("out/bias", 10, 0))
	y := b.OpAttrs("Softmax", []*graph.Attr{graph.IntAttr("axis", 1)}, h)
	m.Graph.Rename(y, "probabilities")
	y.Type = graph.TensorOf(tensor.Float32, graph.Dims{batch, graph.Known(10)})
	m.Graph.AddOutput(y)
	return m
}

func openData(t *testing.T, spec string, m *graph.Model) *dataset.Data {
	t.Helper()
	d, err := dataset.Open(spec, m.Graph.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func openModel(t *testing.T, name string) *graph.Model {
	t.Helper()
	f, err := onnxio.Open(filepath.Join("models", name+".onnx"), onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Model
}

// apply runs one step written as on the command line.
func apply(t *testing.T, step string, m *graph.Model, env *passes.Env) *graph.Model {
	t.Helper()
	steps, err := passes.ParseSteps(step, []*passes.Pass{distill.FineTune, distill.Distill})
	if err != nil {
		t.Fatal(err)
	}
	last := time.Now()
	env.Progress = func(what string, done, total int) {
		if time.Since(last) > 10*time.Second {
			last = time.Now()
			t.Logf("%s (%d of %d)", what, done, total)
		}
	}
	start := time.Now()
	m, report, err := passes.Pipeline{Steps: steps}.Run(context.Background(), m, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v in %v", report.Steps[0], time.Since(start).Round(time.Millisecond))
	for _, n := range report.Steps[0].Notes {
		t.Log(n)
	}
	for _, c := range report.Steps[0].Curves {
		t.Logf("%s: %.4f", c.Name, c.Y)
	}
	return m
}

func top1(t *testing.T, m *graph.Model, d *dataset.Data) float64 {
	t.Helper()
	s, err := engine.Compile(context.Background(), m, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := benchmark.Evaluate(context.Background(), s, nil, m.Graph.Outputs()[0].Name(), d.All(context.Background()))
	if err != nil {
		t.Fatal(err)
	}
	return e.Metrics["top1"]
}

// TestMNIST trains a network from random weights.
func TestMNIST(t *testing.T) {
	long(t)
	m := smallCNN(1)
	data, test := openData(t, mnistTrain, m), openData(t, mnistTest, m)
	env := &passes.Env{Calibration: data.All, Labelled: true, Seed: 1}
	start := time.Now()
	m = apply(t, mnistStep(), m, env)
	if took := time.Since(start); took > 2*time.Minute {
		t.Errorf("training took %v, want at most 2 minutes", took)
	}
	if got := top1(t, m, test); got < 0.985 {
		t.Errorf("top-1 is %.4f, want at least 0.985", got)
	} else {
		t.Logf("top-1 %.4f", got)
	}
}

// mnistStep is what is under test, perhaps from the environment.
func mnistStep() string {
	if s := os.Getenv("DISTILL_MNIST"); s != "" {
		return s
	}
	return "fine-tune=epochs:13;batch:50;lr:0.005;schedule:one-cycle;shift:2;held:0.05"
}

// TestHalf distills a network into one with half its multiply-accumulates,
// from unlabelled images, and trains the same student from random weights on
// the labels.
func TestHalf(t *testing.T) {
	long(t)
	teacher := openModel(t, "cifar10_resnet56")
	data, test := openData(t, cifarTrain, teacher), openData(t, cifarTest, teacher)
	student := apply(t, halfStep(), teacher.Clone(), &passes.Env{Calibration: data.All, Seed: 1})
	before, after := top1(t, teacher, test), top1(t, student, test)
	t.Logf("top-1 %.4f -> %.4f", before, after)
	if before-after > 0.03 {
		t.Errorf("accuracy falls by %.4f, want at most 0.03", before-after)
	}
	if os.Getenv("DISTILL_CONTROL") == "" {
		return
	}
	randomize(student, 3)
	env := &passes.Env{Calibration: data.All, Labelled: true, Seed: 1}
	control := top1(t, apply(t, controlStep, student, env), test)
	t.Logf("from random weights %.4f", control)
	if after-control < 0.03 {
		t.Errorf("distillation gives %.4f, random weights %.4f: want at least 0.03 more", after, control)
	}
}

func halfStep() string {
	if s := os.Getenv("DISTILL_HALF"); s != "" {
		return s
	}
	return "distill=student:depth=0.5;epochs:9;batch:50;lr:0.002;hidden:10;flip:true;shift:3;held:0.05"
}

const controlStep = "fine-tune=epochs:12;batch:50;lr:0.003;flip:true;shift:4;held:0.05"

// randomize gives a network new weights (He et al. 2015) and normalizations
// that do nothing.
func randomize(m *graph.Model, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for n := range m.Graph.Nodes() {
		for i, v := range n.Ins() {
			if v == nil || !v.IsConst() || v.Init.Tensor.DType() != tensor.Float32 {
				continue
			}
			w := tensor.New(tensor.Float32, v.Init.Shape())
			fan := math.Max(1, float64(w.Len()/max(1, v.Init.Shape()[0])))
			for k := range tensor.Data[float32](w) {
				switch {
				case n.Is("BatchNormalization") && (i == 1 || i == 4):
					tensor.Data[float32](w)[k] = 1
				case w.Rank() > 1:
					tensor.Data[float32](w)[k] = float32(r.NormFloat64() * math.Sqrt(2/fan))
				}
			}
			m.Graph.SetInit(v, &graph.Literal{Tensor: w})
		}
	}
}
