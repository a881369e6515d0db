package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// openModel opens a model and refuses one that is broken beyond repair; what
// can be mended is, in memory.
func openModel(path string) (*onnxio.File, error) {
	f, err := onnxio.Open(path, onnxio.OpenOptions{})
	if err != nil {
		return nil, err
	}
	err = graph.Check(f.Model)
	if err != nil && len(graph.Repair(f.Model)) > 0 {
		err = graph.Check(f.Model)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// openData opens the data that a flag names, for a model's inputs.
func openData(c *cli.Context, flag string, m *graph.Model) (*dataset.Data, error) {
	d, err := dataset.Open(c.String(flag), m.Graph.Inputs())
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return d, nil
}

// targetFlag reads --target.
func targetFlag(c *cli.Context) (targets.Target, error) {
	name := c.String("target")
	if name == "" || name == "host" {
		return targets.Host(), nil
	}
	return targets.ByName(name)
}

func targetFlagDef() cli.Flag {
	return &cli.StringFlag{Name: "target", Usage: "make it for the CPU profile `NAME`; see onnxpack targets", Value: "host"}
}

// emulateFlagDef is --target of the verbs that show what a model computes.
func emulateFlagDef() cli.Flag {
	return &cli.StringFlag{Name: "target", Usage: "compute integer products as a runtime on the CPU profile `NAME` does, saturation included; ONNX Runtime is given such a CPU; see onnxpack targets", Value: "host"}
}

// engineOptions reads the flags that say how a model runs.
func engineOptions(c *cli.Context) (engine.Options, error) {
	o, err := targetOptions(c)
	if err == nil {
		o.Threads, err = threads(c)
	}
	return o, err
}

// targetOptions is engineOptions for verbs that have their own --threads.
func targetOptions(c *cli.Context) (o engine.Options, err error) {
	if o.Target, err = targetFlag(c); err != nil {
		return o, err
	}
	o.MaxMemory = availableMemory()
	if text := c.String("max-memory"); text != "" {
		if o.MaxMemory, err = parseBytes(text); err != nil {
			return o, fmt.Errorf("--max-memory: %w", err)
		}
	}
	return o, nil
}

func maxMemoryFlagDef() cli.Flag {
	return &cli.StringFlag{Name: "max-memory", Usage: "refuse a model that needs more than `SIZE` (as 500MB, 2GiB) for weights and values in the embedded engine (default: what is available)"}
}

func dataFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "data", Usage: usage}
}

// externalFlags say where the tensors of a written model are kept.
func externalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "external", Usage: "keep tensors of `BYTES` and more outside the model's file", Category: "Files"},
		&cli.BoolFlag{Name: "internal", Usage: "keep all tensors in the model's file", Category: "Files"},
		&cli.BoolFlag{Name: "per-tensor", Usage: "give each tensor outside the model a file of its own", Category: "Files"},
		&cli.BoolFlag{Name: "checksums", Usage: "state the checksum of external data", Category: "Files"},
		&cli.BoolFlag{Name: "verify-checksums", Usage: "compare external data with its checksum when reading", Category: "Files"},
	}
}

func saveOptions(c *cli.Context) (onnxio.SaveOptions, error) {
	o := onnxio.SaveOptions{External: c.Int("external"), PerTensor: c.Bool("per-tensor"), Checksum: c.Bool("checksums")}
	if o.External < 0 || c.IsSet("external") && o.External == 0 {
		return o, fmt.Errorf("--external is %d, want a number of bytes from 1", o.External)
	}
	if c.Bool("internal") {
		if c.IsSet("external") {
			return o, errors.New("--internal and --external exclude each other")
		}
		o.External = -1
	}
	return o, nil
}

// modelBytes returns the size of a model's file with its external data.
func modelBytes(path string, f *onnxio.File) int64 {
	total := fileBytes(path)
	seen := map[string]bool{}
	for g := range f.Model.Graphs(graph.Everywhere) {
		for _, v := range g.Inits() {
			x := v.Init.External
			if x == nil || seen[x.Location] {
				continue
			}
			seen[x.Location] = true
			total += fileBytes(filepath.Join(filepath.Dir(path), filepath.FromSlash(x.Location)))
		}
	}
	return total
}

// figures are what can be said of a model without running it.
type figures struct {
	Nodes      int    `json:"nodes"`          // those of subgraphs included, Constant and quantizing ones aside
	QDQ        int    `json:"quantize_nodes"` // QuantizeLinear and DequantizeLinear, which runtimes fuse into others
	Params     int64  `json:"parameters"`
	FileBytes  int64  `json:"file_bytes"`
	Flops      int64  `json:"flops"`
	FlopsKnown bool   `json:"flops_known"` // false if the shapes of some nodes are not known
	MACs       int64  `json:"macs"`
	Opset      int64  `json:"opset"`
	Producer   string `json:"producer,omitempty"`
}

// countModel measures a model's size; the cost is that of feeds of the given
// shapes, and of the declared ones where there are none.
func countModel(m *graph.Model, feeds map[string]tensor.Shape) figures {
	fig := figures{Opset: m.Opset(""), Producer: m.Producer, FlopsKnown: true}
	counted, _ := inferred(m, feeds)
	for g := range counted.Graphs(graph.InMain | graph.InSubgraphs) {
		for n := range g.Nodes() {
			if n.Is("Constant") {
				fig.Params += constantLen(n)
				continue
			}
			if n.Is("QuantizeLinear", "DequantizeLinear") {
				fig.QDQ++
				continue
			}
			fig.Nodes++
			cost := op.CostOf(n)
			fig.Flops += cost.Flops
			fig.MACs += cost.MACs
			fig.FlopsKnown = fig.FlopsKnown && (cost.Known || isShapeWork(n))
		}
		for _, v := range g.Inits() {
			fig.Params += int64(v.Init.Shape().Len())
		}
	}
	return fig
}

// inferred returns a copy of m with types inferred for feeds of the given
// shapes; an input without one has the declared shape, and a first axis of 1
// where that is open.
func inferred(m *graph.Model, feeds map[string]tensor.Shape) (*graph.Model, *op.Inference) {
	types := map[string]*graph.Type{}
	for _, v := range m.Graph.Inputs() {
		if v.Type == nil || v.Type.Kind != graph.KindTensor {
			continue
		}
		dims := slices.Clone(v.Type.Shape)
		if s, ok := feeds[v.Name()]; ok {
			dims = graph.DimsOf(s)
		} else if len(dims) > 0 && !dims[0].IsKnown() {
			dims[0] = graph.Known(1)
		}
		types[v.Name()] = graph.TensorOf(v.Type.Elem, dims)
	}
	c := m.Clone()
	return c, op.InferModel(c, op.InferOptions{Inputs: types})
}

// isShapeWork reports whether a node only computes integers, whose work does
// not count.
func isShapeWork(n *graph.Node) bool {
	t := n.Out(0)
	return t != nil && t.Type != nil && t.Type.Kind == graph.KindTensor && !t.Type.Elem.IsFloat()
}

func constantLen(n *graph.Node) int64 {
	if a := n.Attr("value"); a != nil && len(a.Literals) == 1 {
		return int64(a.Literals[0].Shape().Len())
	}
	return 0
}
