package train

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

// some returns n random numbers as the text of a tensor.
func some(rng *rand.Rand, n int) string {
	w := make([]string, n)
	for i := range w {
		w[i] = fmt.Sprintf("%.4f", rng.NormFloat64()*0.5)
	}
	return "{" + strings.Join(w, ", ") + "}"
}

// perceptron has random weights; its inputs are the points of rings.
func perceptron(t *testing.T) *graph.Model {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 13]>
		g (float[1, 2] x) => (float[1, 3] y)
		<float[2, 16] w1 = ` + some(rng, 32) + `, float[16] b1 = ` + some(rng, 16) + `,
		 float[16, 3] w2 = ` + some(rng, 48) + `, float[3] b2 = ` + some(rng, 3) + `> {
			h = MatMul (x, w1)
			a = Add (h, b1)
			r = Relu (a)
			d = Dropout (r)
			z = Gemm (d, w2, b2)
			y = Softmax <axis: int = 1> (z)
		}`)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rings returns points of three rings around the origin, the class being the
// ring.
func rings(n int, seed uint64) Source {
	rng := rand.New(rand.NewPCG(seed, 2))
	var list memory
	for i := range n {
		angle, radius := rng.Float64()*2*math.Pi, 0.5+float64(i%3)+0.2*rng.Float64()
		x := tensor.Of(tensor.Shape{1, 2}, []float32{float32(radius * math.Cos(angle)), float32(radius * math.Sin(angle))})
		list = append(list, dataset.Sample{Number: i, Feeds: map[string]tensor.Value{"x": x}, Label: i % 3})
	}
	return list
}

func ringTask(t *testing.T) Task {
	o := Defaults()
	o.Epochs, o.Batch, o.Rate, o.Threads = 30, 16, 0.02, 1
	return Task{
		Model: perceptron(t), Data: rings(240, 1), Held: rings(90, 2), Scores: "y",
		Loss: []Term{Labelled("cross-entropy", "y", 0)}, Options: o,
	}
}

func run(t *testing.T, task Task) *Result {
	t.Helper()
	r, err := Run(context.Background(), task)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// text is a model with all its weights.
func text(m *graph.Model) string { return graph.Format(m) }

func TestLearns(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Options)
	}{
		{"adamw", func(*Options) {}},
		{"adam", func(o *Options) { o.Optimizer = "adam" }},
		{"lamb", func(o *Options) { o.Optimizer = "lamb" }},
		{"sgd", func(o *Options) { o.Optimizer, o.Rate, o.Schedule.Kind = "sgd", 0.1, "step" }},
		{"nesterov", func(o *Options) { o.Optimizer, o.Rate, o.Nesterov = "sgd", 0.05, true }},
		{"one-cycle, clipped", func(o *Options) { o.Schedule.Kind, o.Clip, o.Rate = "one-cycle", 1, 0.05 }},
		{"accumulated, warmed up", func(o *Options) { o.Accum, o.Batch, o.Schedule.Warmup = 2, 8, 0.1 }},
		{"average of weights", func(o *Options) { o.EMA = 0.99 }},
		{"smoothed, dropout", func(o *Options) { o.Smoothing, o.Dropout, o.Epochs = 0.1, true, 60 }},
		{"mixup", func(o *Options) { o.Mixup, o.Epochs = 0.2, 60 }},
		{"low rank", func(o *Options) { o.LoRA, o.Epochs, o.Rate = 1, 60, 0.05 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			task := ringTask(t)
			c.set(&task.Options)
			before := text(task.Model)
			r := run(t, task)
			score := r.Curve[r.Best].Score
			t.Logf("score %.3f at epoch %d, loss %.3f -> %.3f", score, r.Best, r.Curve[0].Loss, r.Curve[len(r.Curve)-1].Loss)
			want := 0.95
			if task.Options.LoRA > 0 {
				want = 0.6
			}
			if score < want {
				t.Errorf("score is %.3f, want at least %.2f", score, want)
			}
			if text(task.Model) != before {
				t.Error("the task's model was changed")
			}
		})
	}
}

func TestThreads(t *testing.T) {
	task := ringTask(t)
	task.Options.Epochs, task.Options.Dropout, task.Options.Mixup = 3, true, 0.5
	task.Held = nil
	one := text(run(t, task).Model)
	task.Options.Threads = 3
	if text(run(t, task).Model) != one {
		t.Error("weights depend on the number of threads")
	}
}

// vault keeps a checkpoint in memory and, after so many saves, asks the run
// to stop.
type vault struct {
	key   string
	state []byte
	saves int
	stop  chan struct{}
	after int
}

func (v *vault) Load(key string) (io.ReadCloser, error) {
	if v.state == nil || v.key != key {
		return nil, nil
	}
	return io.NopCloser(bytes.NewReader(v.state)), nil
}

func (v *vault) Due() bool {
	v.saves++
	return v.saves == v.after
}

func (v *vault) Save(key string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	if v.state != nil {
		return nil // as if the process had been killed before
	}
	v.key, v.state = key, b.Bytes()
	close(v.stop)
	return nil
}

func TestResume(t *testing.T) {
	for _, after := range []int{1, 14, 15, 37} {
		task := ringTask(t)
		task.Options.Epochs, task.Options.Accum, task.Options.EMA, task.Options.Dropout = 4, 2, 0.9, true
		task.Options.Rate = 0.05
		whole := text(run(t, task).Model)
		if whole == text(task.Model) {
			t.Fatal("no epoch did better than the start")
		}
		v := &vault{after: after, stop: make(chan struct{})}
		task.Checkpoints, task.Stop = v, v.stop
		if r := run(t, task); r.Stopped == "" {
			t.Fatal("the run was not stopped")
		}
		task.Stop = nil
		r := run(t, task)
		if r.Resumed == 0 {
			t.Fatalf("after %d steps: not resumed", after)
		}
		if text(r.Model) != whole {
			t.Errorf("after %d steps: a resumed run gives other weights", after)
		}
	}
}

// TestResumesItself: a checkpoint of another loss or other data is not taken
// up.
func TestResumesItself(t *testing.T) {
	for _, set := range []func(*Task){
		func(k *Task) { k.Loss = []Term{Labelled("mse", "y", 0)} },
		func(k *Task) { k.Loss[0].Weight = 2 },
		func(k *Task) { k.Data = rings(240, 9) },
		func(k *Task) { k.Options.Rate = 0.03 },
	} {
		task := ringTask(t)
		task.Options.Epochs = 1
		v := &vault{after: 5, stop: make(chan struct{})}
		task.Checkpoints, task.Stop = v, v.stop
		run(t, task)
		task.Stop = nil
		set(&task)
		if r := run(t, task); r.Resumed != 0 {
			t.Errorf("another run was resumed at step %d", r.Resumed)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		want string
		set  func(*Task)
	}{
		{"there are no samples", func(k *Task) { k.Data = memory{} }},
		{"label 2, the output has", func(k *Task) { k.Loss = []Term{narrow()} }},
		{"has no label", func(k *Task) {
			list := rings(40, 3).(memory)
			for i := range list {
				list[i].Label = -1
			}
			k.Data = list
		}},
		{"step ", func(k *Task) { k.Options.Optimizer, k.Options.Rate = "sgd", 1e30 }},
		{`no output "q"`, func(k *Task) { k.Loss = []Term{Labelled("mse", "q", 0)} }},
		{"no float32 weights", func(k *Task) { k.Options.Frozen = func(string) bool { return true } }},
		{`step 0: "w1" becomes -Inf`, func(k *Task) {
			k.Options.Optimizer, k.Options.Rate, k.Options.Epochs, k.Held = "sgd", math.MaxFloat64, 1, nil
			k.Options.Batch = k.Data.Len()
		}},
		{`option "batch"`, func(k *Task) { k.Options.Batch = 0 }},
	} {
		task := ringTask(t)
		c.set(&task)
		if _, err := Run(context.Background(), task); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want one with %q", err, c.want)
		}
	}
}

// narrow is a loss over the first two scores only.
func narrow() Term {
	term := Labelled("cross-entropy", "y", 0)
	feed := term.Feed
	term.Feed = func(ctx context.Context, b *Batch) (map[string]tensor.Value, error) {
		if _, err := b.Labels(2); err != nil {
			return nil, err
		}
		return feed(ctx, b)
	}
	return term
}

// TestSplit holds out a twentieth of samples that lie sorted by class, and of
// some whose ten classes take turns: every class is among them.
func TestSplit(t *testing.T) {
	for name, label := range map[string]func(i int) int{
		"sorted": func(i int) int { return i / 200 }, "in turn": func(i int) int { return i % 10 },
	} {
		var all memory
		for i := range 2000 {
			all = append(all, dataset.Sample{Number: i, Label: label(i)})
		}
		in, held := Split(all, 0.05)
		if in.Len() != 1900 || held.Len() != 100 {
			t.Fatalf("%s: %d and %d samples", name, in.Len(), held.Len())
		}
		seen, classes := map[int]bool{}, map[int]bool{}
		for i := range held.Len() {
			classes[sampleAt(t, held, i).Label] = true
			seen[sampleAt(t, held, i).Number] = true
		}
		for i := range in.Len() {
			seen[sampleAt(t, in, i).Number] = true
		}
		if len(classes) != 10 || len(seen) != 2000 {
			t.Errorf("%s: %d classes are held out, %d samples are in one part or the other", name, len(classes), len(seen))
		}
	}
}

// TestKeepsStart goes on from a trained model at a rate that ruins it: what is
// returned is what the run began with.
func TestKeepsStart(t *testing.T) {
	task := ringTask(t)
	task.Model = run(t, task).Model
	task.Options.Rate, task.Options.Epochs = 3, 2
	r := run(t, task)
	if r.Best != -1 || text(r.Model) != text(task.Model) {
		t.Errorf("weights of epoch %d are kept, want those of the start: %v", r.Best, r.Curve)
	}
}

// deep is a perceptron of many layers, each of 16 values, with random weights.
func deep(t *testing.T, layers int) *graph.Model {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 3))
	weights, nodes, last := "float[2, 16] w0 = "+some(rng, 32), "", "x"
	for i := range layers {
		weights += fmt.Sprintf(", float[16, 16] w%d = %s", i+1, some(rng, 256))
		nodes += fmt.Sprintf("h%d = MatMul (%s, w%d) a%[1]d = Tanh (h%[1]d)\n", i, last, i)
		last = fmt.Sprintf("a%d", i)
	}
	m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 13]> g (float[1, 2] x) => (float[1, 16] y)
		<` + weights + `> {` + nodes + fmt.Sprintf("y = MatMul (%s, w%d) }", last, layers))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMaxMemory trains under a limit that cannot be met, which is an error
// that says what could, then under that: fewer bytes than the values of a step
// take together, and the same weights.
func TestMaxMemory(t *testing.T) {
	const layers, batch = 24, 240
	task := ringTask(t)
	task.Model = deep(t, layers)
	task.Options.Epochs, task.Options.Batch = 2, batch
	free := text(run(t, task).Model)

	task.Options.MaxMemory = 1
	_, err := Run(context.Background(), task)
	if err == nil {
		t.Fatal("a step fits in a byte")
	}
	_, need, _ := strings.Cut(err.Error(), "needs at least ")
	if _, err := fmt.Sscan(need, &task.Options.MaxMemory); err != nil {
		t.Fatalf("%q does not say how much is needed", need)
	}
	if values := int64(2 * layers * batch * 16 * 4); task.Options.MaxMemory > values/2 {
		t.Errorf("a step needs %d bytes, of values that take %d together", task.Options.MaxMemory, values)
	}
	if text(run(t, task).Model) != free {
		t.Error("weights depend on the limit of memory")
	}
}

func TestKeepsZeros(t *testing.T) {
	task := ringTask(t)
	w := task.Model.Graph.Value("w1")
	pruned := w.Init.Tensor.Clone()
	for i := range pruned.Len() / 2 {
		tensor.Data[float32](pruned)[2*i] = 0
	}
	task.Model.Graph.SetInit(w, &graph.Literal{Tensor: pruned})
	task.Options.KeepZeros, task.Options.Epochs = true, 3
	after := tensor.Float32s(run(t, task).Model.Graph.Value("w1").Init.Tensor)
	for i := range after {
		if zero := after[i] == 0; zero != (i%2 == 0) {
			t.Fatalf("weight %d is %v", i, after[i])
		}
	}
}

// TestReshapes trains models whose shapes were written for one sample, two of
// them one behind the other, as it trains the model without them.
func TestReshapes(t *testing.T) {
	model := func(nodes string) *graph.Model {
		m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 13]> g (float[1, 2] x) => (float[1, 3] y)
			<float[2, 4] w1 = {1, -2, 0.5, 1, 2, 1, -1, 0.5}, float[4, 3] w2 = {1, 0, -1, 0.5, 1, 0, -1, 0, 1, 0, 0.5, 1},
			 int64[3] squares = {1, 2, 2}, int64[2] flat = {1, -1}, float[1, 4] r> {
				h = MatMul (x, w1)
				r = Relu (h) ` + nodes + `
			}`)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	task := ringTask(t)
	task.Options.Epochs = 2
	task.Model = model("y = MatMul (r, w2)")
	want := run(t, task).Model
	task.Model = model("q = Reshape (r, squares)  a = Identity (q)  f = Reshape (a, flat)  y = MatMul (f, w2)")
	got := run(t, task).Model
	for _, name := range []string{"w1", "w2"} {
		if a, b := got.Graph.Value(name).Init.Tensor, want.Graph.Value(name).Init.Tensor; !a.Equal(b) || a.Equal(task.Model.Graph.Value(name).Init.Tensor) {
			t.Errorf("%s becomes %v, want %v", name, tensor.Float32s(a), tensor.Float32s(b))
		}
	}
	if shape := tensor.Int64s(got.Graph.Value("squares").Init.Tensor); shape[0] != 1 {
		t.Errorf("the model that is returned reshapes to %v", shape)
	}
}

// TestSubgraphs trains a weight that a branch reads; what the branch holds
// itself stays, and the result says so.
func TestSubgraphs(t *testing.T) {
	task := ringTask(t)
	m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 15]> g (float[1, 2] x) => (float[1, 3] y)
		<float[2, 3] w = {1, -2, 0.5, 1, 2, 1}, bool yes = {1}, float[3] one = {1, 1, 1}, float[3] zero = {0, 0, 0}> {
			y = If (yes) <
				then_branch = a () => (float[1, 3] n) <float[3, 3] v = {1, 0, 0, 0, 1, 0, 0, 0, 1}> {
					p = MatMul (x, w)  q = MatMul (p, v)  n = BatchNormalization (q, one, zero, zero, one) },
				else_branch = b () => (float[1, 3] o) { o = MatMul (x, w) }>
		}`)
	if err != nil {
		t.Fatal(err)
	}
	task.Model, task.Options.Epochs, task.Held = m, 2, nil
	r := run(t, task)
	if r.Model.Graph.Value("w").Init.Tensor.Equal(m.Graph.Value("w").Init.Tensor) {
		t.Error("the weight that the branch reads did not move")
	}
	want := []string{"1 weights that subgraphs hold stay as they are", "1 BatchNormalization nodes in subgraphs keep their statistics"}
	if !slices.Equal(r.Notes, want) {
		t.Errorf("notes are %q, want %q", r.Notes, want)
	}
}

func TestFrozen(t *testing.T) {
	task := ringTask(t)
	task.Options.Frozen = func(name string) bool { return name == "w1" }
	task.Options.Epochs = 2
	m := run(t, task).Model
	if !m.Graph.Value("w1").Init.Tensor.Equal(task.Model.Graph.Value("w1").Init.Tensor) {
		t.Error("a frozen weight moved")
	}
	if m.Graph.Value("w2").Init.Tensor.Equal(task.Model.Graph.Value("w2").Init.Tensor) {
		t.Error("a weight that is not frozen did not move")
	}
}

// TestFrozenNorms freezes one of two normalizations: its statistics stay, those
// of the other follow the data.
func TestFrozenNorms(t *testing.T) {
	task := ringTask(t)
	m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 15]> g (float[1, 2] x) => (float[1, 3] y)
		<float[2, 3] w = {1, -2, 0.5, 1, 2, 1}, float[3] s1 = {1, 1, 1}, float[3] t1 = {0, 0, 0}, float[3] m1 = {0, 0, 0}, float[3] v1 = {1, 1, 1},
		 float[3] s2 = {1, 1, 1}, float[3] t2 = {0, 0, 0}, float[3] m2 = {0, 0, 0}, float[3] v2 = {1, 1, 1}> {
			p = MatMul (x, w)  a = BatchNormalization (p, s1, t1, m1, v1)
			r = Relu (a)  y = BatchNormalization (r, s2, t2, m2, v2)
		}`)
	if err != nil {
		t.Fatal(err)
	}
	task.Model, task.Held, task.Options.Epochs = m, nil, 1
	task.Options.Frozen = func(name string) bool { return strings.HasSuffix(name, "1") }
	trained := run(t, task).Model.Graph
	for _, name := range []string{"s1", "t1", "m1", "v1", "s2", "t2", "m2", "v2"} {
		stays := trained.Value(name).Init.Tensor.Equal(m.Graph.Value(name).Init.Tensor)
		if frozen := strings.HasSuffix(name, "1"); stays != frozen {
			t.Errorf("%s stays: %v, want %v", name, stays, frozen)
		}
	}
}

// TestLowRank trains updates of rank 1: what is added to each matrix has that
// rank, and everything else stays.
func TestLowRank(t *testing.T) {
	task := ringTask(t)
	task.Options.LoRA, task.Options.Epochs, task.Options.Decay = 1, 3, 0
	task.Held = nil
	m := run(t, task).Model
	for name, cols := range map[string]int{"w1": 16, "w2": 3} {
		before, after := tensor.Float64s(task.Model.Graph.Value(name).Init.Tensor), tensor.Float64s(m.Graph.Value(name).Init.Tensor)
		d := make([]float64, len(before))
		for i := range d {
			d[i] = after[i] - before[i]
		}
		if d[0] == 0 {
			t.Errorf("%s did not move", name)
		}
		for i := cols; i < len(d); i++ {
			if minor := d[0]*d[i] - d[i%cols]*d[i-i%cols]; math.Abs(minor) > 1e-5 {
				t.Errorf("%s: a minor of the update is %.3g, want 0", name, minor)
			}
		}
	}
	for _, name := range []string{"b1", "b2"} {
		if !m.Graph.Value(name).Init.Tensor.Equal(task.Model.Graph.Value(name).Init.Tensor) {
			t.Errorf("%s moved", name)
		}
	}
}
