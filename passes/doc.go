// Package passes turns models into better ones, step by step, and says what
// each step did.
//
// It is on floor 4. It refuses to know files and the command line: data,
// teachers and partner models come through [Env].
//
// A [Pass] is a value made by [Define]: a name, documentation, a [Kind] that
// says how far the outputs may move, options with defaults, and a function
// that edits the model of a [Job]. A [Pipeline] runs passes in order. After
// each step it holds the model to graph.Check, derives its types anew and,
// where a probe is given, compares its outputs with those of the model
// before; a step that breaks its budget is taken back or fails the run.
//
// The same model, steps, data and seed give the same bytes on any CPU.
package passes
