package opset

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// scalar returns a value of input 0's type.
func (s *site) scalar(name string, x float32) (*graph.Value, error) {
	d, err := s.elem(0)
	if err != nil {
		return nil, err
	}
	return s.value(name, tensor.FromFloat64s(d, tensor.Shape{}, []float64{float64(x)})), nil
}

// scalars returns attributes as values of input 0's type.
func (s *site) scalars(first, second string, def1, def2 float32) (a, b *graph.Value, err error) {
	if a, err = s.scalar(first, s.node.Float(first, def1)); err != nil {
		return nil, nil, err
	}
	b, err = s.scalar(second, s.node.Float(second, def2))
	return a, b, err
}

// supplant puts an operator with one result in the place of the node.
func (s *site) supplant(op string, in ...*graph.Value) {
	s.node.Graph().Supplant(s.node, graph.NewNode("", op, in, 1))
}

// affineParts writes Affine as alpha x + beta.
func affineParts(s *site) error {
	alpha, beta, err := s.scalars("alpha", "beta", 1, 0)
	if err == nil {
		s.supplant("Add", s.builder().Op("Mul", s.node.In(0), alpha), beta)
	}
	return err
}

// tanhParts writes ScaledTanh as alpha tanh(beta x).
func tanhParts(s *site) error {
	alpha, beta, err := s.scalars("alpha", "beta", 1, 1)
	if err == nil {
		b := s.builder()
		s.supplant("Mul", b.Op("Tanh", b.Op("Mul", s.node.In(0), beta)), alpha)
	}
	return err
}

// softplusParts writes ParametricSoftplus as alpha softplus(beta x).
func softplusParts(s *site) error {
	alpha, beta, err := s.scalars("alpha", "beta", 1, 1)
	if err == nil {
		b := s.builder()
		s.supplant("Mul", b.Op("Softplus", b.Op("Mul", s.node.In(0), beta)), alpha)
	}
	return err
}

// scalerParts writes ImageScaler as scale x + bias, a bias for each channel of
// [N,C,H,W].
func scalerParts(s *site) error {
	scale, err := s.scalar("scale", s.node.Float("scale", 1))
	if err != nil {
		return err
	}
	d, _ := s.elem(0) // known, as scalar has asked for it
	given := s.node.Floats("bias")
	bias := make([]float64, len(given))
	for i, x := range given {
		bias[i] = float64(x)
	}
	shift := s.value("bias", tensor.FromFloat64s(d, tensor.Shape{1, len(bias), 1, 1}, bias))
	s.supplant("Add", s.builder().Op("Mul", s.node.In(0), scale), shift)
	return nil
}

// cropSlice writes Crop as a Slice of height and width. Its border is left,
// top, right and bottom; with a scale, that is the size of what stays.
func cropSlice(s *site) error {
	border, size := s.node.Ints("border"), s.node.Ints("scale")
	if len(border) != 4 || len(size) != 0 && len(size) != 2 {
		return fmt.Errorf("border is %v and scale %v, want four numbers and two or none", border, size)
	}
	starts := []int64{border[1], border[0]}
	ends := []int64{-border[3], -border[2]}
	for i := range ends {
		switch {
		case len(size) == 2:
			ends[i] = starts[i] + size[i]
		case ends[i] == 0:
			ends[i] = math.MaxInt64
		}
	}
	s.supplant("Slice", s.node.In(0), s.value("starts", tensor.Vector(starts...)),
		s.value("ends", tensor.Vector(ends...)), s.value("axes", tensor.Vector[int64](2, 3)))
	return nil
}

// hardSwishParts writes HardSwish as x HardSigmoid(x).
func hardSwishParts(s *site) error {
	gate := s.builder().OpAttrs("HardSigmoid", []*graph.Attr{graph.FloatAttr("alpha", 1.0/6), graph.FloatAttr("beta", 0.5)}, s.node.In(0))
	s.supplant("Mul", s.node.In(0), gate)
	return nil
}

// removed refuses an experimental operator that version 10 took out.
func removed(s *site) error {
	return fmt.Errorf("it was experimental and is no longer part of ONNX")
}
