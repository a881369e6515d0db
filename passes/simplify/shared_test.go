package simplify_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/simplify"
	"github.com/onnxpack/onnxpack/targets/ort"
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
		p := peer{model: path,
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

// TestNodesOfPeers holds simplify to the node counts of other tools on real
// models, and to less than half of OnnxSlim's CPU time on all of them together.
func TestNodesOfPeers(t *testing.T) {
	dir := os.Getenv("ONNXPACK_SHARED")
	ours, slims := 0, 0
	var slimTime float64
	start := cpuTime()
	for _, p := range readPeers(t) {
		f, err := onnxio.Open(filepath.Join(dir, "models", p.model), onnxio.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		line := passes.Pipeline{Steps: []passes.Step{simplify.Simplify.Default()}}
		m, report, err := line.Run(context.Background(), f.Model, nil)
		if err != nil {
			t.Fatalf("%s: %v", p.model, err)
		}
		n := countNodes(m)
		limit := p.before
		for _, x := range []int{p.slim, p.basic} {
			if x > 0 {
				limit = min(limit, x)
			}
		}
		t.Logf("%-38s before %4d  slim %4d  basic %4d  ours %4d", p.model, p.before, p.slim, p.basic, n)
		if n > limit {
			t.Errorf("%s: %d nodes, other tools reach %d; %v", p.model, n, limit, report.Steps[0])
		}
		if p.slim > 0 {
			ours += n
			slims += p.slim
			slimTime += p.slimSeconds
		}
		f.Close()
	}
	took := (cpuTime() - start).Seconds()
	t.Logf("nodes in sum %d, OnnxSlim %d; CPU time %.2f s, OnnxSlim %.2f s", ours, slims, took, slimTime)
	if took > slimTime/2 {
		t.Errorf("took %.2f s of CPU time, want at most half of OnnxSlim's %.2f s", took, slimTime)
	}
}

// TestOutputs compares the outputs of real models before and after simplify in
// ONNX Runtime, on random feeds.
func TestOutputs(t *testing.T) {
	peers := readPeers(t)
	ctx := context.Background()
	install, err := ort.Find(ctx)
	if errors.Is(err, ort.ErrMissing) {
		t.Skip(err)
	}
	p, err := ort.Start(ctx, install)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Close() }()
	for _, peer := range peers {
		path := filepath.Join(os.Getenv("ONNXPACK_SHARED"), "models", peer.model)
		t.Run(peer.model, func(t *testing.T) {
			f, err := onnxio.Open(path, onnxio.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			feeds := sample(t, f.Model, feedSpecs[peer.model])
			if peer.model == "silero_vad.onnx" { // takes 512 samples at 16 kHz
				feeds["input"], feeds["sr"] = noise(1, 512), tensor.Scalar[int64](16000)
				feeds["state"] = noise(2, 1, 128)
			}
			want, err := runORT(ctx, p, ort.Options{Path: path}, feeds)
			if err != nil {
				t.Skipf("the original does not run on random feeds: %v", err)
			}
			m, _, err := passes.Pipeline{Steps: []passes.Step{simplify.Simplify.Default()}}.Run(ctx, f.Model, nil)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := onnxio.Encode(&b, m); err != nil {
				t.Fatal(err)
			}
			got, err := runORT(ctx, p, ort.Options{Model: b.Bytes()}, feeds)
			if err != nil {
				t.Fatal(err)
			}
			for name, w := range want {
				d, err := passes.Compare(w, got[name])
				if err != nil || d.Max > 1e-4 {
					t.Errorf("output %q: drift %v, %v", name, d, err)
				}
			}
		})
	}
}

// feedSpecs are the sizes of feeds that models ask for beyond what their inputs
// declare.
var feedSpecs = map[string]string{
	"genai_tiny_gpt2_past.onnx": "random:1?seq_len=3&total_seq_len=7&past_seq_len=4",
}

func sample(t *testing.T, m *graph.Model, spec string) map[string]tensor.Value {
	t.Helper()
	if spec == "" {
		spec = "random:1"
	}
	d, err := dataset.Open(spec, m.Graph.Inputs())
	if err != nil {
		t.Skip(err)
	}
	s, err := d.At(0)
	if err != nil {
		t.Skip(err)
	}
	return s.Feeds
}

// noise returns random numbers of the given shape.
func noise(shape ...int) *tensor.Tensor {
	rng := rand.New(rand.NewPCG(1, 1))
	x := make([]float32, tensor.Shape(shape).Len())
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return tensor.Of(shape, x)
}

func runORT(ctx context.Context, p *ort.Process, o ort.Options, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	o.Threads = 1
	s, err := p.Load(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.Close(ctx)
	return s.Run(ctx, feeds)
}
