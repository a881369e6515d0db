package grad_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
)

// coverage tells how gradients of operators were checked.
type coverage struct {
	models   int // in which a gradient was compared
	silent   int // models without floats, or with random results
	kinks    int
	slopes   map[*op.Def]int
	flat     map[*op.Def]int
	refusals map[string]int // reasons why a feed has no gradient
}

func newCoverage() *coverage {
	return &coverage{slopes: map[*op.Def]int{}, flat: map[*op.Def]int{}, refusals: map[string]int{}}
}

// add judges a model that may say nothing.
func (c *coverage) add(m *graph.Model, feeds map[string]tensor.Value) error {
	err := c.judge(m, feeds)
	if errors.Is(err, errSilent) {
		c.silent++
		return nil
	}
	return err
}

// judge judges a model and counts its operators.
func (c *coverage) judge(m *graph.Model, feeds map[string]tensor.Value) error {
	tr := &trial{model: m, feeds: feeds}
	outcomes, err := tr.judge()
	if err != nil {
		return err
	}
	c.models++
	for _, o := range outcomes {
		c.kinks += o.kinks
		if o.refused != nil {
			c.refusals[o.refused.Error()]++
		}
		for d := range differentiated(m) {
			c.slopes[d] += o.slopes
			c.flat[d] += o.flat
		}
	}
	return nil
}

// differentiated lists the operators of m that have a gradient.
func differentiated(m *graph.Model) map[*op.Def]bool {
	defs := map[*op.Def]bool{}
	for g := range m.Graph.Walk() {
		for n := range g.Nodes() {
			if d := op.Find(n.Domain, n.Op, n.Opset()); d != nil && grad.Has(d) {
				defs[d] = true
			}
		}
	}
	return defs
}

// widened returns a copy of m that takes and gives float64 in place of
// narrower floats, with its feeds; it may be no valid model.
func widened(m *graph.Model, feeds map[string]tensor.Value) (*graph.Model, map[string]tensor.Value) {
	m = m.Clone()
	wide := map[string]tensor.Value{}
	for name, v := range feeds {
		if t, ok := v.(*tensor.Tensor); ok {
			v = widenedTensor(t)
		}
		wide[name] = v
	}
	for g := range m.Graph.Walk() {
		for _, v := range g.Inits() {
			if v.Init.Tensor != nil {
				g.SetInit(v, &graph.Literal{Tensor: widenedTensor(v.Init.Tensor)})
			}
		}
		for v := range g.Values() {
			if t := v.Type; t != nil && t.Kind == graph.KindTensor && narrow(t.Elem) {
				v.Type = graph.TensorOf(tensor.Float64, t.Shape)
			}
		}
		for n := range g.Nodes() {
			widenAttrs(n)
		}
	}
	return m, wide
}

func narrow(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float16 || d == tensor.BFloat16
}

func widenedTensor(t *tensor.Tensor) *tensor.Tensor {
	if !narrow(t.DType()) {
		return t
	}
	return tensor.FromFloat64s(tensor.Float64, t.Shape(), tensor.Float64s(t))
}

// widenAttrs makes float64 of the types that attributes name and the tensors
// that they hold.
func widenAttrs(n *graph.Node) {
	if n.Is("Cast") && narrow(tensor.DType(n.Int("to", 0))) {
		n.SetAttr(graph.IntAttr("to", int64(tensor.Float64)))
	}
	if a := n.Attr("value"); n.Is("Constant", "ConstantOfShape") && a != nil && len(a.Literals) == 1 && a.Literals[0].Tensor != nil {
		n.SetAttr(graph.TensorAttr("value", widenedTensor(a.Literals[0].Tensor)))
	}
}

// vectorFeeds reads the inputs of one of ONNX's node tests.
func vectorFeeds(dir string, m *graph.Model) (map[string]tensor.Value, error) {
	feeds := map[string]tensor.Value{}
	for i, v := range m.Graph.Feeds() {
		file := filepath.Join(dir, "test_data_set_0", fmt.Sprintf("input_%d.pb", i))
		x, err := onnxio.ReadValue(file, v.Type)
		if err != nil {
			return nil, err
		}
		feeds[v.Name()] = x
	}
	return feeds, nil
}

// vectorDirs lists ONNX's node tests, none where they are not at hand.
func vectorDirs() []string {
	dirs, _ := filepath.Glob(filepath.Join(os.Getenv("ONNXPACK_SHARED"), "onnx-backend-tests", "node", "test_*"))
	slices.Sort(dirs)
	return dirs
}

// addVector judges a node test, in float64 where the engine admits it.
func (c *coverage) addVector(dir string) error {
	f, err := onnxio.Open(filepath.Join(dir, "model.onnx"), onnxio.OpenOptions{})
	if err != nil {
		return err
	}
	defer f.Close()
	m := f.Model
	feeds, err := vectorFeeds(dir, m)
	if err != nil || m.Opset("") < 13 {
		c.silent++
		return nil
	}
	if roundsOff(m) {
		c.silent++
		return nil
	}
	wide, wideFeeds := widened(m, feeds)
	if out, err := runTrial(wide, wideFeeds); err == nil && givesDouble(out) {
		return c.add(wide, wideFeeds)
	}
	return c.add(m, feeds)
}

// roundsOff reports whether m has an operator that rounds and whose gradient
// is that of the number before it was rounded: it has tests of its own.
func roundsOff(m *graph.Model) bool {
	for g := range m.Graph.Walk() {
		for n := range g.Nodes() {
			if n.Op == "QuantizeLinear" {
				return true
			}
		}
	}
	return false
}

func givesDouble(out map[string]tensor.Value) bool {
	for _, v := range out {
		if t, ok := v.(*tensor.Tensor); ok && t.DType() == tensor.Float64 {
			return true
		}
	}
	return false
}
