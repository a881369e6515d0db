package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/graph/grad"
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

// opRow is what is known of an operator in the versions of its domain in which
// it is called in one way.
type opRow struct {
	Domain     string   `json:"domain"`
	Name       string   `json:"name"`
	Since      int64    `json:"since"`
	Until      int64    `json:"until,omitempty"`
	Deprecated bool     `json:"deprecated,omitempty"`
	Rules      []string `json:"rules"`
}

func listOps(c *cli.Context) error {
	want := c.Args().Slice()
	rows := opRows(want)
	if len(rows) == 0 {
		return fmt.Errorf("ops: there is no operator %s", strings.Join(want, ", "))
	}
	return emit(c, rows, func(w io.Writer) { writeOps(w, rows) })
}

// opRows lists the rules of the operators of the given names, or of all, from
// version to version.
func opRows(want []string) []opRow {
	var rows []opRow
	for s := range op.Schemas() {
		if last := len(rows) - 1; last >= 0 && rows[last].Domain == s.Domain && rows[last].Name == s.Name {
			rows[last].Until = s.Since - 1
		}
		row := opRow{Domain: s.Domain, Name: s.Name, Since: s.Since, Deprecated: s.Deprecated, Rules: []string{}}
		if d := op.Find(s.Domain, s.Name, s.Since); d != nil && !s.Deprecated {
			row.Rules = rulesOf(d)
		}
		rows = append(rows, row)
	}
	for d := range op.All() {
		if len(op.Versions(d.Domain, d.Name)) == 0 {
			rows = append(rows, opRow{Domain: d.Domain, Name: d.Name, Since: d.Since, Rules: rulesOf(d)})
		}
	}
	return slices.DeleteFunc(rows, func(r opRow) bool { return len(want) > 0 && !slices.Contains(want, r.Name) })
}

var ruleNames = []string{"infer", "eval", "grad", "axes", "quant", "cost", "body"}

func rulesOf(d *op.Def) []string {
	has := []bool{d.Infer != nil, d.Eval != nil, d.Grad != nil || !d.HasGrad() && grad.Has(d), d.Axes != nil, d.Quant != nil, d.Cost != nil, d.Body != "" || d.BodyFor != nil}
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
		switch {
		case r.Deprecated:
			versions += " gone"
		case r.Until == r.Since:
			versions = fmt.Sprint(r.Since)
		case r.Until > 0:
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
