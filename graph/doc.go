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
package graph
