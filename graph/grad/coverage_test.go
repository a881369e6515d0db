package grad_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

var update = flag.Bool("update", false, "rewrite goldens")

// tables are the models of all tests, by the header they stand under.
var tables = []struct {
	header string
	models map[string]string
}{
	{header, models}, {header, nnModels}, {header, layerModels}, {newer, attentionModels},
	{newest, operatorModels}, {newestMicrosoft, microsoftModels}, {newestPrivate, privateModels},
}

// steps are operators whose results do not change when their inputs do by a
// little: what is random, rounded, or tells only shapes.
var steps = []string{
	"Bernoulli", "Ceil", "ConstantOfShape", "EyeLike", "Floor", "Hardmax", "MelWeightMatrix",
	"RandomNormalLike", "RandomUniformLike", "Round", "Sign",
}

// rounding are operators whose gradient is that of the number before it was
// rounded, which no difference shows: see TestFakeQuantizationGradients.
var rounding = []string{"QuantizeLinear"}

// Every operator with a gradient is in a model where that equals differences
// of the loss: in one of the tables, in a call generated from its schema, or
// in one of ONNX's node tests, where these are at hand. A vector whose
// gradient is refused names the input and the reason.
func TestGradientsOfEveryOperator(t *testing.T) {
	c := newCoverage()
	for _, table := range tables {
		for _, name := range slices.Sorted(maps.Keys(table.models)) {
			m, err := graph.ParseModel(table.header + table.models[name])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := c.judge(m, feedsOf(m)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for d := range op.All() {
		if grad.Has(d) && c.slopes[d] == 0 && d.Domain != op.PrivateDomain {
			c.addGenerated(t, d)
		}
	}
	t.Logf("tables: %v", c)
	dirs := vectorDirs()
	if len(dirs) == 0 {
		t.Log("skipped: ONNX's node tests, ONNXPACK_SHARED names no folder with them")
	}
	for _, dir := range dirs {
		if err := c.addVector(dir); err != nil {
			t.Errorf("%s: %v", filepath.Base(dir), err)
		}
	}
	t.Logf("with ONNX's node tests: %v", c)
	for d := range op.All() {
		switch {
		case !grad.Has(d) || gone(d):
		case slices.Contains(rounding, d.Name):
		case c.slopes[d] == 0 && (c.flat[d] == 0 || !slices.Contains(steps, d.Name)):
			t.Errorf("no test shows the gradient of operator %s of domain %q from version %d on", d.Name, d.Domain, d.Since)
		}
	}
}

func (c *coverage) String() string {
	shown := 0
	for d := range op.All() {
		if c.slopes[d]+c.flat[d] > 0 {
			shown++
		}
	}
	return fmt.Sprintf("%d operators in %d models compared; %d models say nothing, %d directions have no slope", shown, c.models, c.silent, c.kinks)
}

// addGenerated judges a call of an operator with the inputs that it must have,
// of the first shape that it takes.
func (c *coverage) addGenerated(t *testing.T, d *op.Def) {
	for _, shape := range []string{"2,3", "3,3", "1,2,4,4"} {
		text, ok := callOf(d, shape)
		if !ok {
			return
		}
		m, err := graph.ParseModel(text)
		if err != nil {
			t.Fatalf("%s: %v\n%s", d.Name, err, text)
		}
		if err := c.add(m, feedsOf(m)); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
		if c.slopes[d]+c.flat[d] > 0 {
			return
		}
	}
}

// callOf writes a model that calls an operator with floats of one shape.
func callOf(d *op.Def, shape string) (string, bool) {
	versions := op.Versions(d.Domain, d.Name)
	if len(versions) == 0 {
		return "", false
	}
	version := max(13, versions[len(versions)-1])
	opsets := fmt.Sprintf(`"": %d`, version)
	name := d.Name
	if d.Domain != "" {
		opsets, name = fmt.Sprintf(`"": 18, %q: 1`, d.Domain), d.Domain+"."+d.Name
	}
	s := op.SchemaOf(d.Domain, d.Name, version)
	if s == nil {
		return "", false
	}
	var types, names []string
	for i, f := range s.In {
		if f.Optional {
			continue
		}
		elem := ""
		for _, d := range []tensor.DType{tensor.Float64, tensor.Float32} {
			if elem == "" && f.Allows(graph.TensorOf(d, nil)) {
				elem = d.String()
			}
		}
		if elem == "" {
			return "", false
		}
		names = append(names, fmt.Sprintf("x%d", i))
		types = append(types, fmt.Sprintf("%s[%s] x%d", elem, shape, i))
	}
	first, _, _ := strings.Cut(append(types, "float[")[0], "[")
	return fmt.Sprintf("<ir_version: 10, opset_import: [%s]> g (%s) => (%s y) { y = %s (%s) }",
		opsets, strings.Join(types, ", "), first, name, strings.Join(names, ", ")), true
}

// feedsOf draws values for the floats that m takes, all near 1.
func feedsOf(m *graph.Model) map[string]tensor.Value {
	feeds := map[string]tensor.Value{}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, v := range m.Graph.Feeds() {
		shape, _ := v.Type.Shape.Static()
		if v.Type.Kind == graph.KindSparse {
			feeds[v.Name()] = &tensor.Sparse{Shape: shape, Values: tensor.Vector[float32](1, 2), Indices: tensor.Vector[int64](0, 5)}
			continue
		}
		x := make([]float64, shape.Len())
		for i := range x {
			x[i] = 0.3 + rng.Float64()
		}
		feeds[v.Name()] = tensor.FromFloat64s(v.Type.Elem, shape, x)
	}
	return feeds
}

// Every operator without a gradient is listed with the reason, but for those
// that take no floats or give none, or are gone before opset 13.
func TestOperatorsWithoutGradient(t *testing.T) {
	const golden = "testdata/without_gradient.txt"
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		name, reason, _ := strings.Cut(line, "\t")
		if reasons[name] = strings.TrimSpace(reason); reasons[name] == "" {
			t.Errorf("%s: operator %s has no reason", golden, name)
		}
	}
	missing := map[string]bool{}
	for d := range op.All() {
		if grad.Has(d) || d.Domain == op.PrivateDomain || gone(d) || !mapsFloats(d) {
			continue
		}
		name := d.Name
		if d.Domain != "" {
			name = d.Domain + "." + d.Name
		}
		missing[name] = true
		if reasons[name] == "" {
			t.Errorf("operator %s has no gradient and stands not in %s", name, golden)
		}
	}
	for name := range reasons {
		if !missing[name] {
			t.Errorf("%s: operator %s has a gradient, or is not known", golden, name)
		}
	}
}

// gone reports whether an operator ends before opset 13, with which gradients
// begin.
func gone(d *op.Def) bool { return d.Until != 0 && d.Until < 13 }

// mapsFloats reports whether an operator takes and gives floats, also in
// subgraphs, sequences and optional values, in its newest version. One without
// a schema counts as if it did.
func mapsFloats(d *op.Def) bool {
	versions := op.Versions(d.Domain, d.Name)
	if len(versions) == 0 {
		return true
	}
	s := d.Schema(versions[len(versions)-1])
	return s == nil || slices.ContainsFunc(s.In, takesFloat) && slices.ContainsFunc(s.Out, takesFloat)
}

func takesFloat(f op.Formal) bool {
	return slices.ContainsFunc(f.Types, func(t *graph.Type) bool {
		for t != nil && t.Kind != graph.KindTensor {
			t = t.Item
		}
		return t != nil && t.Elem == tensor.Float32
	})
}
