package nodeprune

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/simplify"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// feedsOf says what feeds models take that random ones of their own shapes do
// not fit, and unfed which models ONNX Runtime cannot run here, and why.
var (
	feedsOf = map[string]string{"genai_tiny_gpt2_past.onnx": "random:2?seq_len=3&total_seq_len=7&past_seq_len=4"}
	unfed   = map[string]string{
		"superres_prepost_op18.onnx":    "it needs operators of onnxruntime-extensions",
		"ort_tiny_gpt2_beamsearch.onnx": "its parameters of the search are no random numbers",
	}
)

// wanted is the share of the weights of all float models that some unit cuts.
// What is missing is refused with a reason: see onnxpack prune --explain.
const wanted = 0.9

// tally counts what the models of a test come to.
type tally struct {
	prunable, weights      int
	compared, bare, untold []string // models with groups, without weights, and those that were not run
	refused                []string // models with weights, of which none can be cut
}

// TestGroupsOfRealModels cuts a random third of every group of real models.
// In ONNX Runtime the result equals the original with what is cut multiplied
// by zero where layers read it.
func TestGroupsOfRealModels(t *testing.T) {
	shared := os.Getenv("ONNXPACK_SHARED")
	if shared == "" {
		t.Skip("ONNXPACK_SHARED is not set")
	}
	p := startORT(t)
	files, err := filepath.Glob(filepath.Join(shared, "models", "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no models: %v", err)
	}
	files = append(files, filepath.Join(shared, "models", "rten_mnist_external", "mnist.onnx"))
	var sum tally
	ran := 0
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			ran++
			cutThird(t, p, path, &sum)
		})
	}
	t.Logf("%d of %d weights can be cut; %d models compared, not run: %v; no weights: %v; all refused: %v",
		sum.prunable, sum.weights, len(sum.compared), sum.untold, sum.bare, sum.refused)
	if share := float64(sum.prunable) / float64(max(sum.weights, 1)); ran == len(files) && share < wanted {
		t.Errorf("%.1f %% of the weights of float models can be cut, want %.0f %%", 100*share, 100*wanted)
	}
}

// count enters the groups of a model.
func (s *tally) count(name string, m *graph.Model, g *Groups) {
	prunable, all := g.Share()
	switch {
	case unfed[name] != "":
		s.untold = append(s.untold, name)
	case all == 0:
		s.bare = append(s.bare, name)
	case len(g.List) == 0:
		s.refused = append(s.refused, name)
	default:
		s.compared = append(s.compared, name)
	}
	if !quantized(m) {
		s.prunable += prunable
		s.weights += all
	}
}

func startORT(t *testing.T) *ort.Process {
	t.Helper()
	ctx := context.Background()
	install, err := ort.Find(ctx)
	if errors.Is(err, ort.ErrMissing) {
		t.Skip(err)
	}
	p, err := ort.Start(ctx, install)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func cutThird(t *testing.T, p *ort.Process, path string, sum *tally) {
	f, err := onnxio.Open(path, onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := passes.Pipeline{Steps: []passes.Step{simplify.Simplify.Default()}}
	original, _, err := line.Run(context.Background(), f.Model, &passes.Env{})
	if err != nil {
		t.Fatal(err)
	}
	cut := original.Clone()
	g := Analyze(cut, op.InferModel(cut, op.InferOptions{}), Rules{})
	prunable, all := g.Share()
	units := 0
	for _, group := range g.List {
		units += len(group.Units)
	}
	t.Logf("%d groups, %d units, %.1f %% of %d weights can be cut", len(g.List), units, 100*float64(prunable)/float64(max(all, 1)), all)
	name := filepath.Base(path)
	sum.count(name, original, g)
	for _, r := range g.Refused {
		t.Logf("%v: axis %d of %q: %d of %d kept: %s (%d steps)", r.Node, r.Weight.Axis, r.Weight.Weight.Name(), r.Kept, r.Size, r.Reason, len(r.Chain))
	}
	if len(g.List) == 0 {
		return
	}
	gone := thirds(g)
	masks := cutsByName(g, gone)
	if _, err := g.Cut(gone); err != nil {
		t.Fatal(err)
	}
	if err := graph.Check(cut); err != nil {
		t.Fatal(err)
	}
	op.InferModel(original, op.InferOptions{})
	unmasked := original.Clone()
	mask(original, masks)
	if why := unfed[name]; why != "" {
		t.Skip(why)
	}
	spec := cmp.Or(feedsOf[name], "random:2")
	data, err := dataset.Open(spec, fedInputs(name, original))
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	want, got, whole := runORT(t, p, original, data), runORT(t, p, cut, data), runORT(t, p, unmasked, data)
	moved := 0.0
	for name, w := range want {
		d := distance(w, got[name])
		moved = max(moved, distance(w, whole[name]))
		t.Logf("output %q: %.2g", name, d)
		if !(d < tolerance(original)) {
			t.Errorf("output %q is %.3g of its range away from that of the masked original", name, d)
		}
	}
	if moved < 1e-6 {
		t.Errorf("what was cut makes no difference to any output")
	}
}

// fedInputs returns the inputs that are fed, with sizes where the model states
// none and takes no others.
func fedInputs(name string, m *graph.Model) []*graph.Value {
	ins := m.Graph.Inputs()
	if name != "silero_vad.onnx" {
		return ins
	}
	sized := graph.New("sized")
	sized.AddInput(ins[0].Name(), graph.TensorOf(tensor.Float32, graph.Dims{graph.Known(1), graph.Known(288)}))
	sized.AddInput(ins[1].Name(), graph.TensorOf(tensor.Float32, graph.DimsOf(tensor.Shape{2, 1, 128})))
	sized.AddInput(ins[2].Name(), ins[2].Type)
	return sized.Inputs()
}

// tolerance is what rounding to the elements of a model may make: a step of
// halves or of 8 bits where layers are fused with what rounds their results.
func tolerance(m *graph.Model) float64 {
	if quantized(m) {
		return 3e-2
	}
	return 1e-4
}

func quantized(m *graph.Model) bool { return hasInit(m, tensor.Int8, tensor.Uint8) }

func hasInit(m *graph.Model, types ...tensor.DType) bool {
	return slices.ContainsFunc(m.Graph.Inits(), func(v *graph.Value) bool { return slices.Contains(types, v.Init.DType()) })
}

// thirds picks a random third of every group.
func thirds(g *Groups) []*Unit {
	r := rand.New(rand.NewPCG(1, 2))
	var gone []*Unit
	for _, group := range g.List {
		n := (len(group.Units) + 2) / 3
		for _, i := range r.Perm(len(group.Units))[:n] {
			gone = append(gone, group.Units[i])
		}
	}
	return gone
}

type nameAxis struct {
	name string
	axis int
}

func cutsByName(g *Groups, units []*Unit) map[nameAxis][]int {
	m := map[nameAxis][]int{}
	for x, list := range union(units) {
		if x.value != nil {
			m[nameAxis{x.value.Name(), x.at}] = list
		}
	}
	return m
}

// mask multiplies what layers sum over, and what leaves the model, by zero at
// what is cut.
func mask(m *graph.Model, cuts map[nameAxis][]int) {
	for n := range m.Nodes(graph.InMain | graph.InSubgraphs) {
		for _, axis := range summedAxes(n) {
			if list := cuts[nameAxis{n.In(0).Name(), axis}]; len(list) > 0 {
				n.SetIn(0, masked(n, n.In(0), axis, list))
			}
		}
		if n.Is("LSTM", "GRU", "RNN") {
			if list := cuts[nameAxis{n.In(2).Name(), 2}]; len(list) > 0 {
				n.SetIn(2, masked(n, n.In(2), 2, list))
			}
		}
	}
	g := m.Graph
	for i, v := range g.Outputs() {
		for axis := range dimsOfAny(v) {
			if list := cuts[nameAxis{v.Name(), axis}]; len(list) > 0 {
				name := v.Name()
				g.Rename(v, g.Fresh(name))
				w := masked(nil, v, axis, list)
				g.Rename(w, name)
				w.Type = v.Type
				g.SetOutput(i, w)
			}
		}
	}
}

// summedAxes lists the axes of its first input that an operator sums over.
func summedAxes(n *graph.Node) []int {
	last := len(dimsOfAny(n.In(0))) - 1
	switch {
	case n.Is("Conv", "ConvTranspose"):
		return []int{1}
	case n.Is("Gemm") && n.Int("transA", 0) != 0:
		return []int{0}
	case n.Is("Gemm", "MatMul", "LSTM", "GRU", "RNN") || n.Op == "Attention":
		return []int{last}
	case n.Is("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum"):
		var axes []int
		for _, x := range append(n.Ints("axes"), intsOf(n.In(1))...) {
			axes = append(axes, int(x+int64(last)+1)%(last+1))
		}
		return axes
	}
	return nil
}

func intsOf(v *graph.Value) []int64 {
	if t := constant(v); t != nil {
		return tensor.Int64s(t)
	}
	return nil
}

// masked returns x times zero at some indices, for n to read, or at the end.
func masked(n *graph.Node, x *graph.Value, axis int, gone []int) *graph.Value {
	d := dimsOf(x)
	s := make(tensor.Shape, len(d))
	for i := range s {
		s[i] = 1
	}
	s[axis] = d[axis].Size
	keep := make([]float32, s[axis])
	for i := range keep {
		if _, cut := slices.BinarySearch(gone, i); !cut {
			keep[i] = 1
		}
	}
	g := x.Graph()
	if n != nil {
		g = n.Graph()
	}
	b := graph.NewBuilder(g, n)
	return b.Op("Mul", x, b.Const("keep", tensor.FromFloat32s(x.Type.Elem, s, keep)))
}

func runORT(t *testing.T, p *ort.Process, m *graph.Model, data *dataset.Data) map[string]tensor.Value {
	t.Helper()
	ctx := context.Background()
	var b bytes.Buffer
	if err := onnxio.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	s, err := p.Load(ctx, ort.Options{Model: b.Bytes(), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	sample, err := data.At(1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(ctx, sample.Feeds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// distance returns the greatest difference, over the greatest element.
func distance(want, got tensor.Value) float64 {
	a, okA := want.(*tensor.Tensor)
	b, okB := got.(*tensor.Tensor)
	if !okA || !okB || !a.Shape().Equal(b.Shape()) {
		return math.Inf(1)
	}
	worst, scale := 0.0, 1e-2
	y := tensor.Float64s(b)
	for i, x := range tensor.Float64s(a) {
		worst = max(worst, math.Abs(x-y[i]))
		scale = max(scale, math.Abs(x))
	}
	return worst / scale
}
