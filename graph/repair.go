package graph

import (
	"fmt"
	"strings"
)

// Repair mends what Check refuses and runtimes accept, where there is one way
// to: nodes in a wrong order are sorted; a domain outside ai.onnx that is used
// but not imported is imported at version 1, as runtimes take it; an import
// that is given twice alike is given once; and a model whose initializers are
// not inputs gets the first ir_version that allows so. It returns what was
// changed, in words.
func Repair(m *Model) []string {
	var done []string
	note := func(format string, args ...any) { done = append(done, fmt.Sprintf(format, args...)) }
	m.Opsets = uniqueOpsets(m.Opsets, func(s Opset) { note("opset %d of domain %q was imported twice", s.Version, s.Domain) })
	if m.IRVersion < 4 && m.hasBareInits() {
		note("ir_version %d becomes 4, as initializers are not inputs", m.IRVersion)
		m.IRVersion = 4
	}
	for g := range m.Graphs(Everywhere) {
		for n := range g.Nodes() {
			if domain, missing := n.missingImport(); missing {
				note("opset 1 of domain %q is imported", domain)
				g.importOpset(Opset{domain, 1})
			}
		}
		if first := g.first; !g.inOrder() && g.sort() == nil && first != nil {
			note("nodes of graph %q are put in order", g.Name)
		}
	}
	return done
}

func uniqueOpsets(sets []Opset, twice func(Opset)) []Opset {
	seen := map[Opset]bool{}
	kept := make([]Opset, 0, len(sets))
	for _, s := range sets {
		if seen[s] {
			twice(s)
			continue
		}
		seen[s] = true
		kept = append(kept, s)
	}
	return kept
}

func (m *Model) hasBareInits() bool {
	for g := range m.Graphs(InMain | InTraining | InSubgraphs) {
		for _, v := range g.inits {
			if !v.input {
				return true
			}
		}
	}
	return false
}

// missingImport returns the domain of n if it must be imported and is not.
func (n *Node) missingImport() (string, bool) {
	custom := n.Domain != "" && !strings.HasPrefix(n.Domain, "ai.onnx")
	return n.Domain, custom && n.Opset() == 0
}

// importOpset imports a domain where g's nodes look for it.
func (g *Graph) importOpset(s Opset) {
	switch r := g.Root(); {
	case r.function != nil:
		r.function.Opsets = setOpset(r.function.Opsets, s.Domain, s.Version)
	case r.model != nil:
		r.model.SetOpset(s.Domain, s.Version)
	}
}

// inOrder reports whether each node of g follows those that it reads.
func (g *Graph) inOrder() bool {
	placed := make(map[*Node]bool, g.numNodes)
	for n := g.first; n != nil; n = n.next {
		for v := range n.Reads() {
			if p := v.producer; p != nil && p.graph == g && !placed[p] {
				return false
			}
		}
		placed[n] = true
	}
	return true
}
