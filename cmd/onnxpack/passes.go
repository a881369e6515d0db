package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/catalog"
)

func passesCommand() *cli.Command {
	return &cli.Command{
		Name:      "passes",
		Usage:     "list the passes, or explain one with its options",
		ArgsUsage: "[PASS]",
		Category:  catAbout,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				args, err := operands(c, "PASS")
				if err != nil {
					return err
				}
				return explainPass(c, args[0])
			}
			return listPasses(c)
		},
	}
}

type passRow struct {
	Name    string          `json:"name"`
	Doc     string          `json:"doc"`
	Kind    passes.Kind     `json:"kind"`
	Needs   []string        `json:"needs"`
	After   []string        `json:"after,omitempty"`
	Options []passes.Option `json:"options"`
}

func rowOf(p *passes.Pass) passRow {
	return passRow{Name: p.Name, Doc: p.Doc, Kind: p.Kind, Needs: p.Needs.Names(), After: p.After, Options: p.Options()}
}

func listPasses(c *cli.Context) error {
	var rows []passRow
	for _, p := range catalog.All() {
		rows = append(rows, rowOf(p))
	}
	return emit(c, rows, func(w io.Writer) {
		tab := newTable(w, "pass", "kind", "needs", "")
		for _, p := range catalog.All() {
			tab.AppendRow([]any{p.Name, p.Kind, strings.Join(p.Needs.Names(), ", "), p.Summary()})
		}
		tab.Render()
	})
}

func explainPass(c *cli.Context, name string) error {
	p, err := passes.Find(name, catalog.All())
	if err != nil {
		return err
	}
	return emit(c, rowOf(p), func(w io.Writer) { writePass(w, p) })
}

func writePass(w io.Writer, p *passes.Pass) {
	fmt.Fprintf(w, "%s (%v)\n\n%s\n", p.Name, p.Kind, p.Doc)
	if len(p.Options()) == 0 {
		return
	}
	fmt.Fprintln(w)
	tab := newTable(w, "option", "default", "")
	for _, o := range p.Options() {
		tab.AppendRow([]any{o.Name, o.Default, o.Help})
	}
	tab.Render()
}
