package op

import (
	"fmt"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// gradEinsum: the gradient of an operand is the einsum of dy and the other
// operands with the operand's term for the result:
//
//	y = Einsum <"ij,jk->ik"> (a, b)    da = Einsum <"ik,jk->ij"> (dy, b)
//
// A label that only the operand has is taken from a vector of ones, one that
// it has twice from a unit matrix.
func gradEinsum(g *Grad) error {
	lhs, rhs, explicit := strings.Cut(strings.ReplaceAll(g.Node.Str("equation", ""), " ", ""), "->")
	terms := strings.Split(lhs, ",")
	if len(terms) != len(g.In) {
		return fmt.Errorf("the equation has %d operands, the node has %d", len(terms), len(g.In))
	}
	if !explicit {
		rhs = implicitTerm(lhs)
	}
	if strings.Contains(lhs, "...") && !strings.Contains(rhs, "...") {
		return fmt.Errorf("the gradient of a sum over an ellipsis is not known")
	}
	for i := range g.In {
		if g.Wanted(i) {
			g.Set(i, g.einsumOperand(terms, rhs, i))
		}
	}
	return nil
}

// implicitTerm is the result that an equation without one means.
func implicitTerm(lhs string) string {
	var b strings.Builder
	if strings.Contains(lhs, "...") {
		b.WriteString("...")
	}
	for c := 'A'; c <= 'z'; c++ {
		if c != ',' && c != '.' && strings.Count(lhs, string(c)) == 1 {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// einsumOperand returns the gradient of operand i.
func (g *Grad) einsumOperand(terms []string, rhs string, i int) *graph.Value {
	in, ops := []string{rhs}, []*graph.Value{g.DOut[0]}
	for j, t := range terms {
		if j != i {
			in, ops = append(in, t), append(ops, g.In[j])
		}
	}
	known := strings.Join(in, "")
	all := strings.Join(terms, "") + rhs
	var result strings.Builder
	for axis, c := range strings.Split(strings.ReplaceAll(terms[i], "...", "."), "") {
		switch {
		case c == ".":
			result.WriteString("...")
			continue
		case strings.Contains(result.String(), c):
			fresh := freshLabel(all + result.String())
			in, ops = append(in, c+fresh), append(ops, g.unitMatrix(g.einsumDim(terms[i], i, axis)))
			c = fresh
		case !strings.Contains(known, c):
			in, ops = append(in, c), append(ops, g.Op("Expand", g.Number(1), g.einsumDim(terms[i], i, axis)))
		}
		result.WriteString(c)
	}
	equation := graph.StringAttr("equation", strings.Join(in, ",")+"->"+result.String())
	d := g.B.OpAttrs("Einsum", []*graph.Attr{equation}, ops...)
	if !strings.Contains(terms[i], "...") {
		return d
	}
	return g.Private("ReduceTo", nil, d, g.ShapeOf(g.In[i]))
}

// einsumDim returns, as a vector, the size of the axis of operand i that
// position at of its term names, an ellipsis being one position.
func (g *Grad) einsumDim(term string, i, at int) *graph.Value {
	if before, _, ok := strings.Cut(term, "..."); ok && at > len(before) {
		at -= len(term) - 2 // counted from the end
	}
	return g.Op("Gather", g.Op("Shape", g.In[i]), g.Int64s(int64(at)))
}

// unitMatrix returns the unit matrix of the size that a vector of one states.
func (g *Grad) unitMatrix(size *graph.Value) *graph.Value {
	scalar := func(x int64) *graph.Value { return g.B.Const("i", tensor.Of(tensor.Shape{}, []int64{x})) }
	r := g.Op("Range", scalar(0), g.Op("Squeeze", size), scalar(1))
	return g.Mask(g.Op("Equal", g.Unsqueeze(r, 1), r))
}

// freshLabel returns a letter that is not in use.
func freshLabel(used string) string {
	for c := 'a'; ; c++ {
		if !strings.Contains(used, string(c)) {
			return string(c)
		}
	}
}
