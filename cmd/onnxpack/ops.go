package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/graph/op"
)

func opsCommand() *cli.Command {
	return &cli.Command{
		Name:      "ops",
		Usage:     "list the operators and what is known of each",
		ArgsUsage: "[OPERATOR…]",
		Category:  catAbout,
		Description: `infer: shapes and types; eval: it can be run; grad: it can be trained through;
axes: its channels can be pruned; quant: it can be quantized; cost: its work is
counted; body: it is composed of other operators, whose rules stand in.`,
		Action: listOps,
	}
}

type opRow struct {
	Domain string   `json:"domain"`
	Name   string   `json:"name"`
	Since  int64    `json:"since"`
	Until  int64    `json:"until,omitempty"`
	Rules  []string `json:"rules"`
}

func listOps(c *cli.Context) error {
	want := c.Args().Slice()
	rows := opRows(want)
	if len(rows) == 0 {
		return fmt.Errorf("ops: there is no operator %s", strings.Join(want, ", "))
	}
	return emit(c, rows, func(w io.Writer) { writeOps(w, rows) })
}

// opRows lists the rules of the operators of the given names, or of all.
func opRows(want []string) []opRow {
	var rows []opRow
	for d := range op.All() {
		if len(want) > 0 && !slices.Contains(want, d.Name) {
			continue
		}
		rows = append(rows, opRow{d.Domain, d.Name, d.Since, d.Until, rulesOf(d)})
	}
	slices.SortFunc(rows, func(a, b opRow) int {
		if c := strings.Compare(a.Domain, b.Domain); c != 0 {
			return c
		}
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return int(a.Since - b.Since)
	})
	return rows
}

var ruleNames = []string{"infer", "eval", "grad", "axes", "quant", "cost", "body"}

func rulesOf(d *op.Def) []string {
	has := []bool{d.Infer != nil, d.Eval != nil, d.Grad != nil, d.Axes != nil, d.Quant != nil, d.Cost != nil, d.Body != "" || d.BodyFor != nil}
	rules := []string{}
	for i, name := range ruleNames {
		if has[i] {
			rules = append(rules, name)
		}
	}
	return rules
}

func writeOps(w io.Writer, rows []opRow) {
	head := []any{"operator", "versions"}
	for _, name := range ruleNames {
		head = append(head, name)
	}
	tab := newTable(w, head...)
	for _, r := range rows {
		name, versions := r.Name, fmt.Sprintf("%d-", r.Since)
		if r.Domain != "" {
			name = r.Domain + "::" + r.Name
		}
		if r.Until > 0 {
			versions += fmt.Sprint(r.Until)
		}
		row := []any{name, versions}
		for _, rule := range ruleNames {
			mark := "."
			if slices.Contains(r.Rules, rule) {
				mark = "x"
			}
			row = append(row, mark)
		}
		tab.AppendRow(row)
	}
	tab.Render()
}
