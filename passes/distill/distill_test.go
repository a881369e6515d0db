package distill_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/distill"
)

// chain returns a network of residual blocks over small maps, with random
// weights.
func chain(blocks, channels int, seed uint64) *graph.Model {
	m := &graph.Model{IRVersion: 8, Opsets: []graph.Opset{{Domain: "", Version: 17}}, Graph: graph.New("chain")}
	m.Graph.Attach(m)
	b := graph.NewBuilder(m.Graph, nil)
	r := rand.New(rand.NewPCG(seed, 3))
	weights := func(shape ...int) *graph.Value {
		w := tensor.New(tensor.Float32, shape)
		for i := range tensor.Data[float32](w) {
			tensor.Data[float32](w)[i] = float32(r.NormFloat64() / math.Sqrt(float64(w.Len()/shape[0])))
		}
		return b.Const("w", w)
	}
	pads := []*graph.Attr{graph.IntsAttr("pads", 1, 1, 1, 1)}
	known := graph.Known
	h := m.Graph.AddInput("x", graph.TensorOf(tensor.Float32, graph.Dims{known(1), known(2), known(6), known(6)}))
	h = b.Op("Relu", b.OpAttrs("Conv", pads, h, weights(channels, 2, 3, 3)))
	for range blocks {
		f := b.OpAttrs("Conv", pads, b.Op("Relu", b.OpAttrs("Conv", pads, h, weights(channels, channels, 3, 3))), weights(channels, channels, 3, 3))
		h = b.Op("Relu", b.Op("Add", h, f))
	}
	h = b.OpAttrs("Flatten", []*graph.Attr{graph.IntAttr("axis", 1)}, b.Op("GlobalAveragePool", h))
	y := b.Op("MatMul", h, weights(channels, 4))
	m.Graph.Rename(y, "y")
	y.Type = graph.TensorOf(tensor.Float32, graph.Dims{known(1), known(4)})
	m.Graph.AddOutput(y)
	return m
}

func unlabelled(t *testing.T, m *graph.Model) passes.Data {
	d, err := dataset.Open("random:48?seed=5", m.Graph.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	return d.All
}

// distilled runs distill with the given options and returns the loss of each
// epoch.
func distilled(t *testing.T, options string, m *graph.Model, env *passes.Env) (*graph.Model, *passes.StepReport, []float64) {
	t.Helper()
	steps, err := passes.ParseSteps("distill="+options, []*passes.Pass{distill.Distill})
	if err != nil {
		t.Fatal(err)
	}
	m, report, err := passes.Pipeline{Steps: steps}.Run(context.Background(), m, env)
	if err != nil {
		t.Fatal(err)
	}
	return m, report.Steps[0], curve(t, report.Steps[0], "loss")
}

func curve(t *testing.T, s *passes.StepReport, name string) []float64 {
	t.Helper()
	for _, c := range s.Curves {
		if c.Name == name {
			return c.Y
		}
	}
	t.Fatalf("there is no curve %q among %v", name, s.Curves)
	return nil
}

// TestTerms distills into a narrower student by each term alone: the loss
// falls.
func TestTerms(t *testing.T) {
	teacher := chain(2, 8, 1)
	for _, term := range []string{
		"kl:1", "kl:0;mse:1", "kl:0;dkd:1", "kl:0;rkd:1", "kl:0;hidden:1", "kl:0;attention:1", "kl:1;hidden:1;ema:0.5",
		"kl:1;mixup:0.3;flip:true;shift:1",
	} {
		t.Run(term, func(t *testing.T) {
			env := &passes.Env{Calibration: unlabelled(t, teacher), Models: map[string]*graph.Model{"teacher": teacher}, Seed: 1, Threads: 1}
			_, _, loss := distilled(t, "epochs:12;batch:8;lr:0.01;"+term, chain(1, 5, 2), env)
			if best := slices.Min(loss); !(best < 0.8*loss[0]) {
				t.Errorf("the loss goes %.4f", loss)
			}
		})
	}
}

// TestMadeStudent halves a model: blocks go, and the rest follows it.
func TestMadeStudent(t *testing.T) {
	m := chain(6, 6, 1)
	env := &passes.Env{Calibration: unlabelled(t, m), Seed: 1, Threads: 1}
	made, report, loss := distilled(t, "student:layers=3;epochs:10;batch:8;lr:0.003", m.Clone(), env)
	if n := made.CountOps(graph.InMain)["Add"]; n != 3 {
		t.Errorf("%d blocks are left, want 3", n)
	}
	if report.Figures["blocks dropped"] != 3 {
		t.Errorf("report says %v", report.Figures)
	}
	if best := slices.Min(loss); !(best < loss[0]) {
		t.Errorf("the loss goes %.4f", loss)
	}
	if in := made.Graph.Inputs()[0].Type; !in.Equal(m.Graph.Inputs()[0].Type) {
		t.Errorf("the input became %v", in)
	}
}

// TestBlockwise trains a student block by block; each block comes closer to
// the teacher's, its weights move, and the model comes close to its teacher.
func TestBlockwise(t *testing.T) {
	teacher := chain(2, 8, 1)
	student := chain(2, 5, 2)
	var last string // of the values of the last residual block
	for n := range student.Graph.Nodes() {
		if n.Is("Relu") {
			last = n.Out(0).Name()
		}
	}
	for _, c := range []struct {
		pairs  string
		blocks int
		rest   float64 // of the loss that a block begins with
	}{
		{";pairs:" + last, 2, 0.8},
		{"", 4, 0.9}, // matched: before and behind both residual blocks
	} {
		env := &passes.Env{Calibration: unlabelled(t, teacher), Models: map[string]*graph.Model{"teacher": teacher}, Seed: 1, Threads: 1}
		steps, err := passes.ParseSteps("distill=blockwise:true;epochs:12;batch:8;lr:0.01"+c.pairs, []*passes.Pass{distill.Distill})
		if err != nil {
			t.Fatal(err)
		}
		made, all, err := passes.Pipeline{Steps: steps}.Run(context.Background(), student.Clone(), env)
		if err != nil {
			t.Fatal(err)
		}
		report := all.Steps[0]
		if report.Figures["blocks trained"] != float64(c.blocks) {
			t.Errorf("%d blocks: figures are %v", c.blocks, report.Figures)
		}
		for k := range c.blocks {
			block := fmt.Sprintf("block %d of %d", k+1, c.blocks)
			if loss := curve(t, report, block+", loss"); loss[len(loss)-1] > c.rest*loss[0] {
				t.Errorf("%s: the loss goes %.4f", block, loss)
			}
		}
		for _, v := range made.Graph.Inits() {
			if v.Init.Tensor.Equal(student.Graph.Value(v.Name()).Init.Tensor) {
				t.Errorf("%d blocks: %q did not move", c.blocks, v.Name())
			}
		}
	}
}

// TestReestimate gives a normalization whose statistics are off those of the
// data: they become 3 and 4, the mean and variance of the data.
func TestReestimate(t *testing.T) {
	m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 13]>
		g (float[1, 2, 2] x) => (float[1, 2, 2] y)
		<float[2] s = {1, 1}, float[2] b = {0, 0}, float[2] mean = {9, 9}, float[2] var = {7, 7}, float k = {2}, float c = {3}> {
			d = Mul (x, k)
			e = Add (d, c)
			y = BatchNormalization (e, s, b, mean, var)
		}`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataset.Open("random:4000?seed=5", m.Graph.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	line := passes.Pipeline{Steps: []passes.Step{distill.ReestimateNorms.Default()}}
	m, report, err := line.Run(context.Background(), m, &passes.Env{Calibration: d.All})
	if err != nil {
		t.Fatal(err)
	}
	if report.Steps[0].Changed != 1 {
		t.Errorf("changed %d, want 1", report.Steps[0].Changed)
	}
	for name, want := range map[string]float64{"mean": 3, "var": 4} {
		for _, x := range tensor.Float32s(m.Graph.Value(name).Init.Tensor) {
			if math.Abs(float64(x)-want) > 0.2 {
				t.Errorf("%s is %v, want about %v", name, x, want)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	m := chain(2, 4, 1)
	other := chain(2, 4, 1)
	wide := other.Graph.Outputs()[0].Producer()
	other.Graph.SetInit(wide.In(1), &graph.Literal{Tensor: tensor.New(tensor.Float32, tensor.Shape{4, 7})})
	other.Graph.Outputs()[0].Type = graph.TensorOf(tensor.Float32, graph.Dims{graph.Known(1), graph.Known(7)})
	for _, c := range []struct {
		pass    string
		teacher *graph.Model
		want    string
	}{
		{"distill", nil, "no model to learn from"},
		{"distill", other, "has 4 elements, the teacher's has 7"},
		{"distill=hard:1", m, "needs labels"},
		{"distill=hidden:1;pairs:nope", m, `there is no value "nope"`},
		{"distill=student:depth=0.01", nil, "no residual block left"},
		{"distill=freeze:w*|nope", m, `no initializer matches "nope"`},
		{"fine-tune", nil, "no labels"},
	} {
		steps, err := passes.ParseSteps(c.pass, []*passes.Pass{distill.Distill, distill.FineTune})
		if err != nil {
			t.Fatal(err)
		}
		env := &passes.Env{Calibration: unlabelled(t, m), Models: map[string]*graph.Model{}}
		if c.teacher != nil {
			env.Models["teacher"] = c.teacher
		}
		_, _, err = passes.Pipeline{Steps: steps}.Run(context.Background(), m.Clone(), env)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one with %q", c.pass, err, c.want)
		}
	}
}
