package benchmark

import (
	"context"
	"time"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
	"github.com/onnxpack/onnxpack/targets/ort/wire"
)

// The names of engines in reports.
const (
	EngineEmbedded = "embedded"
	EngineORT      = "ort"
)

// Subject is something to be timed: a model loaded in an engine, with feeds.
type Subject struct {
	Model   string // as reports call it
	Engine  string // EngineEmbedded or EngineORT
	Target  string // the CPU profile that it is held to, "" for this CPU
	Threads int
	// Time runs the model so many times and says how long each run took.
	Time func(ctx context.Context, rounds int) ([]time.Duration, error)
	// Peak returns the most bytes resident in the process that runs the model
	// since ResetPeak, 0 if that is not known.
	Peak      func() int64
	ResetPeak func()
}

// Embedded makes a subject of a session of the embedded engine.
func Embedded(model string, s *engine.Session, feeds map[string]tensor.Value, threads int) Subject {
	return Subject{
		Model: model, Engine: EngineEmbedded, Threads: threads,
		Peak: wire.PeakResident, ResetPeak: resetPeak,
		Time: func(ctx context.Context, rounds int) ([]time.Duration, error) {
			times := make([]time.Duration, rounds)
			for i := range times {
				start := time.Now()
				if _, err := s.Run(ctx, feeds); err != nil {
					return nil, err
				}
				times[i] = time.Since(start)
			}
			return times, nil
		},
	}
}

// ORT makes a subject of a session of ONNX Runtime, which is timed within its
// own process.
func ORT(model string, p *ort.Process, s *ort.Session, feeds map[string]tensor.Value, threads int) Subject {
	return Subject{
		Model: model, Engine: EngineORT, Threads: threads,
		Peak: p.Peak, ResetPeak: func() {},
		Time: func(ctx context.Context, rounds int) ([]time.Duration, error) {
			return s.Time(ctx, feeds, rounds)
		},
	}
}
