package opset

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// sliceAttrs makes the bounds of a Slice attributes; steps are all 1 then.
func sliceAttrs(s *site) error {
	steps, err := s.take(4, "steps")
	if err != nil {
		return err
	}
	if steps != nil && slices.ContainsFunc(tensor.Int64s(steps), func(x int64) bool { return x != 1 }) {
		return fmt.Errorf("steps are %v, want 1", tensor.Int64s(steps))
	}
	for i, name := range []string{"axes", "ends", "starts"} {
		if err := listAttr(name, 3-i)(s); err != nil {
			return err
		}
	}
	return nil
}

func topKInput(s *site) error {
	s.give(1, "k", tensor.Vector(s.node.Int("k", 0)))
	s.node.DropAttr("k")
	return nil
}

func topKAttr(s *site) error {
	t, err := s.take(1, "k")
	if err != nil {
		return err
	}
	if t == nil || t.Len() != 1 {
		return fmt.Errorf("k is not one number")
	}
	return setInt("k", tensor.Int64s(t)[0])(s)
}

// number returns the attribute as a scalar of input 0's type.
func (s *site) number(name string) (*tensor.Tensor, error) {
	d, err := s.elem(0)
	if err != nil {
		return nil, err
	}
	return tensor.FromFloat64s(d, tensor.Shape{}, []float64{float64(s.node.Float(name, 0))}), nil
}

// clipInputs makes the bounds inputs. Those that bound nothing are left out.
func clipInputs(s *site) error {
	for i, name := range []string{"min", "max"} {
		a := s.node.Attr(name)
		if a == nil {
			continue
		}
		if math.Abs(float64(a.Floats[0])) < math.MaxFloat32 {
			t, err := s.number(name)
			if err != nil {
				return err
			}
			s.give(i+1, name, t)
		}
		s.node.DropAttr(name)
	}
	return nil
}

func clipAttrs(s *site) error {
	for _, name := range []string{"max", "min"} {
		i := 1 + slices.Index([]string{"min", "max"}, name)
		t, err := s.take(i, name)
		if err != nil {
			return err
		}
		if t != nil {
			s.node.SetAttr(graph.FloatAttr(name, tensor.Float32s(t)[0]))
		}
	}
	return nil
}

func padInputs(s *site) error {
	s.give(1, "pads", tensor.Vector(s.node.Ints("pads")...))
	s.node.DropAttr("pads")
	if s.node.Str("mode", "constant") == "constant" && s.node.Float("value", 0) != 0 {
		t, err := s.number("value")
		if err != nil {
			return err
		}
		s.give(2, "value", t)
	}
	s.node.DropAttr("value")
	return nil
}

func padAttrs(s *site) error {
	t, err := s.take(2, "constant_value")
	if err != nil {
		return err
	}
	if t != nil {
		s.node.SetAttr(graph.FloatAttr("value", tensor.Float32s(t)[0]))
	}
	return listAttr("pads", 1)(s)
}

// padAllAxes gives the pads of all axes where those of some were given.
func padAllAxes(s *site) error {
	if s.node.In(3) == nil {
		return nil
	}
	d, err := s.dims(0)
	if err != nil {
		return err
	}
	pads := s.constant(1)
	if pads == nil {
		return fmt.Errorf("pads of some axes are not constant")
	}
	axes, err := s.take(3, "axes")
	if err != nil {
		return err
	}
	given, list, rank := tensor.Int64s(pads), tensor.Int64s(axes), int64(len(d))
	all := make([]int64, 2*rank)
	for i, a := range list {
		if a < 0 {
			a += rank
		}
		if a < 0 || a >= rank || len(given) != 2*len(list) {
			return fmt.Errorf("axes %v and pads %v of %d axes", list, given, rank)
		}
		all[a], all[a+rank] = given[i], given[i+len(list)]
	}
	s.give(1, "pads", tensor.Vector(all...))
	return nil
}

// dftInput and dftAttr change how the axis of a transform is told, whose
// default moved from 1 to -2.
func dftInput(s *site) error {
	s.give(2, "axis", tensor.Scalar(s.node.Int("axis", 1)))
	s.node.DropAttr("axis")
	return nil
}

func dftAttr(s *site) error {
	t, err := s.take(2, "axis")
	if err != nil {
		return err
	}
	axis := int64(-2)
	if t != nil {
		axis = tensor.Int64s(t)[0]
	}
	if axis < 0 {
		d, err := s.dims(0)
		if err != nil {
			return err
		}
		axis += int64(len(d))
	}
	return setInt("axis", axis)(s)
}

// countForward makes axes that are counted from the end ordinary ones, as far
// as ranks are known: the specification counts from the end since version 11.
func countForward(n *graph.Node) error {
	v := n.In(0)
	if v == nil || v.Type == nil || v.Type.Kind != graph.KindTensor || v.Type.Shape == nil {
		return nil
	}
	rank := int64(len(v.Type.Shape))
	switch n.Op { // axes are those of the result
	case "Unsqueeze":
		rank += int64(len(n.Ints("axes")))
	case "OneHot":
		rank++
	}
	if a := n.Attr("axis"); a != nil && a.Kind == graph.AttrInt && a.Ints[0] < 0 {
		n.SetAttr(graph.IntAttr("axis", a.Ints[0]+rank))
	}
	axes := n.Ints("axes")
	for i, a := range axes {
		if a < 0 {
			axes = slices.Clone(axes)
			axes[i] = a + rank
			n.SetAttr(graph.IntsAttr("axes", axes...))
		}
	}
	return nil
}
