package benchmark

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"
)

// clock is a subject whose runs take the given times in turn.
func clock(engine string, times ...time.Duration) Subject {
	i := 0
	return Subject{
		Model: "m", Engine: engine, Threads: 1,
		Peak: func() int64 { return 7 }, ResetPeak: func() {},
		Time: func(_ context.Context, rounds int) ([]time.Duration, error) {
			out := make([]time.Duration, rounds)
			for k := range out {
				out[k] = times[i%len(times)]
				i++
			}
			return out, nil
		},
	}
}

var quick = Plan{Warmup: time.Nanosecond, Time: time.Nanosecond, MinRounds: 20, MaxRounds: 20}

func TestCompare(t *testing.T) {
	slow, fast := clock(EngineORT, 30*time.Millisecond), clock(EngineEmbedded, 20*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond)
	c, err := Compare(t.Context(), []Subject{fast, slow}, quick)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 2 || len(c.Ratios) != 1 {
		t.Fatalf("%d rows and %d ratios, want 2 and 1", len(c.Rows), len(c.Ratios))
	}
	r := c.Rows[0]
	if r.Rounds != 20 || r.Min != 10e6 || r.P95 != 20e6 || r.Median < 10e6 || r.Median > 20e6 || r.Peak != 7 {
		t.Errorf("row %+v", r)
	}
	if r := c.Ratios[0]; r.Engine != EngineEmbedded || r.Base != EngineORT || r.Ratio < 1.5 || r.Ratio > 3 || r.Lo > r.Ratio || r.Hi < r.Ratio {
		t.Errorf("ratio %+v", r)
	}
}

func TestMeasureError(t *testing.T) {
	broken := clock(EngineEmbedded)
	broken.Time = func(context.Context, int) ([]time.Duration, error) { return nil, errors.ErrUnsupported }
	if _, err := Measure(t.Context(), broken, quick); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Measure gives %v", err)
	}
}

func TestQuantile(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]float64{0.5: 5, 0.95: 10, 0.1: 1} {
		if got := quantile(x, q); math.Abs(got-want) > 0 {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
	}
}
