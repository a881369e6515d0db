package opset

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Before version 13, Softmax took the axes from axis on together:
//
//	y = Softmax <axis = 1> (x)   x float[N,C,H]
//
// becomes, where that is more than one axis,
//
//	shape = Shape (x)
//	flat = Flatten <axis = 1> (x)
//	soft = Softmax <axis = -1> (flat)
//	y = Reshape (soft, shape)
func flattenSoftmax(s *site) error {
	n := s.node
	axis := n.Int("axis", 1)
	if d, err := s.dims(0); err == nil {
		if axis, err = s.axis(d, 1); err != nil {
			return err
		}
		if isSingle(d[min(int(axis)+1, len(d)):]) && axis < int64(len(d)) {
			return setInt("axis", axis)(s)
		}
	}
	if axis == -1 {
		return nil
	}
	b, x := s.builder(), n.In(0)
	shape := b.Op("Shape", x)
	flat := b.OpAttrs("Flatten", []*graph.Attr{graph.IntAttr("axis", axis)}, x)
	soft := b.OpAttrs(n.Op, []*graph.Attr{graph.IntAttr("axis", -1)}, flat)
	n.Graph().Supplant(n, graph.NewNode("", "Reshape", []*graph.Value{soft, shape}, 1))
	return nil
}

// isSingle reports whether axes are known to hold one element together.
func isSingle(d graph.Dims) bool {
	return !slices.ContainsFunc(d, func(x graph.Dim) bool { return !x.IsKnown() || x.Size != 1 })
}

// lastAxisSoftmax brings the one axis of a Softmax to the end, where the
// meaning before version 13 is the same.
func lastAxisSoftmax(s *site) error {
	n := s.node
	d, err := s.dims(0)
	if err != nil {
		return err
	}
	axis, err := s.axis(d, -1)
	if err != nil {
		return err
	}
	last := int64(len(d)) - 1
	if axis == last || len(d) == 0 {
		return setInt("axis", max(0, axis))(s)
	}
	swap := make([]int64, len(d))
	for i := range swap {
		swap[i] = int64(i)
	}
	swap[axis], swap[last] = last, axis
	perm := graph.IntsAttr("perm", swap...)
	b := s.builder()
	moved := b.OpAttrs("Transpose", []*graph.Attr{perm}, n.In(0))
	soft := b.OpAttrs(n.Op, []*graph.Attr{graph.IntAttr("axis", last)}, moved)
	n.Graph().Supplant(n, graph.NewNode("", "Transpose", []*graph.Value{soft}, 1, perm.Clone()))
	return nil
}

// spatialNorm follows the end of statistics for each position.
func spatialNorm(s *site) error {
	if s.node.Int("spatial", 1) == 0 {
		return fmt.Errorf("statistics for each position went")
	}
	return drop("spatial")(s)
}

// noStatistics refuses a normalisation that gives out its statistics, whose
// form changed, and removes results that nothing reads.
func noStatistics(s *site) error {
	for i, v := range s.node.Outs() {
		if i > 0 && v != nil && (v.Used() || v.IsOutput()) {
			return fmt.Errorf("its statistics are read, which changed")
		}
	}
	if s.node.Int("training_mode", 0) != 0 {
		return fmt.Errorf("it trains")
	}
	for s.node.NumOut() > 1 {
		s.node.DropOut(s.node.NumOut() - 1)
	}
	return nil
}

// testMode drops the attribute that said whether a Dropout does nothing.
func testMode(s *site) error {
	if s.node.Int("is_test", 0) == 0 {
		return fmt.Errorf("it drops elements (is_test is 0)")
	}
	return drop("is_test")(s)
}

// maskUnread refuses a Dropout whose mask is read: its type changed.
func maskUnread(s *site) error {
	v := s.node.Out(1)
	switch {
	case v == nil:
		return nil
	case v.Used() || v.IsOutput():
		return fmt.Errorf("its mask is read, the type of which changed")
	}
	s.node.DropOut(1)
	return nil
}

func dropoutInputs(s *site) error {
	if s.node.Attr("ratio") == nil {
		return nil
	}
	t, err := s.number("ratio")
	if err != nil {
		return err
	}
	s.give(1, "ratio", t)
	return drop("ratio")(s)
}

func dropoutAttrs(s *site) error {
	training, err := s.take(2, "training_mode")
	if err != nil {
		return err
	}
	if training != nil && tensor.Int64s(training)[0] != 0 {
		return fmt.Errorf("it trains")
	}
	ratio, err := s.take(1, "ratio")
	if err != nil {
		return err
	}
	if ratio != nil {
		s.node.SetAttr(graph.FloatAttr("ratio", tensor.Float32s(ratio)[0]))
	}
	return drop("seed")(s)
}

// oneScale refuses a scale for each index of an axis.
func oneScale(s *site) error {
	d, err := s.dims(1)
	if err != nil {
		return err
	}
	if !isOne(d) {
		return fmt.Errorf("it has a scale for each index of an axis")
	}
	return drop("axis")(s)
}

// roiDefault and roiHalfPixel follow the default, which was not to shift by
// half a pixel.
func roiDefault(s *site) error {
	s.node.SetAttr(graph.StringAttr("coordinate_transformation_mode", "output_half_pixel"))
	return nil
}

func roiHalfPixel(s *site) error {
	if mode := s.node.Str("coordinate_transformation_mode", "half_pixel"); mode != "output_half_pixel" {
		return fmt.Errorf("coordinates are %s, want output_half_pixel", mode)
	}
	return drop("coordinate_transformation_mode")(s)
}
