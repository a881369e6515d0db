package train

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Scope is where the terms of a loss append their nodes.
type Scope struct {
	*graph.Builder
	base  *base
	batch int // samples of a batch, 0 if any number
}

// Output returns the output of the given name, the first if it is "".
func (s *Scope) Output(name string) (*graph.Value, error) {
	outs := s.base.orig.Graph.Outputs()
	for _, v := range outs {
		if name == "" || v.Name() == name {
			return s.Value(v.Name())
		}
	}
	return nil, fmt.Errorf("the model has no output %q", name)
}

// Value returns the value of the given name.
func (s *Scope) Value(name string) (*graph.Value, error) {
	if v := s.Graph().Value(name); v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("the model has no value %q", name)
}

// Logits returns what the output's final activation (Softmax, LogSoftmax or
// Sigmoid) is applied to, the output itself if there is none.
func (s *Scope) Logits(output string) (*graph.Value, error) {
	v, err := s.Output(output)
	if err != nil {
		return nil, err
	}
	return logits(v), nil
}

// LogitsName is the name of the value that [Scope.Logits] returns for m.
func LogitsName(m *graph.Model, output string) string {
	for _, v := range m.Graph.Outputs() {
		if output == "" || v.Name() == output {
			return logits(v).Name()
		}
	}
	return output
}

func logits(v *graph.Value) *graph.Value {
	x := v
	for n := x.Producer(); n != nil && n.In(0) != nil; n = x.Producer() {
		if !n.Is("Identity", "Softmax", "LogSoftmax", "Sigmoid", "Cast", "Dropout") {
			break
		}
		x = n.In(0)
		if n.Is("Softmax", "LogSoftmax", "Sigmoid") {
			return x
		}
	}
	return v
}

// Shape returns the shape of v without the batch axis.
func (s *Scope) Shape(v *graph.Value) (tensor.Shape, error) {
	if v.Type == nil || len(v.Type.Shape) == 0 {
		return nil, fmt.Errorf("%v is %v: its shape is not known, so that no loss can be taken of it", v, v.Type)
	}
	d, ok := v.Type.Shape[1:].Static()
	if !ok {
		return nil, fmt.Errorf("%v is %v: want dimensions that are known but for the batch", v, v.Type)
	}
	return d, nil
}

// Classes returns v as [batch, classes], and how many classes there are.
func (s *Scope) Classes(v *graph.Value) (*graph.Value, int, error) {
	shape, err := s.Shape(v)
	if err != nil {
		return nil, 0, err
	}
	if len(shape) != 1 {
		v = s.OpAttrs("Flatten", []*graph.Attr{graph.IntAttr("axis", 1)}, v)
		v.Type = graph.TensorOf(tensor.Float32, graph.Dims{batchDim(s.batch), graph.Known(shape.Len())})
	}
	return v, shape.Len(), nil
}

// Feed declares an input of the given shape, to which the batch axis is put
// in front. One that is declared already is returned as it is.
func (s *Scope) Feed(name string, elem tensor.DType, shape tensor.Shape) *graph.Value {
	if v := s.Graph().Value(name); v != nil {
		return v
	}
	d := append(graph.Dims{batchDim(s.batch)}, graph.DimsOf(shape)...)
	return s.Graph().AddInput(name, graph.TensorOf(elem, d))
}

// Param declares a trained tensor of the loss, such as a projection, that the
// model does not keep; make gives its first contents.
func (s *Scope) Param(name string, make func() *tensor.Tensor) *graph.Value {
	p := s.base.extra[name]
	if p == nil {
		p = newParam(name, make())
		s.base.extra[name] = p
		s.base.params = append(s.base.params, p)
	}
	if v := s.Graph().Value(name); v != nil {
		return v
	}
	return s.Graph().AddInit(name, p.tensor)
}

// Number returns a constant scalar.
func (s *Scope) Number(x float64) *graph.Value {
	return s.Const("loss/c", tensor.Scalar(float32(x)))
}

// Mean is the mean of all elements of x.
func (s *Scope) Mean(x *graph.Value) *graph.Value {
	return s.OpAttrs("ReduceMean", []*graph.Attr{graph.IntAttr("keepdims", 0)}, x)
}

// Sum sums x over axes; keep leaves them with size 1.
func (s *Scope) Sum(x *graph.Value, keep bool, axes ...int64) *graph.Value {
	k := int64(0)
	if keep {
		k = 1
	}
	return s.OpAttrs("ReduceSum", []*graph.Attr{graph.IntAttr("keepdims", k)}, x, s.Const("loss/axes", tensor.Vector(axes...)))
}

// LogSoftmax is that of [batch, classes] values divided by temperature.
func (s *Scope) LogSoftmax(x *graph.Value, temperature float64) *graph.Value {
	if temperature != 1 {
		x = s.Op("Mul", x, s.Number(1/temperature))
	}
	return s.OpAttrs("LogSoftmax", []*graph.Attr{graph.IntAttr("axis", 1)}, x)
}

// FeedAll declares an input for each name of shapes, under what rename makes
// of it: a loss that is fed more than it reads is no error.
func (s *Scope) FeedAll(shapes map[string]tensor.Shape, rename func(string) string) {
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		s.Feed(rename(name), tensor.Float32, shapes[name])
	}
}
