package graph

import (
	"bufio"
	"io"
	"strings"
)

// The text form is ONNX's own (docs/Syntax.md of the onnx repository):
//
//	<ir_version: 9, opset_import: ["": 17]>
//	g (float[N, 4] x) => (float[N, 4] y)
//	   <float[4] b = {1, 2, 3, 4}> {
//	   [add_1] t = Add (x, b)
//	   y = LeakyRelu <alpha: float = 0.1> (t)
//	}
//
// What the official grammar has no words for is said in ways that it does
// not use for anything else:
//
//   - %[key: value, …] after an object holds doc_string, metadata_props,
//     unknown (undecoded fields, as hex digits), and where they exist
//     denotation (types, dimensions), quantization_annotation (graphs) and
//     device_configurations (nodes);
//   - <…> of a model may hold training_info, device_configurations and
//     unknown, that of a function metadata_props and unknown;
//   - domains, operators, overloads, attributes and opaque types may be
//     quoted where they are no identifiers, and a graph attribute may have a
//     quoted name;
//   - a sparse tensor is written as its values and indices:
//     sparse_tensor(float[9]) s = {float[1] {1}, int64[1] {4}};
//   - external data is followed by the elements: ["location": "w.bin"] {1, 2};
//   - floats of 16 and 8 bits are bit patterns, as in the official form, but
//     may be read from a decimal with a point, inf or nan; a NaN of unusual
//     bits is written nan(bits); bool elements may be true and false;
//   - ? as a type is a type that says nothing, undefined an element type that
//     is not stated or the kind of an attribute that has none.
//
// Names made by no one are an error, and names are resolved after a graph is
// read, so that nodes may stand in any order.

// ParseModel reads a model. Errors are of type [*SyntaxError].
func ParseModel(text string) (m *Model, err error) {
	p, err := newTextParser(text)
	if err != nil {
		return nil, err
	}
	defer p.catch(&err)
	m = p.model()
	p.end()
	return m, nil
}

// ParseFunction reads a function that belongs to no model. Errors are of type
// [*SyntaxError].
func ParseFunction(text string) (f *Function, err error) {
	p, err := newTextParser(text)
	if err != nil {
		return nil, err
	}
	defer p.catch(&err)
	f = p.function(nil)
	p.end()
	return f, nil
}

// ParseGraph reads a graph that belongs to no model. Errors are of type
// [*SyntaxError].
func ParseGraph(text string) (g *Graph, err error) {
	p, err := newTextParser(text)
	if err != nil {
		return nil, err
	}
	defer p.catch(&err)
	g = New("")
	p.graph(g, nil)
	p.end()
	return g, nil
}

// Format returns the text of a model; [ParseModel] of it gives an equal model
// if names resolve.
func Format(m *Model) string {
	return TextOptions{}.text(func(p *textPrinter) { p.model(m) })
}

// FormatFunction returns the text of a function.
func FormatFunction(f *Function) string {
	return TextOptions{}.text(func(p *textPrinter) { p.function(f) })
}

// FormatGraph returns the text of a graph.
func FormatGraph(g *Graph) string {
	return TextOptions{}.text(func(p *textPrinter) { p.graph(g, false) })
}

// TextOptions say how a model is written for people to read.
type TextOptions struct {
	// Elide, if above 0, is the greatest number of elements of a tensor that
	// are written out; of greater ones there is a digest, and the text cannot
	// be read back.
	Elide int
	// Inferred asks for the types that were inferred too; read back, they are
	// taken for types that the model states.
	Inferred bool
}

// Write writes the text of a model.
func (o TextOptions) Write(w io.Writer, m *Model) error {
	p := &textPrinter{w: bufio.NewWriter(w), TextOptions: o}
	p.model(m)
	return p.w.Flush()
}

// WriteNode writes the text of a node, without a newline.
func (o TextOptions) WriteNode(w io.Writer, n *Node) error {
	p := &textPrinter{w: bufio.NewWriter(w), TextOptions: o}
	p.node(n)
	return p.w.Flush()
}

func (o TextOptions) text(print func(p *textPrinter)) string {
	var s strings.Builder
	p := &textPrinter{w: bufio.NewWriter(&s), TextOptions: o}
	print(p)
	p.w.Flush() // a strings.Builder takes everything
	return s.String()
}
