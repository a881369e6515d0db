// Package engine runs models: [Compile] turns a model into a [Session], and
// Session.Run maps feeds to results.
//
// It is on floor 3. It asks graph/op what operators mean and targets what the
// CPU does well; it refuses to know files and passes.
//
// A session works on a private copy of the model in which the calls of
// functions and of operators without an evaluation of their own are replaced
// by their bodies. The copy is lowered to a program: steps in order, which
// read and write numbered slots, each slot cleared after its last reader. What
// depends on weights alone is computed once, at compile time.
//
// Results do not depend on the number of threads.
package engine
