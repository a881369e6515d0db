package benchmark

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/perf/benchmath"
)

// Plan says how long to measure. The zero value is a good default.
type Plan struct {
	Warmup    time.Duration // runs before the first round; 0 means 100 ms
	Time      time.Duration // of all rounds of one subject; 0 means 1 s
	MinRounds int           // 0 means 5
	MaxRounds int           // 0 means 10000
}

func (p Plan) filled() Plan {
	if p.Warmup == 0 {
		p.Warmup = 100 * time.Millisecond
	}
	if p.Time == 0 {
		p.Time = time.Second
	}
	if p.MinRounds == 0 {
		p.MinRounds = 5
	}
	if p.MaxRounds == 0 {
		p.MaxRounds = 10000
	}
	p.MaxRounds = max(p.MaxRounds, p.MinRounds)
	return p
}

// Row is how fast one subject is. Times are in nanoseconds per run. Spread is
// half the 95 % confidence interval of the median, relative to the median.
type Row struct {
	Model   string  `json:"model"`
	Engine  string  `json:"engine"`
	Target  string  `json:"target,omitempty"` // the CPU profile that the engine is held to
	Threads int     `json:"threads"`
	Rounds  int     `json:"rounds"`
	Median  int64   `json:"median_ns"`
	P95     int64   `json:"p95_ns"`
	P99     int64   `json:"p99_ns"`
	Min     int64   `json:"min_ns"`
	Spread  float64 `json:"spread"`
	Peak    int64   `json:"peak_bytes"`
}

// Name says which engine a row is of, and as which CPU.
func (r Row) Name() string {
	if r.Target == "" {
		return r.Engine
	}
	return r.Engine + " as " + r.Target
}

// Ratio compares two subjects of the same model and threads: how many times
// as fast as Base Engine is, taken round by round.
type Ratio struct {
	Model   string  `json:"model"`
	Threads int     `json:"threads"`
	Engine  string  `json:"engine"`
	Base    string  `json:"base"`
	Ratio   float64 `json:"ratio"` // time of Base / time of Engine, median over rounds
	Lo      float64 `json:"lo"`    // the 95 % confidence interval of the median
	Hi      float64 `json:"hi"`
}

// Comparison is what [Compare] found.
type Comparison struct {
	Host   Host    `json:"host"`
	Rows   []Row   `json:"rows"`
	Ratios []Ratio `json:"ratios"`
}

// Measure times one subject.
func Measure(ctx context.Context, s Subject, plan Plan) (Row, error) {
	c, err := Compare(ctx, []Subject{s}, plan)
	if err != nil {
		return Row{}, err
	}
	return c.Rows[0], nil
}

// Compare times subjects in alternating rounds, so that a machine whose speed
// drifts is fair to all. Each ratio is of one subject against the first of
// another engine with the same model and threads.
func Compare(ctx context.Context, subjects []Subject, plan Plan) (*Comparison, error) {
	plan = plan.filled()
	batches := make([]int, len(subjects))
	for i, s := range subjects {
		s.ResetPeak()
		n, err := warmup(ctx, s, plan)
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", s.Model, s.Engine, err)
		}
		batches[i] = n
	}
	times, err := rounds(ctx, subjects, batches, plan)
	if err != nil {
		return nil, err
	}
	c := &Comparison{Host: ThisHost(), Ratios: []Ratio{}}
	for i, s := range subjects {
		c.Rows = append(c.Rows, row(s, times[i]))
	}
	for i, s := range subjects {
		j := slices.IndexFunc(subjects, func(o Subject) bool {
			return o.Model == s.Model && o.Threads == s.Threads && o.Engine != s.Engine
		})
		if j > i {
			c.Ratios = append(c.Ratios, ratio(s, subjects[j], times[i], times[j]))
		}
	}
	return c, nil
}

// shortBatch is how long a round's batch takes at least, so that the cost of
// asking for it does not show.
const shortBatch = 30 * time.Millisecond

// warmup runs s for a while and returns how many runs make a batch.
func warmup(ctx context.Context, s Subject, plan Plan) (int, error) {
	best := time.Duration(math.MaxInt64)
	for start := time.Now(); ; {
		times, err := s.Time(ctx, 1)
		if err != nil {
			return 0, err
		}
		best = min(best, times[0])
		if time.Since(start) >= plan.Warmup {
			break
		}
	}
	return max(1, int(shortBatch/max(best, 1))), nil
}

// rounds runs a batch of every subject in turn until each has had its time.
// The result holds, per subject, the times of its batches. Each begins with a
// run that does not count: it finds the caches full of what the others left.
func rounds(ctx context.Context, subjects []Subject, batches []int, plan Plan) ([][][]time.Duration, error) {
	times := make([][][]time.Duration, len(subjects))
	limit := plan.Time * time.Duration(len(subjects))
	start := time.Now()
	for n := 0; n < plan.MaxRounds; n++ {
		if n >= plan.MinRounds && time.Since(start) >= limit {
			break
		}
		for i, s := range subjects {
			batch, err := s.Time(ctx, 1+batches[i])
			if err != nil {
				return nil, fmt.Errorf("%s in %s: %w", s.Model, s.Engine, err)
			}
			times[i] = append(times[i], batch[1:])
		}
	}
	return times, nil
}

func row(s Subject, batches [][]time.Duration) Row {
	var all []float64
	for _, t := range slices.Concat(batches...) {
		all = append(all, float64(t.Nanoseconds()))
	}
	slices.Sort(all)
	r := Row{
		Model: s.Model, Engine: s.Engine, Target: s.Target, Threads: s.Threads, Rounds: len(all), Peak: s.Peak(),
		Min: int64(all[0]), P95: int64(quantile(all, 0.95)), P99: int64(quantile(all, 0.99)),
	}
	sum := summary(all)
	r.Median = int64(sum.Center)
	r.Spread = halfWidth(sum)
	return r
}

// quantile returns the least element of a sorted list that is not below the
// share q of it.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func summary(x []float64) benchmath.Summary {
	return benchmath.AssumeNothing.Summary(benchmath.NewSample(x, &benchmath.DefaultThresholds), 0.95)
}

// halfWidth is half the interval relative to its centre; an interval that so
// few samples cannot bound counts as the whole centre.
func halfWidth(s benchmath.Summary) float64 {
	w := (s.Hi - s.Lo) / 2 / s.Center
	if math.IsInf(w, 0) || math.IsNaN(w) {
		return 1
	}
	return w
}

func ratio(s, base Subject, a, b [][]time.Duration) Ratio {
	var r []float64
	for i := range a {
		r = append(r, middle(b[i])/middle(a[i]))
	}
	sum := summary(r)
	out := Ratio{Model: s.Model, Threads: s.Threads, Engine: s.Engine, Base: base.Engine, Ratio: sum.Center}
	out.Lo, out.Hi = sum.Lo, sum.Hi
	if math.IsInf(out.Lo, 0) || math.IsInf(out.Hi, 0) {
		out.Lo, out.Hi = slices.Min(r), slices.Max(r)
	}
	return out
}

// middle returns the median of one batch in nanoseconds.
func middle(batch []time.Duration) float64 {
	b := slices.Sorted(slices.Values(batch))
	return float64(max(b[len(b)/2], 1))
}
