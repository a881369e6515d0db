// Package opset rewrites models from one version of ONNX's standard operators
// to a later one.
//
// Floor 4. It knows the changes that are not compatible; where a change cannot
// be followed the model stays as it was.
package opset

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Latest is the version up to which changes are known.
const Latest = 13

// change is a change of an operator that its earlier form does not survive.
type change struct {
	since int64
	// rewrite gives n the later form, or says why it cannot.
	rewrite func(n *graph.Node) error
}

// changes lists, by operator, the incompatible changes after version 6 in
// order of version.
var changes = map[string][]change{
	"BatchNormalization": {{9, spatialNorm}},
	"Affine":             {{10, experimental}},
	"Crop":               {{10, experimental}},
	"DynamicSlice":       {{10, experimental}},
	"GRUUnit":            {{10, experimental}},
	"GivenTensorFill":    {{10, experimental}},
	"ImageScaler":        {{10, experimental}},
	"ParametricSoftplus": {{10, experimental}},
	"Scale":              {{10, experimental}},
	"ScaledTanh":         {{10, experimental}},
	"Upsample":           {{9, refuse("its scales became an input")}, {10, refuse("it was taken out")}},
	"Scan":               {{9, refuse("its batch axis went")}},
	"Slice":              {{10, inputs("starts", "ends", "axes")}},
	"TopK":               {{10, scalarInput("k")}},
	"Resize":             {{11, refuse("its coordinates changed")}},
	"Clip":               {{11, clipBounds}},
	"Pad":                {{11, padInputs}},
	"Scatter":            {{11, rename("ScatterElements")}},
	"Dropout":            {{12, dropoutRatio}},
	"Squeeze":            {{13, inputs("axes")}},
	"Unsqueeze":          {{13, inputs("axes")}},
	"ReduceSum":          {{13, inputs("axes")}},
	"Split":              {{13, inputs("split")}},
	"Softmax":            {{13, flatSoftmax}},
	"LogSoftmax":         {{13, flatSoftmax}},
	"Hardmax":            {{13, flatSoftmax}},
}

// Raise returns a copy of m that speaks the given version of the standard
// operators; m itself if it does already. It fails if the model speaks one
// before 7, has functions, or holds a node whose change cannot be followed.
func Raise(m *graph.Model, to int64) (*graph.Model, error) {
	from := m.Opset("")
	switch {
	case from >= to:
		return m, nil
	case from < 7 || to > Latest:
		return nil, fmt.Errorf("the model speaks opset %d, want 7 to %d, to be raised to %d", from, Latest, to)
	case len(m.Functions) > 0:
		return nil, fmt.Errorf("the model has functions, which have versions of their own")
	}
	c := m.Clone()
	for n := range c.Nodes(graph.Everywhere) {
		if err := raiseNode(n, from, to); err != nil {
			return nil, err
		}
	}
	c.SetOpset("", to)
	return c, nil
}

// raiseNode follows the changes of n's operator after one version up to
// another.
func raiseNode(n *graph.Node, from, to int64) error {
	if n.Domain != "" {
		return nil
	}
	for _, c := range changes[n.Op] {
		if c.since <= from || c.since > to {
			continue
		}
		if err := c.rewrite(n); err != nil {
			return fmt.Errorf("%v in opset %d: %w", n, c.since, err)
		}
	}
	return nil
}

// experimental operators were never part of a later version.
var experimental = refuse("it was an experiment that ended")

func refuse(why string) func(*graph.Node) error {
	return func(*graph.Node) error { return fmt.Errorf("%s", why) }
}

func rename(op string) func(*graph.Node) error {
	return func(n *graph.Node) error {
		n.Op = op
		return nil
	}
}

// give makes t input i of n.
func give(n *graph.Node, i int, name string, t *tensor.Tensor) {
	n.SetIn(i, n.Graph().AddInit(name, t))
}

// inputs turns lists of integers from attributes into inputs from slot 1 on.
func inputs(names ...string) func(*graph.Node) error {
	return func(n *graph.Node) error {
		for i, name := range names {
			if n.Attr(name) == nil {
				continue
			}
			give(n, i+1, name, tensor.Vector(n.Ints(name)...))
			n.DropAttr(name)
		}
		return nil
	}
}

func scalarInput(name string) func(*graph.Node) error {
	return func(n *graph.Node) error {
		give(n, 1, name, tensor.Vector(n.Int(name, 0)))
		n.DropAttr(name)
		return nil
	}
}

func spatialNorm(n *graph.Node) error {
	if n.Int("spatial", 1) == 0 {
		return fmt.Errorf("statistics for each position went")
	}
	n.DropAttr("spatial")
	return nil
}

// elemOf returns the type of n's operand, which a bound has to have too.
func elemOf(n *graph.Node) (tensor.DType, error) {
	v := n.In(0)
	if v == nil || v.Type == nil || v.Type.Kind != graph.KindTensor || !v.Type.Elem.Valid() {
		return 0, fmt.Errorf("the type of its operand is not known")
	}
	return v.Type.Elem, nil
}

func clipBounds(n *graph.Node) error {
	d, err := elemOf(n)
	if err != nil {
		return err
	}
	for i, name := range []string{"min", "max"} {
		if n.Attr(name) == nil {
			continue
		}
		give(n, i+1, name, tensor.FromFloat32s(d, tensor.Shape{}, []float32{n.Float(name, 0)}))
		n.DropAttr(name)
	}
	return nil
}

func padInputs(n *graph.Node) error {
	d, err := elemOf(n)
	if err != nil {
		return err
	}
	give(n, 1, "pads", tensor.Vector(n.Ints("pads")...))
	n.DropAttr("pads")
	if n.Str("mode", "constant") == "constant" && n.Attr("value") != nil {
		give(n, 2, "value", tensor.FromFloat32s(d, tensor.Shape{}, []float32{n.Float("value", 0)}))
	}
	n.DropAttr("value")
	return nil
}

func dropoutRatio(n *graph.Node) error {
	if n.Attr("ratio") == nil {
		return nil
	}
	give(n, 1, "ratio", tensor.Scalar(n.Float("ratio", 0.5)))
	n.DropAttr("ratio")
	return nil
}

// flatSoftmax follows the change from rows of a matrix, which all axes from
// "axis" on make, to one axis: the same where those after it have one element.
func flatSoftmax(n *graph.Node) error {
	var d graph.Dims
	if v := n.In(0); v.Type != nil {
		d = v.Type.Shape
	}
	axis := int(n.Int("axis", 1))
	if axis < 0 {
		axis += len(d)
	}
	if axis < 0 || axis >= len(d) {
		return fmt.Errorf("the shape of its operand is not known")
	}
	for _, x := range d[axis+1:] {
		if !x.IsKnown() || x.Size != 1 {
			return fmt.Errorf("it takes several axes together")
		}
	}
	n.SetAttr(graph.IntAttr("axis", int64(axis)))
	return nil
}
