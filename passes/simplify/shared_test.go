package simplify_test

import (
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/simplify"
)

// peer is what other tools make of a model: nodes without Constants, 0 where
// the tool fails.
type peer struct {
	model               string
	before, slim, basic int
	slimSeconds         float64
}

func readPeers(t *testing.T) []peer {
	shared := os.Getenv("ONNXPACK_SHARED")
	if shared == "" {
		t.Skip("ONNXPACK_SHARED is not set")
	}
	f, err := os.Open(filepath.Join(shared, "peers", "nodes.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	var peers []peer
	for _, row := range rows[1:] {
		number := func(name string) float64 {
			x, _ := strconv.ParseFloat(row[column[name]], 64)
			return x
		}
		path := row[column["model"]]
		if !strings.HasSuffix(path, ".onnx") {
			path += "/mnist.onnx"
		}
		p := peer{model: strings.Replace(path, "rten_mnist_external", "rten_mnist_external", 1),
			before: int(number("nodes_minus_Constant")), basic: int(number("ort_basic"))}
		if p.slim = int(number("onnxslim")); p.slim > 0 {
			p.slimSeconds = number("onnxslim_cpu_s")
		}
		peers = append(peers, p)
	}
	return peers
}

// countNodes counts nodes without Constants, subgraphs included.
func countNodes(m *graph.Model) int {
	n := 0
	for x := range m.Nodes(graph.InMain | graph.InSubgraphs) {
		if !x.Is("Constant") {
			n++
		}
	}
	return n
}

// TestNodesOfPeers holds simplify to the node counts and times of other tools
// on real models.
func TestNodesOfPeers(t *testing.T) {
	dir := os.Getenv("ONNXPACK_SHARED")
	ours, slims := 0, 0
	for _, p := range readPeers(t) {
		f, err := onnxio.Open(filepath.Join(dir, "models", p.model), onnxio.OpenOptions{})
		if err != nil {
			t.Errorf("%s: %v", p.model, err)
			continue
		}
		start := time.Now()
		m, report, err := passes.Pipeline{Steps: []passes.Step{simplify.Simplify.Default()}}.Run(context.Background(), f.Model, nil)
		took := time.Since(start)
		if err != nil {
			t.Errorf("%s: %v", p.model, err)
			f.Close()
			continue
		}
		n := countNodes(m)
		limit := p.before
		for _, x := range []int{p.slim, p.basic} {
			if x > 0 {
				limit = min(limit, x)
			}
		}
		verdict := ""
		if n > limit {
			verdict = "  MORE"
		}
		t.Logf("%-38s before %4d  slim %4d  basic %4d  ours %4d  %4d ms of %4.0f%s", p.model, p.before, p.slim, p.basic, n,
			took.Milliseconds(), p.slimSeconds*1000, verdict)
		if n > limit {
			t.Errorf("%s: %d nodes, other tools reach %d; %v", p.model, n, limit, report.Steps[0])
		}
		if p.slim > 0 && p.basic > 0 {
			ours += n
			slims += p.slim
		}
		f.Close()
	}
	t.Logf("in sum %d, OnnxSlim %d", ours, slims)
}
