package distill_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
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
	"github.com/onnxpack/onnxpack/passes/nodeprune"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
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
	if os.Getenv("ONNXPACK_LONG") == "" {
		t.Skip("set ONNXPACK_SHARED and ONNXPACK_LONG=1 to run")
	}
	short(t)
}

// short goes to the shared folder, and skips a test where there is none. ONNX
// Runtime is looked for before, while the project's source is at hand.
func short(t *testing.T) {
	t.Helper()
	shared := os.Getenv("ONNXPACK_SHARED")
	if shared == "" {
		t.Skip("ONNXPACK_SHARED is not set")
	}
	if install, err := ort.Find(context.Background()); err == nil {
		t.Setenv(ort.LibraryEnv, install.Library)
		t.Setenv(ort.HelperEnv, install.Helper)
	}
	t.Chdir(shared)
}

// smallCNN returns a network for 28x28 digits with random weights (He et al.
// 2015): three convolutions with pooling and batch normalization, a readout.
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
		h = b.OpAttrs("MaxPool", []*graph.Attr{graph.IntsAttr("kernel_shape", 2, 2), graph.IntsAttr("strides", 2, 2)}, h)
		h = b.Op("Relu", b.Op("BatchNormalization", h, filled(name+"/scale", to, 1), filled(name+"/shift", to, 0),
			filled(name+"/mean", to, 0), filled(name+"/var", to, 1)))
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

// apply runs steps written as on the command line.
func apply(t *testing.T, text string, m *graph.Model, env *passes.Env) *graph.Model {
	t.Helper()
	steps, err := passes.ParseSteps(text, []*passes.Pass{distill.FineTune, distill.Distill, nodeprune.PruneNodes})
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
	t.Logf("done in %v", time.Since(start).Round(time.Millisecond))
	for _, s := range report.Steps {
		t.Log(s)
		for _, n := range s.Notes {
			t.Log(n)
		}
		for _, c := range s.Curves {
			t.Logf("%s: %.4f", c.Name, c.Y)
		}
	}
	return m
}

// top1 is the share of right answers; ONNX Runtime, where it is installed,
// must give the same.
func top1(t *testing.T, m *graph.Model, d *dataset.Data) float64 {
	t.Helper()
	s, err := engine.Compile(context.Background(), m, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := top1Of(t, s, m, d)
	if judge := startORT(t, m); judge != nil {
		if want := top1Of(t, judge, m, d); math.Abs(got-want) > 0.002 {
			t.Errorf("top-1 is %.4f, in ONNX Runtime %.4f", got, want)
		}
	}
	return got
}

func top1Of(t *testing.T, r benchmark.Runner, m *graph.Model, d *dataset.Data) float64 {
	t.Helper()
	e, err := benchmark.Evaluate(context.Background(), r, nil, m.Graph.Outputs()[0].Name(), d.All(context.Background()))
	if err != nil {
		t.Fatal(err)
	}
	return e.Metrics["top1"]
}

// startORT opens a model in ONNX Runtime, nil if that is not installed.
func startORT(t *testing.T, m *graph.Model) benchmark.Runner {
	t.Helper()
	ctx := context.Background()
	install, err := ort.Find(ctx)
	if errors.Is(err, ort.ErrMissing) {
		t.Logf("not compared: %v", err)
		return nil
	}
	p, err := ort.Start(ctx, install)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	var b bytes.Buffer
	if err := onnxio.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	s, err := p.Load(ctx, ort.Options{Model: b.Bytes(), Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	return s
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
	return "fine-tune=epochs:18;batch:50;lr:0.004;schedule:one-cycle;shift:2;crop:0.8;turn:12;smoothing:0.1;ema:0.995;decay:0.01;held:0"
}

// Both leave 1/2.1 of the multiply-accumulates of a network: cut in seconds,
// measuredCut with the accuracy that is claimed.
const (
	cut         = "prune-nodes=macs:0.476;by:fisher;repair:lstsq"
	measuredCut = "prune-nodes=macs:0.476;by:obs;scope:sensitivity;repair:lstsq"
)

// withoutLabels is data of which nobody says what it shows.
func withoutLabels(d *dataset.Data) passes.Data {
	return func(ctx context.Context) iter.Seq2[dataset.Sample, error] {
		return func(yield func(dataset.Sample, error) bool) {
			for s, err := range d.All(ctx) {
				s.Label = -1
				if !yield(s, err) {
					return
				}
			}
		}
	}
}

// TestRecovery cuts a network to less than half its work and distills the
// original into what is left, from unlabelled images; then trains the same
// network from random weights on the labels.
func TestRecovery(t *testing.T) {
	long(t)
	teacher := openModel(t, "cifar10_resnet56")
	data, test := openData(t, cifarTrain, teacher), openData(t, cifarTest, teacher)
	env := &passes.Env{Calibration: withoutLabels(data), Samples: data.Len(), Seed: 1, Models: map[string]*graph.Model{"teacher": teacher}}
	student := apply(t, measuredCut, teacher.Clone(), env)
	start := top1(t, student, test)
	student = apply(t, recovery, student, env)
	before, after := top1(t, teacher, test), top1(t, student, test)
	t.Logf("top-1 %.4f -> %.4f, before training %.4f", before, after, start)
	if before-after > 0.02 {
		t.Errorf("accuracy falls by %.4f, want at most 0.02", before-after)
	}
	randomize(student, 3)
	control := top1(t, apply(t, control, student, &passes.Env{Calibration: data.All, Labelled: true, Seed: 1}), test)
	t.Logf("from random weights %.4f", control)
	if after-control < 0.03 {
		t.Errorf("distillation gives %.4f, random weights %.4f: want at least 0.03 more", after, control)
	}
}

// TestRecoveryBegins is the first share of TestRecovery.
func TestRecoveryBegins(t *testing.T) {
	short(t)
	teacher := openModel(t, "cifar10_resnet56")
	data, test := openData(t, cifarTrain+"&range=0:30", teacher), openData(t, cifarTest+"&range=0:40", teacher)
	env := &passes.Env{Calibration: withoutLabels(data), Samples: data.Len(), Seed: 1, Models: map[string]*graph.Model{"teacher": teacher}}
	student := apply(t, cut+",distill=epochs:2;batch:10;lr:0.0005;held:0", teacher.Clone(), env)
	if got := top1(t, student, test); got < 0.2 {
		t.Errorf("top-1 is %.3f, that of chance is 0.1", got)
	}
}

const (
	recovery = "distill=epochs:10;batch:32;lr:0.0005;warmup:0.05;flip:true;shift:4;held:0.05"
	control  = "fine-tune=epochs:12;batch:32;lr:0.003;warmup:0.05;flip:true;shift:4;held:0.05"
)

// randomize gives a network new weights (He et al. 2015) and normalizations
// that do nothing.
func randomize(m *graph.Model, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for n := range m.Graph.Nodes() {
		for i, v := range n.Ins() {
			if v == nil || !v.IsConst() || v.Init.Tensor.DType() != tensor.Float32 || len(v.Init.Shape()) == 0 {
				continue
			}
			w := tensor.New(tensor.Float32, v.Init.Shape())
			fan := float64(w.Len() / v.Init.Shape()[0])
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
