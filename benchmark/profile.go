package benchmark

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Profile says where the time of a run goes.
type Profile struct {
	Host  Host  `json:"host"`
	Runs  int   `json:"runs"`
	Total int64 `json:"total_ns"` // of all steps of one run
	// Peak is what the cores in use can do, float32 operations in units of
	// 1e9 per second, as measured beside the model; 0 if that is not known.
	Peak float64 `json:"peak_gflops"`
	// PeakInt8 is the same of 8-bit integers.
	PeakInt8 float64 `json:"peak_int8_gops"`
	// Read is how many bytes the cores in use read, in units of 1e9 per second,
	// from as many as the step with most of them has, over and over: caches help
	// both alike. It is what bounds steps that do little with each byte; 0 if it
	// is not known.
	Read  float64      `json:"read_gbytes"`
	Ops   []ProfileRow `json:"ops"`   // by operator, the longest first
	Nodes []ProfileRow `json:"nodes"` // by node, in order of execution
	Why   []string     `json:"not_fused,omitempty"`
}

// ProfileRow is the share of an operator or node in one run: the median of its
// calls, times their number. Flops are of all nodes that a fused operator
// stands for, Bytes of the first of them, 0 if they are not known; a
// multiply-accumulate is two flops.
type ProfileRow struct {
	Name   string  `json:"name"`
	Op     string  `json:"op"`
	Int8   bool    `json:"int8,omitempty"` // computes with 8-bit integers
	Calls  int     `json:"calls"`
	Nanos  int64   `json:"ns"`
	Share  float64 `json:"share"`
	Flops  int64   `json:"flops"`
	Bytes  int64   `json:"bytes"`
	GFlops float64 `json:"gflops"`  // per second
	GBytes float64 `json:"gbytes"`  // per second
	OfPeak float64 `json:"of_peak"` // GFlops as a share of the profile's Peak or PeakInt8
	OfRead float64 `json:"of_read"` // GBytes as a share of the profile's Read
}

// warmupRuns is after how many runs with feeds of one size a session has left
// out what these decide, in bodies within bodies too.
const warmupRuns = 8

// ProfileModel runs m on the embedded engine, a few times to warm up and then
// the given number of times, and says which steps took how long.
func ProfileModel(ctx context.Context, m *graph.Model, o engine.Options, feeds map[string]tensor.Value, runs int) (*Profile, error) {
	rec := &recorder{work: workOf(m, feeds), rows: map[profileKey]*ProfileRow{}, times: map[profileKey][]int64{}}
	o.Trace = rec.step
	s, err := engine.Compile(ctx, m, o)
	if err != nil {
		return nil, err
	}
	for range warmupRuns {
		if _, err := s.Run(ctx, feeds); err != nil {
			return nil, err
		}
	}
	clear(rec.rows)
	clear(rec.times)
	rec.order = nil
	runs = max(runs, 1)
	for range runs {
		if _, err := s.Run(ctx, feeds); err != nil {
			return nil, err
		}
	}
	p := rec.profile(runs, &o)
	p.Host, p.Why = ThisHost(), s.Explain()
	return p, nil
}

// workOf returns the work of each node of the main graph for the given feeds.
func workOf(m *graph.Model, feeds map[string]tensor.Value) map[*graph.Node]op.Cost {
	to := graph.NewMapping()
	op.InferModel(m.CloneMapped(to), op.InferOptions{Inputs: op.TypesOf(feeds)})
	work := map[*graph.Node]op.Cost{}
	for n := range m.Graph.Nodes() {
		work[n] = op.CostOf(to.Nodes[n])
	}
	return work
}

type profileKey struct {
	node *graph.Node
	op   string
}

// recorder sums up the steps of runs.
type recorder struct {
	mu    sync.Mutex
	work  map[*graph.Node]op.Cost
	rows  map[profileKey]*ProfileRow
	times map[profileKey][]int64 // of all calls
	order []profileKey
}

func (r *recorder) step(s engine.Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := profileKey{s.Node, s.Op}
	row := r.rows[key]
	if row == nil {
		row = &ProfileRow{Name: s.Node.Name, Op: s.Op, Int8: computesBytes(s)}
		if s.Op != "ToImage" && s.Op != "FromImage" {
			row.Flops, row.Bytes = r.work[s.Node].Flops, r.work[s.Node].Bytes
			for _, n := range s.Rest {
				row.Flops += r.work[n].Flops
			}
			if v := s.Node.In(0); row.Int8 && v != nil && v.Type != nil && v.Type.Elem == tensor.Float32 {
				row.Bytes /= 4 // each float32 of the node is a byte in the step
			}
		}
		r.rows[key] = row
		r.order = append(r.order, key)
	}
	r.times[key] = append(r.times[key], (s.Elapsed - s.Inner).Nanoseconds())
}

// computesBytes reports whether a step works on 8-bit integers.
func computesBytes(s engine.Step) bool {
	if len(s.In) == 0 {
		return false
	}
	t, ok := s.In[0].(*tensor.Tensor)
	return ok && (t.DType() == tensor.Uint8 || t.DType() == tensor.Int8)
}

// measurePeaks measures what bounds steps, for as many threads as a run has: the
// multiply-accumulates of the target's kernels from registers, and the bytes
// that they read from so many. They stay 0 if the target's kernels do not run
// here.
func (p *Profile) measurePeaks(o *engine.Options, bytes int64) {
	target := o.Target
	if target.Name == "" {
		target = targets.Host()
	}
	table, err := target.Kernels()
	if err != nil {
		return
	}
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	p.Peak = float64(threads) * peakGFlops(table.PeakF32)
	p.PeakInt8 = float64(threads) * peakGFlops(table.PeakI8)
	p.Read = readGBytes(table, threads, bytes)
}

// peakGFlops returns the operations per second, two for each of the
// multiply-accumulates that run says it does, in units of 1e9.
func peakGFlops(run func(rounds int) int) (best float64) {
	for range 20 {
		start := time.Now()
		macs := run(1 << 12)
		best = max(best, 2*float64(macs)/time.Since(start).Seconds()/1e9)
	}
	return best
}

// Bounds of the bytes that are read to measure how fast that is.
const leastRead, mostRead = 1 << 20, 256 << 20

// readGBytes sums up an array of about so many bytes, a part in each thread.
func readGBytes(table *kernel.Table, threads int, bytes int64) (best float64) {
	each := int(min(max(bytes, leastRead), mostRead)) / 4 / threads
	parts := make([][]float32, threads)
	for i := range parts {
		parts[i] = make([]float32, each)
		for j := range parts[i] {
			parts[i][j] = 1
		}
	}
	for range 12 {
		var wg sync.WaitGroup
		start := time.Now()
		for _, part := range parts[1:] {
			wg.Go(func() { table.Sum(part) })
		}
		table.Sum(parts[0])
		wg.Wait()
		best = max(best, float64(4*each*threads)/time.Since(start).Seconds()/1e9)
	}
	return best
}

func (r *recorder) profile(runs int, o *engine.Options) *Profile {
	p := &Profile{Runs: runs, Ops: []ProfileRow{}, Nodes: []ProfileRow{}}
	bytes := int64(0)
	byOp := map[string]*ProfileRow{}
	for _, key := range r.order {
		row := *r.rows[key]
		times := r.times[key]
		slices.Sort(times)
		row.Calls = max(1, len(times)/runs)
		row.Nanos = times[len(times)/2] * int64(row.Calls)
		p.Total += row.Nanos
		p.Nodes = append(p.Nodes, row)
		bytes = max(bytes, row.Bytes)
		sum := byOp[row.Op]
		if sum == nil {
			sum = &ProfileRow{Name: row.Op, Op: row.Op, Int8: row.Int8}
			byOp[row.Op] = sum
		}
		sum.Calls += row.Calls
		sum.Nanos += row.Nanos
		sum.Flops += row.Flops
		sum.Bytes += row.Bytes
	}
	for _, row := range slices.SortedFunc(maps.Values(byOp), func(a, b *ProfileRow) int { return int(b.Nanos - a.Nanos) }) {
		p.Ops = append(p.Ops, *row)
	}
	p.measurePeaks(o, bytes)
	for _, rows := range [][]ProfileRow{p.Ops, p.Nodes} {
		for i := range rows {
			rows[i].rates(p)
		}
	}
	return p
}

func (r *ProfileRow) rates(p *Profile) {
	seconds := time.Duration(r.Nanos).Seconds()
	if seconds > 0 {
		r.GFlops = float64(r.Flops) / seconds / 1e9
		r.GBytes = float64(r.Bytes) / seconds / 1e9
	}
	if p.Total > 0 {
		r.Share = float64(r.Nanos) / float64(p.Total)
	}
	peak := p.Peak
	if r.Int8 {
		peak = p.PeakInt8
	}
	if peak > 0 {
		r.OfPeak = r.GFlops / peak
	}
	if p.Read > 0 {
		r.OfRead = r.GBytes / p.Read
	}
}
