package graph

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// The Diff functions compare two objects by what they mean and describe the
// first difference, "" if there is none: where it is, what the first has and
// what the second. Values are compared by name. Wire is ignored, and so is a
// type that was inferred, unless another is stated in its place; floats are
// compared by their bits; a nil and an empty list are the same, except for a
// Dims, where nil means an unknown rank.
// Tensors that share memory are compared without reading it.

// DiffModels describes the first difference between two models.
func DiffModels(a, b *Model) string {
	var d differ
	d.model(a, b)
	return d.found
}

// DiffFunctions describes the first difference between two functions.
func DiffFunctions(a, b *Function) string {
	var d differ
	d.function(a, b)
	return d.found
}

// DiffTraining describes the first difference between two training entries.
func DiffTraining(a, b *Training) string {
	var d differ
	d.training(a, b)
	return d.found
}

// DiffGraphs describes the first difference between two graphs, those inside
// them included.
func DiffGraphs(a, b *Graph) string {
	var d differ
	d.graph(a, b)
	return d.found
}

// DiffNodes describes the first difference between two nodes: their inputs
// and results by name, and their attributes.
func DiffNodes(a, b *Node) string {
	var d differ
	d.node(a, b)
	return d.found
}

// DiffAttrs describes the first difference between two attributes.
func DiffAttrs(a, b *Attr) string {
	var d differ
	d.attr(a, b)
	return d.found
}

// DiffValues describes the first difference between what is stated of two
// values, in a value_info, input or output entry: name, type, documentation.
// Makers, readers and initializers are not compared.
func DiffValues(a, b *Value) string {
	var d differ
	d.value(a, b)
	return d.found
}

// DiffLiterals describes the first difference between two literals.
func DiffLiterals(a, b *Literal) string {
	var d differ
	d.literal(a, b)
	return d.found
}

// Equal reports whether two models are the same by [DiffModels].
func (m *Model) Equal(o *Model) bool { return DiffModels(m, o) == "" }

// Equal reports whether two graphs are the same by [DiffGraphs].
func (g *Graph) Equal(o *Graph) bool { return DiffGraphs(g, o) == "" }

// differ walks two objects in step and keeps the first difference; once there
// is one, nothing more is compared.
type differ struct {
	found string
	path  []fmt.Stringer
}

// place is an element of a path that is a plain text, or a quoted name after
// its kind; it is only put together when a difference is reported.
type place struct{ kind, name string }

func (p place) String() string { return fmt.Sprintf("%s %q", p.kind, p.name) }

func (d *differ) done() bool { return d.found != "" }

func (d *differ) within(p fmt.Stringer, compare func()) {
	if d.done() {
		return
	}
	d.path = append(d.path, p)
	compare()
	d.path = d.path[:len(d.path)-1]
}

func (d *differ) report(what string, a, b any) {
	if d.done() {
		return
	}
	var s strings.Builder
	for _, p := range d.path {
		s.WriteString(p.String() + ": ")
	}
	fmt.Fprintf(&s, "%s is %v in one and %v in the other", what, a, b)
	d.found = s.String()
}

// present reports whether both objects are there, noting if just one is.
func (d *differ) present(what string, a, b bool) bool {
	if a != b {
		d.report(what+" present", a, b)
	}
	return a && b && !d.done()
}

func same[T comparable](d *differ, what string, a, b T) {
	if a != b {
		d.report(what, quoted(a), quoted(b))
	}
}

func quoted(x any) any {
	if s, ok := x.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return x
}

func sameList[T comparable](d *differ, what string, a, b []T) {
	if !slices.Equal(a, b) {
		d.report(what, quoteList(a), quoteList(b))
	}
}

func quoteList[T any](x []T) any {
	if s, ok := any(x).([]string); ok {
		return fmt.Sprintf("%q", s)
	}
	return x
}

func (d *differ) bytes(what string, a, b []byte) {
	if string(a) != string(b) {
		d.report(what, fmt.Sprintf("%x", a), fmt.Sprintf("%x", b))
	}
}

func (d *differ) props(what string, a, b []Prop) { sameList(d, what, a, b) }

// each compares two lists element by element.
func each[T any](d *differ, what string, a, b []T, compare func(a, b T)) {
	same(d, "number of "+what, len(a), len(b))
	for i := range a {
		if d.done() {
			return
		}
		compare(a[i], b[i])
	}
}

func (d *differ) model(a, b *Model) {
	if !d.present("model", a != nil, b != nil) {
		return
	}
	same(d, "ir_version", a.IRVersion, b.IRVersion)
	same(d, "producer_name", a.Producer, b.Producer)
	same(d, "producer_version", a.ProducerVersion, b.ProducerVersion)
	same(d, "domain", a.Domain, b.Domain)
	same(d, "model_version", a.Version, b.Version)
	same(d, "doc_string", a.Doc, b.Doc)
	sameList(d, "opset_import", a.Opsets, b.Opsets)
	d.props("metadata_props", a.Metadata, b.Metadata)
	d.bytes("unknown fields", a.Unknown, b.Unknown)
	d.graph(a.Graph, b.Graph)
	each(d, "functions", a.Functions, b.Functions, d.function)
	each(d, "training_info entries", a.Training, b.Training, d.training)
	each(d, "device configurations", a.Devices, b.Devices, d.device)
}

func (d *differ) device(a, b DeviceConfig) {
	same(d, "device configuration", a.Name, b.Name)
	same(d, "num_devices", a.Count, b.Count)
	sameList(d, "devices", a.Devices, b.Devices)
	d.bytes("unknown fields of a device configuration", a.Unknown, b.Unknown)
}

func (d *differ) function(a, b *Function) {
	if !d.present("function", a != nil, b != nil) {
		return
	}
	d.within(place{"function", a.Name}, func() {
		same(d, "domain", a.Domain, b.Domain)
		same(d, "name", a.Name, b.Name)
		same(d, "overload", a.Overload, b.Overload)
		same(d, "doc_string", a.Doc, b.Doc)
		sameList(d, "opset_import", a.Opsets, b.Opsets)
		sameList(d, "attributes", a.Attrs, b.Attrs)
		each(d, "attribute defaults", a.Defaults, b.Defaults, d.attr)
		d.graph(a.Body, b.Body)
		d.props("metadata_props", a.Metadata, b.Metadata)
		d.bytes("unknown fields", a.Unknown, b.Unknown)
	})
}

func (d *differ) training(a, b *Training) {
	if !d.present("training_info", a != nil, b != nil) {
		return
	}
	d.graph(a.Init, b.Init)
	d.graph(a.Algorithm, b.Algorithm)
	d.props("initialization_binding", a.InitBinding, b.InitBinding)
	d.props("update_binding", a.UpdateBinding, b.UpdateBinding)
	d.bytes("unknown fields of training_info", a.Unknown, b.Unknown)
}

func (d *differ) graph(a, b *Graph) {
	if a == b || !d.present("graph", a != nil, b != nil) {
		return
	}
	d.within(place{"graph", a.Name}, func() {
		same(d, "name", a.Name, b.Name)
		same(d, "doc_string", a.Doc, b.Doc)
		d.props("metadata_props", a.Metadata, b.Metadata)
		d.bytes("unknown fields", a.Unknown, b.Unknown)
		each(d, "quantization annotations", a.Quantization, b.Quantization, d.annotation)
		sameList(d, "inputs", valueNames(a.inputs), valueNames(b.inputs))
		sameList(d, "outputs", valueNames(a.outputs), valueNames(b.outputs))
		sameList(d, "initializers", valueNames(a.inits), valueNames(b.inits))
		same(d, "number of nodes", a.numNodes, b.numNodes)
		for m, n := a.first, b.first; m != nil && n != nil && !d.done(); m, n = m.next, n.next {
			d.node(m, n)
		}
		d.values(a, b)
	})
}

func (d *differ) annotation(a, b QuantAnnotation) {
	same(d, "tensor of a quantization annotation", a.Value, b.Value)
	d.props("quantization parameters of "+a.Value, a.Params, b.Params)
	d.bytes("unknown fields of a quantization annotation", a.Unknown, b.Unknown)
}

// values compares what two graphs state of their values, in order of names.
func (d *differ) values(a, b *Graph) {
	if d.done() {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(a.values)) {
		v, w := a.values[name], b.values[name]
		if w == nil {
			w = &Value{name: name}
		}
		d.value(v, w)
		d.within(place{"value", name}, func() { d.literal(v.Init, w.Init) })
	}
	for _, name := range slices.Sorted(maps.Keys(b.values)) {
		if a.values[name] == nil {
			d.value(&Value{name: name}, b.values[name])
		}
	}
}

func (d *differ) value(a, b *Value) {
	if !d.present("value", a != nil, b != nil) {
		return
	}
	same(d, "name of a value", a.name, b.name)
	d.within(place{"value", a.name}, func() {
		if t, u := a.Type, b.Type; !t.Equal(u) && (a.stated() != nil || b.stated() != nil) {
			d.report("type", t, u)
		}
		same(d, "doc_string", a.Doc, b.Doc)
		d.props("metadata_props", a.Metadata, b.Metadata)
		d.bytes("unknown fields", a.Unknown, b.Unknown)
	})
}

// stated returns the type of v unless it was inferred.
func (v *Value) stated() *Type {
	if v.Inferred {
		return nil
	}
	return v.Type
}

func valueNames(vs []*Value) []string {
	names := make([]string, len(vs))
	for i, v := range vs {
		if v != nil {
			names[i] = v.name
		}
	}
	return names
}

func (d *differ) node(a, b *Node) {
	if !d.present("node", a != nil, b != nil) {
		return
	}
	d.within(a, func() {
		same(d, "name", a.Name, b.Name)
		same(d, "domain", a.Domain, b.Domain)
		same(d, "op_type", a.Op, b.Op)
		same(d, "overload", a.Overload, b.Overload)
		same(d, "doc_string", a.Doc, b.Doc)
		d.operands("inputs", a.in, b.in)
		d.operands("outputs", a.out, b.out)
		d.props("metadata_props", a.Metadata, b.Metadata)
		each(d, "device configurations", a.Devices, b.Devices, func(a, b []byte) { d.bytes("device configuration", a, b) })
		d.bytes("unknown fields", a.Unknown, b.Unknown)
		each(d, "attributes", a.attrs, b.attrs, d.attr)
	})
}

// operands compares two lists of values by name.
func (d *differ) operands(what string, a, b []*Value) {
	equal := slices.EqualFunc(a, b, func(v, w *Value) bool {
		return (v == nil) == (w == nil) && (v == nil || v.name == w.name)
	})
	if !equal {
		sameList(d, what, valueNames(a), valueNames(b))
	}
}

func (d *differ) attr(a, b *Attr) {
	if !d.present("attribute", a != nil, b != nil) {
		return
	}
	d.within(place{"attribute", a.Name}, func() {
		same(d, "name", a.Name, b.Name)
		same(d, "type", a.Kind, b.Kind)
		same(d, "doc_string", a.Doc, b.Doc)
		same(d, "ref_attr_name", a.Ref, b.Ref)
		if !slices.EqualFunc(a.Floats, b.Floats, sameBits) {
			d.report("value", a.Floats, b.Floats)
		}
		sameList(d, "value", a.Ints, b.Ints)
		sameList(d, "value", a.Strings, b.Strings)
		each(d, "tensors", a.Literals, b.Literals, d.literal)
		each(d, "graphs", a.Graphs, b.Graphs, d.graph)
		each(d, "types", a.Types, b.Types, func(t, u *Type) {
			if !t.Equal(u) {
				d.report("value", t, u)
			}
		})
		d.bytes("unknown fields", a.Unknown, b.Unknown)
	})
}

func sameBits(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }

func (d *differ) literal(a, b *Literal) {
	if a == b || !d.present("tensor", a != nil, b != nil) {
		return
	}
	same(d, "tensor name", a.Name, b.Name)
	same(d, "doc_string of a tensor", a.Doc, b.Doc)
	d.props("metadata_props of a tensor", a.Metadata, b.Metadata)
	d.bytes("unknown fields of a tensor", a.Unknown, b.Unknown)
	d.external(a.External, b.External)
	d.tensor("tensor", a.Tensor, b.Tensor)
	d.sparse(a.Sparse, b.Sparse)
}

func (d *differ) external(a, b *External) {
	if !d.present("external data", a != nil, b != nil) {
		return
	}
	same(d, "location", a.Location, b.Location)
	same(d, "offset", a.Offset, b.Offset)
	same(d, "length", a.Length, b.Length)
	same(d, "checksum", a.Checksum, b.Checksum)
	d.props("external data keys", a.Extra, b.Extra)
}

func (d *differ) sparse(a, b *tensor.Sparse) {
	if !d.present("sparse tensor", a != nil, b != nil) {
		return
	}
	same(d, "shape of a sparse tensor", a.Shape.String(), b.Shape.String())
	d.tensor("values of a sparse tensor", a.Values, b.Values)
	d.tensor("indices of a sparse tensor", a.Indices, b.Indices)
}

func (d *differ) tensor(what string, a, b *tensor.Tensor) {
	if d.done() || a.Equal(b) {
		return
	}
	if a.String() != b.String() {
		d.report(what, a, b)
		return
	}
	d.report(what, a.String()+" with some elements", "with others")
}
