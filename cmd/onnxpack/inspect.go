package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show what a model is made of",
		ArgsUsage: "MODEL",
		Category:  catLook,
		Description: `Inputs, outputs, opsets, and where parameters and work are: by operator, or
with --layers node by node.

   onnxpack inspect model.onnx --shape image=1x3x224x224
   onnxpack inspect model.onnx --text`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "layers", Usage: "list every node with its result, parameters and work"},
			&cli.BoolFlag{Name: "text", Usage: "print the model in ONNX's text form, big tensors cut short"},
			&cli.IntFlag{Name: "top", Usage: "list the `N` largest tensors", Value: 8},
			&cli.StringSliceFlag{Name: "shape", Usage: "count the work for an input `NAME=1x3x224x224`"},
		},
		Action: inspectModel,
	}
}

// elide is the greatest number of elements that --text writes out.
const elide = 16

// inspection is the JSON of inspect.
type inspection struct {
	Model    string            `json:"model"`
	IR       int64             `json:"ir_version"`
	Opsets   map[string]int64  `json:"opsets"`
	Inputs   []portRow         `json:"inputs"`
	Outputs  []portRow         `json:"outputs"`
	Size     figures           `json:"size"`
	Ops      []opCount         `json:"operators"`
	DTypes   []dtypeCount      `json:"dtypes"`
	Tensors  []tensorRow       `json:"largest_tensors"`
	Layers   []layerRow        `json:"layers,omitempty"`
	Gaps     []string          `json:"shapes_unknown,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

type portRow struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type opCount struct {
	Op     string `json:"op"`
	Nodes  int    `json:"nodes"`
	Params int64  `json:"parameters"`
	Flops  int64  `json:"flops"`
}

type dtypeCount struct {
	DType    string `json:"dtype"`
	Tensors  int    `json:"tensors"`
	Elements int64  `json:"elements"`
	Bytes    int64  `json:"bytes"`
}

type tensorRow struct {
	Name     string  `json:"name"`
	Type     string  `json:"type"`
	Bytes    int64   `json:"bytes"`
	Sparsity float64 `json:"sparsity"` // share of elements that are zero
}

type layerRow struct {
	Node   string `json:"node"`
	Op     string `json:"op"`
	Result string `json:"result"`
	Params int64  `json:"parameters"`
	Flops  int64  `json:"flops"`
	Known  bool   `json:"flops_known"`
}

func inspectModel(c *cli.Context) error {
	args, err := operands(c, "MODEL")
	if err != nil {
		return err
	}
	f, err := openModel(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if c.Bool("text") {
		return graph.TextOptions{Elide: elide}.Write(c.App.Writer, f.Model)
	}
	shapes, err := shapeFlags(c.StringSlice("shape"), f.Model)
	if err != nil {
		return err
	}
	r := inspect(f.Model, shapes, c.Int("top"))
	r.Model = args[0]
	r.Size.FileBytes = modelBytes(args[0], f)
	if !c.Bool("layers") {
		r.Layers = nil
	}
	return emit(c, r, func(w io.Writer) { r.write(w) })
}

// shapeFlags reads NAME=1x3x224x224 for inputs of m.
func shapeFlags(list []string, m *graph.Model) (map[string]tensor.Shape, error) {
	shapes := map[string]tensor.Shape{}
	for _, text := range list {
		name, shape, err := parseShape(text)
		if err != nil {
			return nil, err
		}
		v := m.Graph.Value(name)
		if v == nil || !v.IsInput() {
			return nil, fmt.Errorf("--shape %s: the model has no input %q", text, name)
		}
		shapes[name] = shape
	}
	return shapes, nil
}

func parseShape(text string) (string, tensor.Shape, error) {
	name, dims, ok := strings.Cut(text, "=")
	shape := tensor.Shape{}
	for part := range strings.SplitSeq(dims, "x") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			ok = false
		}
		shape = append(shape, n)
	}
	if !ok || name == "" {
		return "", nil, fmt.Errorf("--shape %s: want NAME=1x3x224x224", text)
	}
	return name, shape, shape.Check()
}

func inspect(m *graph.Model, shapes map[string]tensor.Shape, top int) *inspection {
	r := &inspection{IR: m.IRVersion, Opsets: map[string]int64{}, Size: countModel(m, shapes)}
	for _, s := range m.Opsets {
		r.Opsets[s.Domain] = s.Version
	}
	for _, p := range m.Metadata {
		if r.Metadata == nil {
			r.Metadata = map[string]string{}
		}
		r.Metadata[p.Key] = p.Value
	}
	declared := m.Clone()
	op.InferModel(declared, op.InferOptions{})
	r.Inputs, r.Outputs = ports(declared.Graph.Inputs()), ports(declared.Graph.Outputs())
	m, inference := inferred(m, shapes)
	for _, gap := range inference.Gaps {
		r.Gaps = append(r.Gaps, fmt.Sprintf("%v: %v", gap.Node, gap.Err))
	}
	r.countTensors(m, top)
	r.countNodes(m)
	return r
}

func ports(vs []*graph.Value) []portRow {
	rows := []portRow{}
	for _, v := range vs {
		rows = append(rows, portRow{v.Name(), v.Type.String()})
	}
	return rows
}

// literals lists the tensors written in a model, with the names they go by.
func literals(m *graph.Model) map[string]*graph.Literal {
	found := map[string]*graph.Literal{}
	for g := range m.Graphs(graph.InMain | graph.InSubgraphs | graph.InFunctions) {
		for _, v := range g.Inits() {
			found[v.Name()] = v.Init
		}
		for n := range g.Nodes() {
			if a := n.Attr("value"); n.Is("Constant") && a != nil && len(a.Literals) == 1 && n.Out(0) != nil {
				found[n.Out(0).Name()] = a.Literals[0]
			}
		}
	}
	return found
}

func (r *inspection) countTensors(m *graph.Model, top int) {
	kinds := map[string]*dtypeCount{}
	for name, l := range literals(m) {
		row := tensorRow{Name: name, Type: l.DType().String() + l.Shape().String()}
		k := kinds[l.DType().String()]
		if k == nil {
			k = &dtypeCount{DType: l.DType().String()}
			kinds[k.DType] = k
		}
		if l.Tensor != nil {
			row.Bytes = int64(l.Tensor.Size())
		}
		k.Tensors++
		k.Elements += int64(l.Shape().Len())
		k.Bytes += row.Bytes
		r.Tensors = append(r.Tensors, row)
	}
	r.DTypes = []dtypeCount{}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		r.DTypes = append(r.DTypes, *kinds[name])
	}
	slices.SortFunc(r.Tensors, func(a, b tensorRow) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
	})
	r.Tensors = r.Tensors[:min(max(top, 0), len(r.Tensors))]
	all := literals(m)
	for i := range r.Tensors {
		r.Tensors[i].Sparsity = sparsity(all[r.Tensors[i].Name])
	}
}

// sparsity returns the share of elements that are zero.
func sparsity(l *graph.Literal) float64 {
	n := l.Shape().Len()
	if n == 0 {
		return 0
	}
	if l.Sparse != nil {
		return 1 - float64(l.Sparse.Values.Len())/float64(n)
	}
	if d := l.DType(); !d.IsFloat() && !d.IsInteger() {
		return 0
	}
	zeros := 0
	for _, x := range tensor.Float64s(l.Tensor) {
		if x == 0 {
			zeros++
		}
	}
	return float64(zeros) / float64(n)
}

func (r *inspection) countNodes(m *graph.Model) {
	counts := map[string]*opCount{}
	for g := range m.Graphs(graph.InMain | graph.InSubgraphs) {
		for n := range g.Nodes() {
			row := layerOf(n)
			if row.Op == "Constant" {
				continue
			}
			k := counts[row.Op]
			if k == nil {
				k = &opCount{Op: row.Op}
				counts[row.Op] = k
			}
			k.Nodes++
			k.Params += row.Params
			k.Flops += row.Flops
			r.Layers = append(r.Layers, row)
		}
	}
	r.Ops = []opCount{}
	for _, k := range counts {
		r.Ops = append(r.Ops, *k)
	}
	slices.SortFunc(r.Ops, func(a, b opCount) int {
		return cmp.Or(cmp.Compare(b.Flops, a.Flops), cmp.Compare(b.Nodes, a.Nodes), cmp.Compare(a.Op, b.Op))
	})
}

// layerOf describes a node; its parameters are the constants that it reads.
func layerOf(n *graph.Node) layerRow {
	cost := op.CostOf(n)
	row := layerRow{Node: n.Name, Op: n.Op, Flops: cost.Flops, Known: cost.Known}
	if n.Domain != "" {
		row.Op = n.Domain + "::" + n.Op
	}
	if v := n.Out(0); v != nil {
		row.Result = v.Type.String()
		if row.Node == "" {
			row.Node = v.Name()
		}
	}
	for _, v := range n.Ins() {
		if v != nil && v.IsConst() {
			row.Params += int64(v.Init.Shape().Len())
		}
	}
	return row
}

func (r *inspection) write(w io.Writer) {
	fmt.Fprintf(w, "%s: IR %d", r.Model, r.IR)
	for _, d := range slices.Sorted(maps.Keys(r.Opsets)) {
		fmt.Fprintf(w, ", %s %d", cmp.Or(d, "ai.onnx"), r.Opsets[d])
	}
	if r.Size.Producer != "" {
		fmt.Fprintf(w, ", by %s", r.Size.Producer)
	}
	fmt.Fprintf(w, "\n%d nodes, %s parameters, %s, %s flops\n\n", r.Size.Nodes, countText(r.Size.Params), bytesText(r.Size.FileBytes), flopsText(r.Size))
	ports := newTable(w, "", "name", "type")
	for _, p := range r.Inputs {
		ports.AppendRow([]any{"input", p.Name, p.Type})
	}
	for _, p := range r.Outputs {
		ports.AppendRow([]any{"output", p.Name, p.Type})
	}
	ports.Render()
	fmt.Fprintln(w)
	if r.Layers != nil {
		r.writeLayers(w)
	} else {
		r.writeOps(w)
	}
	fmt.Fprintln(w)
	types := newTable(w, "type", "tensors", "elements", "bytes")
	rightAlign(types, 4)
	for _, k := range r.DTypes {
		types.AppendRow([]any{k.DType, k.Tensors, countText(k.Elements), bytesText(k.Bytes)})
	}
	types.Render()
	fmt.Fprintln(w)
	big := newTable(w, "largest tensors", "type", "bytes", "zeros")
	for _, t := range r.Tensors {
		big.AppendRow([]any{t.Name, t.Type, bytesText(t.Bytes), fmt.Sprintf("%.1f %%", 100*t.Sparsity)})
	}
	big.Render()
	for _, g := range r.Gaps {
		fmt.Fprintf(w, "shape unknown: %s\n", g)
	}
}

func (r *inspection) writeOps(w io.Writer) {
	tab := newTable(w, "operator", "nodes", "parameters", "flops", "share")
	rightAlign(tab, 5)
	for _, k := range r.Ops {
		tab.AppendRow([]any{k.Op, k.Nodes, countText(k.Params), countText(k.Flops), share(k.Flops, r.Size.Flops)})
	}
	tab.Render()
}

func (r *inspection) writeLayers(w io.Writer) {
	tab := newTable(w, "node", "operator", "result", "parameters", "flops", "share")
	for _, l := range r.Layers {
		tab.AppendRow([]any{l.Node, l.Op, l.Result, countText(l.Params), countText(l.Flops), share(l.Flops, r.Size.Flops)})
	}
	tab.Render()
}

func share(part, whole int64) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}
