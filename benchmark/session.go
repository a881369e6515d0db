package benchmark

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/ort"
)

// Server starts a process of its own that loads and runs models in an engine.
type Server struct {
	Engine string
	Start  func(ctx context.Context) (*ort.Process, error)
}

// SessionRow says what a session of one engine costs, each measured in a new
// process: the median over rounds.
type SessionRow struct {
	Model   string `json:"model"`
	Engine  string `json:"engine"`
	Threads int    `json:"threads"`
	Rounds  int    `json:"rounds"`
	// Creation is the time from the file of the model to the first result, in
	// nanoseconds.
	Creation int64 `json:"creation_ns"`
	// Peak is the most bytes that the process had resident after some runs.
	Peak int64 `json:"peak_bytes"`
	// Faster and Smaller compare with the first engine: how many times as
	// fast, and with what share of its memory, that one is. 0 for itself.
	Faster  float64 `json:"faster,omitempty"`
	Smaller float64 `json:"smaller,omitempty"`
}

// SessionReport is what [MeasureSessions] found.
type SessionReport struct {
	Host Host         `json:"host"`
	Rows []SessionRow `json:"rows"`
}

// settledRuns is how often a session runs before its memory is looked at.
const settledRuns = 20

// MeasureSessions creates sessions of the model at path in each engine, in
// alternating rounds.
func MeasureSessions(ctx context.Context, path string, servers []Server, threads int, feeds map[string]tensor.Value, rounds int) (*SessionReport, error) {
	took, peaks := make([][]int64, len(servers)), make([][]int64, len(servers))
	for range max(rounds, 1) {
		for i, s := range servers {
			d, peak, err := measureSession(ctx, path, s, threads, feeds)
			if err != nil {
				return nil, fmt.Errorf("%s in %s: %w", path, s.Engine, err)
			}
			took[i], peaks[i] = append(took[i], d.Nanoseconds()), append(peaks[i], peak)
		}
	}
	r := &SessionReport{Host: ThisHost()}
	for i, s := range servers {
		row := SessionRow{Model: path, Engine: s.Engine, Threads: threads, Rounds: len(took[i]), Creation: median(took[i]), Peak: median(peaks[i])}
		if i > 0 && r.Rows[0].Creation > 0 && row.Peak > 0 {
			row.Faster = float64(row.Creation) / float64(r.Rows[0].Creation)
			row.Smaller = float64(r.Rows[0].Peak) / float64(row.Peak)
		}
		r.Rows = append(r.Rows, row)
	}
	return r, nil
}

func median(x []int64) int64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

func measureSession(ctx context.Context, path string, server Server, threads int, feeds map[string]tensor.Value) (time.Duration, int64, error) {
	p, err := server.Start(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer p.Close()
	s, err := p.Load(ctx, ort.Options{Path: path, Threads: threads})
	if err != nil {
		return 0, 0, err
	}
	first, err := s.Time(ctx, feeds, 1)
	if err != nil {
		return 0, 0, err
	}
	if _, err := s.Time(ctx, feeds, settledRuns); err != nil {
		return 0, 0, err
	}
	return s.Took + first[0], p.Peak(), nil
}
