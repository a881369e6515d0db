package passes

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets"
)

// Data is a stream of samples. Each call starts anew at the first, and the
// samples are the same every time; the method All of a dataset is one.
type Data func(ctx context.Context) iter.Seq2[dataset.Sample, error]

// Env is all that passes may see of the world around a model. The zero Env
// has nothing to offer, which is enough for passes without [Needs].
type Env struct {
	Calibration Data
	Samples     int  // how many samples Calibration has, 0 if not known
	Labelled    bool // Calibration has labels
	Models      map[string]*graph.Model
	Target      *targets.Target
	Seed        uint64
	Threads     int // of the engine where passes run the model; 0 is one for each core

	// Stop, once closed, makes long passes end soon with the best they have;
	// nil never does.
	Stop <-chan struct{}
	// Checkpoints keeps the states of long passes; nil keeps none.
	Checkpoints Checkpoints

	// Latency measures how long a run of a model takes on the target, nil if
	// that cannot be told.
	Latency func(context.Context, *graph.Model) (time.Duration, error)

	// Progress is told how far a pass is; total is 0 if not known. The name of
	// the pass may be followed by ": " and what it is at.
	Progress func(pass string, done, total int)
	Log      *slog.Logger
}

// Checkpoints keeps states of passes, by key, over the end of the process.
type Checkpoints interface {
	// Load opens the state last saved under the key, nil if there is none.
	Load(key string) (io.ReadCloser, error)
	// Due reports whether it is time to save again.
	Due() bool
	// Save replaces the state under the key, whole or not at all.
	Save(key string, write func(io.Writer) error) error
}

// check reports the first thing that p needs and e lacks.
func (e *Env) check(p *Pass) error {
	for _, n := range needNames {
		if p.Needs&n.need != 0 && !e.has(n.need) {
			return fmt.Errorf("pass %q: needs %s, none was given", p.Name, n.hint)
		}
	}
	return nil
}

func (e *Env) has(n Needs) bool {
	switch n {
	case Calibration:
		return e.Calibration != nil
	case Labels:
		return e.Calibration != nil && e.Labelled
	case Models:
		return len(e.Models) > 0
	}
	return e.Target != nil
}

// Match reports whether a name matches one of the patterns, in which "*"
// stands for any run of characters and "?" for one.
func Match(patterns []string, name string) bool {
	for _, p := range patterns {
		if matchOne(p, name) {
			return true
		}
	}
	return false
}

func matchOne(pattern, name string) bool {
	star, mark := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
