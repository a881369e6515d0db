package op

import (
	"fmt"
	"strconv"
	"strings"
)

// bodyWriter writes the text of a function, one node after the other; each
// node's result is named by its number.
type bodyWriter struct {
	nodes strings.Builder
	count int
	like  string // value whose element type constants have
}

// attr writes an attribute of the text form.
func attr(name string, value any) string { return fmt.Sprintf("%s = %v", name, value) }

// intsText writes a list of integers.
func intsText(list ...int) string {
	parts := make([]string, len(list))
	for i, x := range list {
		parts[i] = strconv.Itoa(x)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// op adds a node with one result and returns the result's name.
func (w *bodyWriter) op(name, attrs string, in ...string) string {
	return w.ops(1, name, attrs, in...)[0]
}

// ops adds a node with n results.
func (w *bodyWriter) ops(n int, name, attrs string, in ...string) []string {
	out := make([]string, n)
	for i := range out {
		w.count++
		out[i] = "v" + strconv.Itoa(w.count)
	}
	if attrs != "" {
		attrs = " <" + attrs + ">"
	}
	fmt.Fprintf(&w.nodes, "   %s = %s%s (%s)\n", strings.Join(out, ", "), name, attrs, strings.Join(in, ", "))
	return out
}

// name gives a value the name of a result.
func (w *bodyWriter) name(result, value string) {
	fmt.Fprintf(&w.nodes, "   %s = Identity (%s)\n", result, value)
}

// ints adds a constant vector of integers.
func (w *bodyWriter) ints(list ...int) string {
	return w.op("Constant", attr("value_ints", intsText(list...)))
}

// int adds a constant integer.
func (w *bodyWriter) int(x int) string { return w.op("Constant", attr("value_int", x)) }

// number adds a constant of the element type of w.like.
func (w *bodyWriter) number(x float64) string {
	text := strconv.FormatFloat(x, 'e', -1, 32)
	return w.op("CastLike", "", w.op("Constant", attr("value_float", text)), w.like)
}

// split cuts the last axis of x into n parts of the given size.
func (w *bodyWriter) split(x string, n, size int) []string {
	sizes := make([]int, n)
	fillWith(sizes, size)
	if n == 1 {
		return []string{x}
	}
	return w.ops(n, "Split", attr("axis", -1), x, w.ints(sizes...))
}

// function returns the text of the function with the given formals.
func (w *bodyWriter) function(domain, name string, in, out []string) string {
	return fmt.Sprintf("<domain: %q, opset_import: []> %s (%s) => (%s) {\n%s}",
		domain, name, strings.Join(in, ", "), strings.Join(out, ", "), w.nodes.String())
}
