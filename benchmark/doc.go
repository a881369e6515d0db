// Package benchmark says how fast, how exact and how large a model is.
//
// It is on floor 4: it drives the engines below it and refuses to know
// passes. [Measure] times one subject, [Compare] several in alternating
// rounds, [Evaluate] says how well a model answers labelled samples or follows
// another model, and [Profile] where its time goes. Results are plain data.
package benchmark
