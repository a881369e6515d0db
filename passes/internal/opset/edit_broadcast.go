package opset

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Before version 7 the second operand of a binary operator was only stretched
// with broadcast = 1, and its axes stood from the attribute axis on:
//
//	y = Add <broadcast = 1, axis = 1> (x, b)   x float[N,C,H,W], b float[C]
//
// becomes
//
//	b1 = Unsqueeze <axes = [1, 2]> (b)
//	y = Add (x, b1)
func alignBroadcast(s *site) error {
	stretched, axis := s.node.Int("broadcast", 0) != 0, s.node.Attr("axis")
	s.node.DropAttr("broadcast")
	if !stretched || axis == nil {
		s.node.DropAttr("axis")
		return nil
	}
	a, err := s.dims(0)
	if err != nil {
		return err
	}
	b, err := s.dims(1)
	if err != nil {
		return err
	}
	at, err := s.axis(a, 0)
	if err != nil {
		return err
	}
	s.node.DropAttr("axis")
	return s.widen(1, len(b), len(a)-int(at)-len(b))
}

// widen adds trailing axes of size 1 to input i, which has rank axes.
func (s *site) widen(i, rank, trailing int) error {
	if trailing < 0 {
		return fmt.Errorf("input %d has %d axes too many", i, -trailing)
	}
	if trailing == 0 {
		return nil
	}
	axes := make([]int64, trailing)
	for k := range axes {
		axes[k] = int64(rank + k)
	}
	wide := s.builder().OpAttrs("Unsqueeze", []*graph.Attr{graph.IntsAttr("axes", axes...)}, s.node.In(i))
	s.node.SetIn(i, wide)
	return nil
}

// legacyBroadcast states how the second operand is stretched, where the first
// is not.
func legacyBroadcast(s *site) error {
	a, err := s.dims(0)
	if err != nil {
		return err
	}
	b, err := s.dims(1)
	if err != nil {
		return err
	}
	switch {
	case sameDims(a, b):
		return nil
	case len(b) <= len(a) && sameDims(a[len(a)-len(b):], b), isOne(b):
		return setInt("broadcast", 1)(s)
	}
	return fmt.Errorf("shapes %v and %v are stretched to each other, which was not possible", a, b)
}

// isOne reports whether a shape is that of one element and of no more axes
// than one.
func isOne(d graph.Dims) bool {
	return len(d) == 0 || len(d) == 1 && d[0].IsKnown() && d[0].Size == 1
}

// sameDims reports whether two shapes are known to be equal.
func sameDims(a, b graph.Dims) bool {
	return slices.EqualFunc(a, b, func(x, y graph.Dim) bool {
		return !x.IsUnknown() && x.Sym == y.Sym && x.Size == y.Size
	})
}

// equalShapes refuses operands that are stretched.
func equalShapes(s *site) error {
	a, err := s.dims(0)
	if err != nil {
		return err
	}
	for i := 1; i < s.node.NumIn(); i++ {
		b, err := s.dims(i)
		if err != nil {
			return err
		}
		if !sameDims(a, b) {
			return fmt.Errorf("shapes %v and %v differ, which was not possible", a, b)
		}
	}
	return nil
}

func gemmBroadcast(s *site) error {
	c, err := s.dims(2)
	if err != nil {
		return err
	}
	if len(c) > 1 && c[len(c)-1].IsKnown() && c[len(c)-1].Size == 1 {
		return fmt.Errorf("input 2 is a column, which was not possible")
	}
	return setInt("broadcast", 1)(s)
}

// alignSlope gives slopes for each channel the axes that follow the channel.
func alignSlope(s *site) error {
	x, err := s.dims(0)
	if err != nil {
		return err
	}
	slope, err := s.dims(1)
	if err != nil {
		return err
	}
	if len(slope) != 1 || isOne(slope) {
		return nil
	}
	return s.widen(1, 1, max(0, len(x)-2))
}

// scalePerChannel repeats scale and bias, which were those of each group of
// channels:
//
//	s1 = Unsqueeze <axes = [1]> (scale)   [G,1]
//	s2 = Expand (s1, [G, C/G])
//	s3 = Reshape (s2, [-1])               [C]
func scalePerChannel(s *site) error {
	d, err := s.dims(0)
	if err != nil {
		return err
	}
	groups := s.node.Int("num_groups", 0)
	if len(d) < 2 || !d[1].IsKnown() || groups < 1 || int64(d[1].Size)%groups != 0 {
		return fmt.Errorf("the channels of %v in %d groups are not known", d, groups)
	}
	each := int64(d[1].Size) / groups
	b := s.builder()
	for i := 1; i <= 2; i++ {
		v := b.Op("Reshape", s.node.In(i), s.value("column", tensor.Vector[int64](-1, 1)))
		v = b.Op("Expand", v, s.value("channels", tensor.Vector(groups, each)))
		s.node.SetIn(i, b.Op("Reshape", v, s.value("flat", tensor.Vector[int64](-1))))
	}
	return nil
}
