package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/onnxio"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "say whether a model is valid, and where it is not",
		ArgsUsage: "MODEL",
		Category:  catLook,
		Description: `Checks the graph, every node against its operator's schema, shapes and types,
and that our engine knows every operator. The exit code is 1 if there is a
problem.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "verify-checksums", Usage: "compare external data with its checksum"},
		},
		Action: checkModel,
	}
}

// checkResult is the JSON of check.
type checkResult struct {
	Model    string   `json:"model"`
	Valid    bool     `json:"valid"`
	Problems []string `json:"problems"`
	Remarks  []string `json:"remarks"`
}

func checkModel(c *cli.Context) error {
	args, err := operands(c, "MODEL")
	if err != nil {
		return err
	}
	f, err := onnxio.Open(args[0], onnxio.OpenOptions{Checksum: c.Bool("verify-checksums")})
	if err != nil {
		return err
	}
	defer f.Close()
	r := checkResult{Model: args[0], Problems: []string{}, Remarks: []string{}}
	if err := graph.Check(f.Model); err != nil {
		r.Problems = append(r.Problems, err.Error())
	} else {
		r.checkCalls(f.Model)
	}
	r.Valid = len(r.Problems) == 0
	err = emit(c, r, r.write)
	if err == nil && !r.Valid {
		return &gateError{}
	}
	return err
}

// checkCalls checks every node and the types between them.
func (r *checkResult) checkCalls(m *graph.Model) {
	for g := range m.Graphs(graph.Everywhere) {
		for n := range g.Nodes() {
			if m.Function(n.Domain, n.Op, n.Overload) != nil {
				continue
			}
			d := op.Find(n.Domain, n.Op, n.Opset())
			if d == nil {
				r.Remarks = append(r.Remarks, fmt.Sprintf("%v: operator of domain %q, version %d, is not known: it is kept, and cannot be run", n, n.Domain, n.Opset()))
				continue
			}
			if err := op.CheckCall(n, n.Opset()); err != nil {
				r.Problems = append(r.Problems, fmt.Sprintf("%v: %v", n, err))
			}
		}
	}
	for _, gap := range op.InferModel(m.Clone(), op.InferOptions{}).Gaps {
		line := fmt.Sprintf("%v: %v", gap.Node, gap.Err)
		if errors.Is(gap.Err, op.ErrDataDependent) {
			r.Remarks = append(r.Remarks, line)
		} else {
			r.Problems = append(r.Problems, line)
		}
	}
}

func (r checkResult) write(w io.Writer) {
	if r.Valid {
		fmt.Fprintf(w, "%s: valid\n", r.Model)
	} else {
		fmt.Fprintf(w, "%s: not valid\n", r.Model)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "  %s\n", p)
	}
	for _, p := range r.Remarks {
		fmt.Fprintf(w, "  remark: %s\n", p)
	}
}
