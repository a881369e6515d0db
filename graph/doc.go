// Package graph is the intermediate representation: everything that an ONNX
// model holds, as a graph whose values know who makes and who uses them.
//
// It is on floor 1. It refuses to know what operators compute (graph/op), how
// models are stored (onnxio), and which passes exist.
//
// A [Model] has a main [Graph] and [Function]s. A Graph has inputs, outputs,
// initializers and [Node]s; a Node reads and makes [Value]s. Nodes of a
// subgraph (the branches of If, the bodies of Loop and Scan) read values of
// the graphs around them directly: there is one Value for one name in scope,
// and its use list counts readers in inner graphs too.
//
// Use lists stay true because graphs are edited through methods only:
//
//	relu := graph.NewNode("", "Relu", []*graph.Value{x}, 1)
//	g.InsertBefore(n, relu)
//	g.ReplaceUses(x2, relu.Out(0))
//	g.Remove(n)
//
// What a file says that no one here understands (unknown fields, metadata,
// device configurations) is kept and written again. The Wire fields hold the
// encoded form an object was read from; a writer copies it when decoding it
// still gives the object, so what a pass did not touch is saved as it was.
//
// [Check] finds the first broken invariant, [DiffModels] the first difference
// between two models, [Model.Clone] copies, [Graph.Sort] puts nodes in order,
// [NewView] shows a graph to gonum's algorithms.
//
// # Text form
//
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
// Names are resolved once a graph is read, so that nodes may stand in any
// order; a name that nothing makes is an error.
//
// # Dimensions
//
// A dimension stands for an integer: a number, or an expression over symbols,
// each a size that is at least 0 and below 2^31.
// Results are expressions in one canonical text, a polynomial with integer
// coefficients whose terms stand by falling degree, over symbols and over
// floor(p/q), min(p, q, …) and max(p, q, …) of polynomials:
//
//	2*h*w + floor((h + 1)/2) - 3
//
// An operation on an unknown dimension, one that overflows, or one whose
// result is too long to be useful gives an unknown one. A dim_param of a file
// that is no expression ("batch size") counts as a symbol.
package graph
