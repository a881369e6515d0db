package op

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Schema is how an operator is called, from one version of its domain on.
type Schema struct {
	Domain, Name string
	Since        int64
	Deprecated   bool
	In, Out      []Formal
	Attrs        []AttrSpec
}

// Formal is an input or result of an operator.
type Formal struct {
	Name     string
	Optional bool
	// Variadic says that any number of at least Min operands stand here. They
	// need not have one type if Mixed is set.
	Variadic, Mixed bool
	Min             int
	// Var names the type variable: formals of one variable have one type.
	Var string
	// Types are the types that are allowed, without shapes; empty for all.
	Types []*graph.Type
}

// AttrSpec is an attribute of an operator.
type AttrSpec struct {
	Name     string
	Kind     graph.AttrKind
	Required bool
	// Default is what stands for an attribute that is not given, nil if
	// absence has a meaning of its own.
	Default *graph.Attr
}

// SchemaOf returns how an operator is called in the given version of its
// domain, nil if it is not known or not part of that version any more. The
// domain "ai.onnx" is "".
func SchemaOf(domain, name string, version int64) *Schema {
	domain, version = inForce(domain, version)
	var found *Schema
	for _, s := range schemas()[opName{domain, name}] {
		if s.Since <= version {
			found = s
		}
	}
	if found == nil || found.Deprecated {
		return nil
	}
	return found
}

// Schema returns how d is called in the given version of its domain, nil if
// that is not known.
func (d *Def) Schema(version int64) *Schema { return SchemaOf(d.Domain, d.Name, version) }

// Schemas ranges over the schemas of every operator and version, by domain,
// name and version.
func Schemas() iter.Seq[*Schema] {
	return func(yield func(*Schema) bool) {
		names := slices.SortedFunc(maps.Keys(schemas()), func(a, b opName) int {
			return cmp.Or(cmp.Compare(a.domain, b.domain), cmp.Compare(a.name, b.name))
		})
		for _, name := range names {
			for _, s := range schemas()[name] {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Versions returns the versions of a domain from which on an operator is
// called in another way, in order.
func Versions(domain, name string) []int64 {
	var all []int64
	for _, s := range schemas()[opName{domain, name}] {
		all = append(all, s.Since)
	}
	return all
}

// Attr returns the attribute with the given name, or nil.
func (s *Schema) Attr(name string) *AttrSpec {
	i := slices.IndexFunc(s.Attrs, func(a AttrSpec) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Attrs[i]
}

// Formal returns the formal that operand i of a list stands under, nil if
// there are fewer.
func formalAt(list []Formal, i int) *Formal {
	switch n := len(list); {
	case i < n:
		return &list[i]
	case n > 0 && list[n-1].Variadic:
		return &list[n-1]
	}
	return nil
}

// Allows reports whether an operand may have type t, whose shape does not
// matter. A type that is not known is allowed.
func (f *Formal) Allows(t *graph.Type) bool {
	if t == nil || t.Kind == graph.KindNone || len(f.Types) == 0 {
		return true
	}
	return slices.ContainsFunc(f.Types, func(u *graph.Type) bool { return sameElements(t, u) })
}

// sameElements reports whether two types are equal but for shapes, as far as
// both are known.
func sameElements(t, u *graph.Type) bool {
	if t == nil || u == nil || t.Kind == graph.KindNone || u.Kind == graph.KindNone {
		return true
	}
	if t.Kind != u.Kind {
		return false
	}
	known := t.Elem != tensor.Undefined && u.Elem != tensor.Undefined
	return (!known || t.Elem == u.Elem) && sameElements(t.Item, u.Item)
}
