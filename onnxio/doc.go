// Package onnxio reads and writes ONNX: bytes on one side, graph.Model on the
// other.
//
// It is on floor 2. It refuses to know what operators mean.
//
// [Open] maps a file and indexes it. A tensor's elements stay where they are:
// reading a model of any size costs memory for its structure only. [Save]
// writes a model to a temporary file, by spans, and renames it, so a file that
// is open can be saved over and no one ever sees half a model.
//
// # Fidelity
//
// Messages follow proto2: what is absent stays absent, packed or not as it
// was, unknown fields are kept. Each object of the graph remembers the bytes
// it was read from (its Wire). A writer copies them when decoding them again
// gives the object, that is, when both have the same canonical encoding; else
// it encodes the object's own fields, and its children each by the same rule.
// So what nobody touched is written as it was, down to the byte.
//
// What decoding leaves out, and only Wire keeps: value_info of names that the
// graph does not have, and second entries for one name (an input that is an
// output too).
package onnxio
