package onnxgo

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	onnx "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"github.com/owulveryck/onnx-go/backend/testbackend"
	_ "github.com/owulveryck/onnx-go/backend/testbackend/onnx"
	gorgonia "gorgonia.org/tensor"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
)

var _ backend.ComputationBackend = (*Backend)(nil)

// TestSuite runs the tests that onnx-go bundles. Those that onnx-go itself
// cannot read are counted and passed over.
func TestSuite(t *testing.T) {
	passed, unread := 0, 0
	for _, newCase := range testbackend.GetAllRegisteredTests() {
		c := newCase()
		if err := repair(c); err != nil {
			t.Errorf("%s: %v", c.Title, err)
			continue
		}
		read, err := runCase(c)
		switch {
		case !read:
			unread++
			t.Logf("%s: onnx-go: %.80v", c.Title, err)
		case err != nil:
			t.Errorf("%s: %v", c.Title, err)
		default:
			passed++
		}
	}
	t.Logf("%d passed, %d not read by onnx-go", passed, unread)
}

// repair gives the vectors the types and shapes that the model states: where
// ONNX has scalars and integers, the bundle has some of them as float[1].
func repair(c *testbackend.TestCase) error {
	m, err := onnxio.Decode(c.ModelB, onnxio.OpenOptions{})
	if err != nil {
		return err
	}
	if err := repairAll(m.Graph.Feeds(), c.Input); err != nil {
		return err
	}
	return repairAll(m.Graph.Outputs(), c.ExpectedOutput)
}

func repairAll(values []*graph.Value, vectors []gorgonia.Tensor) error {
	for i, v := range values {
		x, err := FromGorgonia(vectors[i])
		if err != nil {
			return err
		}
		shape, static := v.Type.Shape.Static()
		if x.DType() == v.Type.Elem && v.Type.Shape.Admits(x.Shape()) || !static {
			continue
		}
		if x, err = tensor.Convert(x, v.Type.Elem, false, 0); err != nil {
			return err
		}
		if vectors[i], err = ToGorgonia(x.Reshape(shape)); err != nil {
			return err
		}
	}
	return nil
}

// runCase runs a test and reports whether onnx-go could read its model.
func runCase(c *testbackend.TestCase) (read bool, err error) {
	b := NewBackend()
	m := onnx.NewModel(b)
	if err := readModel(m, c.ModelB); err != nil {
		return false, err
	}
	for i, x := range c.Input {
		if err := m.SetInput(i, x); err != nil {
			return true, err
		}
	}
	if err := b.Run(); err != nil {
		return true, err
	}
	out, err := m.GetOutputTensors()
	if err != nil {
		return true, err
	}
	if len(out) != len(c.ExpectedOutput) {
		return true, fmt.Errorf("%d outputs, want %d", len(out), len(c.ExpectedOutput))
	}
	for i := range out {
		want, err := FromGorgonia(c.ExpectedOutput[i])
		if err != nil {
			return true, err
		}
		got, err := FromGorgonia(out[i])
		if err != nil {
			return true, err
		}
		if err := compare(want, got); err != nil {
			return true, fmt.Errorf("output %d: %w", i, err)
		}
	}
	return true, nil
}

// readModel turns a panic of onnx-go into an error.
func readModel(m *onnx.Model, data []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", strings.SplitN(fmt.Sprint(r), "\n", 2)[0])
		}
	}()
	return m.UnmarshalBinary(data)
}

// compare uses the tolerances of ONNX's own runner.
func compare(want, got *tensor.Tensor) error {
	const relative, absolute = 1e-3, 1e-7
	if want.String() != got.String() {
		return fmt.Errorf("is %v, want %v", got, want)
	}
	if !want.DType().IsFloat() {
		if !want.Equal(got) {
			return fmt.Errorf("%v has other elements", got)
		}
		return nil
	}
	a, b := floats(want), floats(got)
	for i := range a {
		same := a[i] == b[i] || math.IsNaN(a[i]) && math.IsNaN(b[i])
		if !same && !(math.Abs(a[i]-b[i]) <= absolute+relative*math.Abs(a[i])) {
			return fmt.Errorf("element %d is %g, want %g", i, b[i], a[i])
		}
	}
	return nil
}

func floats(t *tensor.Tensor) []float64 {
	if t.DType() == tensor.Float64 {
		return slices.Clone(tensor.Data[float64](t))
	}
	var list []float64
	for _, x := range tensor.Data[float32](t) {
		list = append(list, float64(x))
	}
	return list
}
