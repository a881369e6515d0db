package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
)

// Function returns the function that a call of a composite operator stands
// for, nil if d has no body. Attributes that the call leaves out have the
// defaults of the schema; where the text states no version of a domain, the
// one that opset gives is in force.
func (d *Def) Function(c *Call, opset func(domain string) int64) (*graph.Function, error) {
	text := d.Body
	if d.BodyFor != nil {
		var err error
		if text, err = d.BodyFor(c); err != nil {
			return nil, err
		}
	}
	if text == "" {
		return nil, nil
	}
	f, err := graph.ParseFunction(text)
	if err != nil {
		return nil, fmt.Errorf("body of operator %s: %w", d.Name, err)
	}
	for g := range f.Body.Walk() {
		for n := range g.Nodes() {
			if f.Opset(n.Domain) == 0 {
				f.Opsets = append(f.Opsets, graph.Opset{Domain: n.Domain, Version: opset(n.Domain)})
			}
		}
	}
	if s := d.Schema(c.Version); s != nil {
		for _, a := range s.Attrs {
			if a.Default != nil {
				f.Defaults = append(f.Defaults, a.Default)
			}
		}
	}
	return f, nil
}
