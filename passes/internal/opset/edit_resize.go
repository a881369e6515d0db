package opset

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// scalesAttr gives the scales of all axes where those of two were given.
func scalesAttr(s *site) error {
	n := s.node
	n.SetAttr(graph.FloatsAttr("scales", 1, 1, n.Float("height_scale", 1), n.Float("width_scale", 1)))
	n.DropAttr("height_scale")
	n.DropAttr("width_scale")
	if n.Str("mode", "nearest") == "bilinear" {
		n.SetAttr(graph.StringAttr("mode", "linear"))
	}
	return nil
}

func sizesAttrs(s *site) error {
	n := s.node
	x := n.Floats("scales")
	if len(x) != 4 || x[0] != 1 || x[1] != 1 {
		return fmt.Errorf("scales are %v, want 1, 1, height and width", x)
	}
	n.DropAttr("scales")
	n.SetAttr(graph.FloatAttr("height_scale", x[2]))
	n.SetAttr(graph.FloatAttr("width_scale", x[3]))
	if n.Str("mode", "nearest") == "linear" {
		n.SetAttr(graph.StringAttr("mode", "bilinear"))
	}
	return nil
}

// resizeInputs follows version 11, which put a region of interest, here none,
// in front of the scales, and moved coordinates by half a pixel unless told
// otherwise.
func resizeInputs(s *site) error {
	n := s.node
	n.SetIn(2, n.In(1))
	s.give(1, "roi", tensor.Vector[float32]())
	n.SetAttr(graph.StringAttr("coordinate_transformation_mode", "asymmetric"))
	if n.Str("mode", "nearest") == "nearest" {
		n.SetAttr(graph.StringAttr("nearest_mode", "floor"))
	}
	return nil
}

// resizeAsymmetric goes back to the coordinates that version 10 had.
func resizeAsymmetric(s *site) error {
	n := s.node
	mode := n.Str("mode", "nearest")
	if t := s.constant(2); n.In(3) != nil || t != nil && t.Len() == 0 {
		return fmt.Errorf("it is told sizes, not scales")
	}
	if c := n.Str("coordinate_transformation_mode", "half_pixel"); c != "asymmetric" {
		return fmt.Errorf("coordinates are %s, want asymmetric", c)
	}
	if r := n.Str("nearest_mode", "round_prefer_floor"); mode == "nearest" && r != "floor" {
		return fmt.Errorf("coordinates are rounded by %s, want floor", r)
	}
	if mode == "cubic" {
		return fmt.Errorf("it is cubic")
	}
	for _, a := range []string{"coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "exclude_outside", "extrapolation_value"} {
		n.DropAttr(a)
	}
	s.omit(1)
	n.SetIn(1, n.In(2))
	n.TrimIn(2)
	return nil
}

// modernResize leaves out inputs that are empty, and refuses the one kind of
// coordinates that went.
func modernResize(s *site) error {
	if c := s.node.Str("coordinate_transformation_mode", "half_pixel"); c == "tf_half_pixel_for_nn" {
		return fmt.Errorf("coordinates are %s, which went", c)
	}
	for i := 1; i <= 2; i++ {
		if t := s.constant(i); t != nil && t.Len() == 0 {
			s.omit(i)
		}
	}
	return nil
}

// resizeEmpty gives the inputs that version 11 did not let be omitted.
func resizeEmpty(s *site) error {
	for i, name := range []string{"roi", "scales"} {
		if s.node.In(i+1) == nil {
			s.give(i+1, name, tensor.Vector[float32]())
		}
	}
	return nil
}

// gridModes renames two ways to interpolate; bilinear was the default.
func gridModes(pairs ...string) edit {
	return func(s *site) error {
		mode := s.node.Str("mode", pairs[0])
		for i := 0; i < len(pairs); i += 2 {
			if mode == pairs[i] {
				mode = pairs[i+1]
				break
			}
		}
		s.node.SetAttr(graph.StringAttr("mode", mode))
		return nil
	}
}
