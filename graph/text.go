package graph

import (
	"bufio"
	"io"
	"strings"
)

// ParseModel reads a model in the text form that the package comment
// describes. Errors are of type [*SyntaxError].
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
