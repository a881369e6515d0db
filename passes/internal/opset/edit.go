package opset

import (
	"fmt"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

func refuse(why string) edit { return func(*site) error { return fmt.Errorf("%s", why) } }

func drop(attr string) edit {
	return func(s *site) error {
		s.node.DropAttr(attr)
		return nil
	}
}

func setInt(attr string, x int64) edit {
	return func(s *site) error {
		s.node.SetAttr(graph.IntAttr(attr, x))
		return nil
	}
}

func renameOp(op string) edit {
	return func(s *site) error {
		s.node.Op = op
		return nil
	}
}

func renameAttr(old, name string) edit {
	return func(s *site) error {
		if a := s.node.Attr(old); a != nil {
			b := a.Clone()
			b.Name, b.Wire = name, nil
			s.node.DropAttr(old)
			s.node.SetAttr(b)
		}
		return nil
	}
}

// listInput makes a list of integers, an attribute, input i.
func listInput(name string, i int) edit {
	return func(s *site) error {
		if s.node.Attr(name) != nil {
			s.give(i, name, tensor.Vector(s.node.Ints(name)...))
			s.node.DropAttr(name)
		}
		return nil
	}
}

// listInputs makes lists of integers the inputs from 1 on.
func listInputs(names ...string) edit {
	return func(s *site) error {
		for i, name := range names {
			if err := listInput(name, i+1)(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// take removes input i and returns what it holds, nil if it is omitted.
func (s *site) take(i int, name string) (*tensor.Tensor, error) {
	if s.node.In(i) == nil {
		return nil, nil
	}
	t := s.constant(i)
	if t == nil {
		return nil, fmt.Errorf("input %d (%s) was an attribute, and what it holds is not constant", i, name)
	}
	s.omit(i)
	s.trim()
	return t, nil
}

// omit leaves out input i, and removes an initializer that nothing reads then.
func (s *site) omit(i int) {
	v := s.node.In(i)
	s.node.SetIn(i, nil)
	if v != nil && v.IsConst() && !v.Used() && !v.IsOutput() {
		v.Graph().DropInit(v)
	}
}

// trim removes omitted inputs from the end.
func (s *site) trim() {
	for i := s.node.NumIn(); i > 0 && s.node.In(i-1) == nil; i-- {
		s.node.TrimIn(i - 1)
	}
}

// listAttr makes input i, a list of integers, an attribute.
func listAttr(name string, i int) edit {
	return func(s *site) error {
		t, err := s.take(i, name)
		if t != nil {
			s.node.SetAttr(graph.IntsAttr(name, tensor.Int64s(t)...))
		}
		return err
	}
}

// floatsInput makes a list of floats, an attribute, input i.
func floatsInput(name string, i int) edit {
	return func(s *site) error {
		s.give(i, name, tensor.Vector(s.node.Floats(name)...))
		s.node.DropAttr(name)
		return nil
	}
}

func floatsAttr(name string, i int) edit {
	return func(s *site) error {
		t, err := s.take(i, name)
		if t != nil {
			s.node.SetAttr(graph.FloatsAttr(name, tensor.Float32s(t)...))
		}
		return err
	}
}

// reduceAttrs gives a reduction its axes as an attribute. One that is told to
// do nothing without axes becomes an Identity.
func reduceAttrs(s *site) error {
	noop := s.node.Int("noop_with_empty_axes", 0) != 0
	s.node.DropAttr("noop_with_empty_axes")
	t, err := s.take(1, "axes")
	switch {
	case err != nil:
		return err
	case t != nil && t.Len() > 0:
		s.node.SetAttr(graph.IntsAttr("axes", tensor.Int64s(t)...))
	case noop && s.node.Op == "ReduceSum":
		s.node.DropAttr("keepdims")
		s.node.Op = "Identity"
	case noop:
		return fmt.Errorf("it reduces over no axis")
	}
	return nil
}

// statedAxis states the axis that Concat had by default.
func statedAxis(s *site) error { return setInt("axis", s.node.Int("axis", 1))(s) }

// castNumber and castName change how the type is told.
func castNumber(s *site) error {
	name := s.node.Str("to", "")
	for d := tensor.Undefined + 1; d.Valid(); d++ {
		if strings.EqualFold(d.String(), name) {
			return setInt("to", int64(d))(s)
		}
	}
	return fmt.Errorf("type %q is not known", name)
}

func castName(s *site) error {
	s.node.SetAttr(graph.StringAttr("to", strings.ToUpper(tensor.DType(s.node.Int("to", 0)).String())))
	return nil
}

// tileRepeats gives the repeats of all axes where one axis was repeated.
func tileRepeats(s *site) error {
	d, err := s.dims(0)
	if err != nil {
		return err
	}
	tiles, axis := s.constant(1), s.constant(2)
	if tiles == nil || axis == nil || tiles.Len() != 1 || axis.Len() != 1 {
		return fmt.Errorf("tiles and axis are not constant")
	}
	repeats := make([]int64, len(d))
	for i := range repeats {
		repeats[i] = 1
	}
	at := tensor.Int64s(axis)[0]
	if at < 0 || at >= int64(len(d)) {
		return fmt.Errorf("axis %d of %d", at, len(d))
	}
	repeats[at] = tensor.Int64s(tiles)[0]
	s.node.TrimIn(1)
	s.give(1, "repeats", tensor.Vector(repeats...))
	return nil
}

// seluDefaults states the constants that version 6 made more precise.
func seluDefaults(s *site) error {
	s.node.SetAttr(graph.FloatAttr("alpha", s.node.Float("alpha", 1.6732)))
	s.node.SetAttr(graph.FloatAttr("gamma", s.node.Float("gamma", 1.0507)))
	return nil
}

// wholeNorm and realNorm change the type of the exponent of a norm.
func wholeNorm(s *site) error {
	p := s.node.Float("p", 2)
	if p != float32(int64(p)) {
		return fmt.Errorf("exponent %v is no integer", p)
	}
	return setInt("p", int64(p))(s)
}

func realNorm(s *site) error {
	s.node.SetAttr(graph.FloatAttr("p", float32(s.node.Int("p", 2))))
	return nil
}

// splitAttr makes the sizes of the parts an attribute, and states the axis.
func splitAttr(s *site) error {
	t, err := s.take(1, "split")
	if t != nil {
		s.node.SetAttr(graph.IntsAttr("split", tensor.Int64s(t)...))
	}
	s.node.SetAttr(graph.IntAttr("axis", s.node.Int("axis", 0)))
	return err
}

// splitCount states the number of parts that are of equal size.
func splitCount(s *site) error {
	if s.node.In(1) != nil {
		return nil
	}
	return setInt("num_outputs", int64(s.node.NumOut()))(s)
}

// splitEvenly leaves the number of parts to the results, where they divide
// the axis evenly, and else states their sizes.
func splitEvenly(s *site) error {
	parts := int(s.node.Int("num_outputs", 0))
	s.node.DropAttr("num_outputs")
	if parts == 0 || s.node.In(1) != nil {
		return nil
	}
	d, err := s.dims(0)
	if err != nil {
		return err
	}
	axis, err := s.axis(d, 0)
	if err != nil {
		return err
	}
	size, known := 0, axis < int64(len(d)) && d[axis].IsKnown()
	if known {
		size = d[axis].Size
	}
	switch {
	case !known:
		return fmt.Errorf("whether %d parts divide axis %d evenly is not known", parts, axis)
	case size%parts == 0:
		return nil
	}
	each := (size + parts - 1) / parts
	sizes := make([]int64, parts)
	for i := range sizes {
		sizes[i] = int64(min(each, size-i*each))
		if sizes[i] < 0 {
			return fmt.Errorf("%d parts of axis %d, which has %d elements", parts, axis, size)
		}
	}
	s.give(1, "split", tensor.Vector(sizes...))
	return nil
}

// constantTensor gives a Constant its value as a tensor, the only way before
// version 12.
func constantTensor(s *site) error {
	n := s.node
	for _, a := range n.Attrs() {
		var t *tensor.Tensor
		switch a.Name {
		case "value_float":
			t = tensor.Scalar(a.Floats[0])
		case "value_floats":
			t = tensor.Vector(a.Floats...)
		case "value_int":
			t = tensor.Scalar(a.Ints[0])
		case "value_ints":
			t = tensor.Vector(a.Ints...)
		case "value_string":
			t = tensor.OfStrings(tensor.Shape{}, a.Strings)
		case "value_strings":
			t = tensor.OfStrings(tensor.Shape{len(a.Strings)}, a.Strings)
		default:
			continue
		}
		n.DropAttr(a.Name)
		n.SetAttr(graph.TensorAttr("value", t))
	}
	return nil
}
