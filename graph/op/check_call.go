package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
)

// CheckCall reports how a node breaks the schema of its operator in the given
// version of the domain: unknown or missing attributes, or ones of the wrong
// kind; too few or too many operands; element types that are not allowed, or
// differ where they must not. It returns nil for an operator without a schema.
// Types are those on the values; what is not known is not checked.
func CheckCall(n *graph.Node, version int64) error {
	s := SchemaOf(n.Domain, n.Op, version)
	if s == nil {
		return nil
	}
	if err := s.checkAttrs(n); err != nil {
		return fmt.Errorf("%v: %w", n, err)
	}
	bound := map[string]*graph.Type{}
	if err := checkOperands("input", s.In, n.Ins(), bound); err != nil {
		return fmt.Errorf("%v: %w", n, err)
	}
	if err := checkOperands("result", s.Out, n.Outs(), bound); err != nil {
		return fmt.Errorf("%v: %w", n, err)
	}
	return nil
}

func (s *Schema) checkAttrs(n *graph.Node) error {
	for _, a := range n.Attrs() {
		spec := s.Attr(a.Name)
		if spec == nil {
			return fmt.Errorf("attribute %q is not one of %s-%d", a.Name, s.Name, s.Since)
		}
		if a.Ref == "" && a.Kind != spec.Kind && a.Kind != graph.AttrNone {
			return fmt.Errorf("attribute %q is of kind %v, want %v", a.Name, a.Kind, spec.Kind)
		}
	}
	for _, spec := range s.Attrs {
		if spec.Required && n.Attr(spec.Name) == nil {
			return fmt.Errorf("attribute %q is missing", spec.Name)
		}
	}
	return nil
}

// checkOperands checks one side of a call. bound holds the types that type
// variables have taken.
func checkOperands(what string, formals []Formal, vals []*graph.Value, bound map[string]*graph.Type) error {
	for i, v := range vals {
		f := formalAt(formals, i)
		if f == nil {
			return fmt.Errorf("%d %ss, want at most %d", len(vals), what, len(formals))
		}
		if v == nil {
			if !f.Optional && !f.Variadic && what == "input" {
				return fmt.Errorf("%s %d (%s) is omitted", what, i, f.Name)
			}
			continue
		}
		if !f.Allows(v.Type) {
			return fmt.Errorf("%s %d (%s) is %v, want %v", what, i, f.Name, v.Type, typeList(f.Types))
		}
		if f.Mixed || v.Type == nil {
			continue
		}
		if old := bound[f.Var]; old != nil && !sameElements(old, v.Type) {
			return fmt.Errorf("%s %d (%s) is %v, other operands of type %s are %v", what, i, f.Name, v.Type, f.Var, old)
		}
		bound[f.Var] = v.Type
	}
	return checkCount(what, formals, len(vals))
}

func checkCount(what string, formals []Formal, n int) error {
	want := 0
	for i, f := range formals {
		switch {
		case f.Variadic:
			want = max(want, i+f.Min)
		case !f.Optional:
			want = i + 1
		}
	}
	if what == "input" && n < want {
		return fmt.Errorf("%d %ss, want at least %d", n, what, want)
	}
	return nil
}

// typeList names types without shapes.
func typeList(types []*graph.Type) string {
	s := ""
	for i, t := range types {
		switch {
		case i > 0 && i == len(types)-1:
			s += " or "
		case i > 0:
			s += ", "
		}
		if t.Kind == graph.KindTensor {
			s += t.Elem.String()
		} else {
			s += t.String()
		}
	}
	return s
}
