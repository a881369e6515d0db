package targets

import (
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// runnableTables returns the table of every target that runs here.
func runnableTables(t testing.TB) []*kernel.Table {
	t.Helper()
	var tables []*kernel.Table
	for _, target := range All() {
		if table, err := target.Kernels(); err == nil {
			tables = append(tables, table)
		}
	}
	return tables
}

// symbol is the name of the function in a table row, without its package.
func symbol(row any) string {
	name := runtime.FuncForPC(reflect.ValueOf(row).Pointer()).Name()
	return name[strings.LastIndex(name, ".")+1:]
}

// eachKernel runs a subtest for every distinct function that the row has in
// the tables that run here, the portable one included.
func eachKernel[F any](t *testing.T, row func(*kernel.Table) F, test func(t *testing.T, kernel F)) {
	t.Helper()
	seen := map[string]bool{}
	for _, table := range runnableTables(t) {
		f := row(table)
		name := symbol(f)
		if seen[name] {
			continue
		}
		seen[name] = true
		t.Run(name, func(t *testing.T) { test(t, f) })
	}
}

func newRand(parts ...int) *rand.Rand {
	seed := uint64(1)
	for _, p := range parts {
		seed = seed*1000003 + uint64(p)
	}
	return rand.New(rand.NewPCG(seed, 7))
}

func normals(t testing.TB, r *rand.Rand, n int) []float32 {
	s := guarded[float32](t, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

// sameF32 fails if got is further from want than tolerance, absolutely and
// relative to want.
func sameF32(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		if math.IsNaN(g) != math.IsNaN(w) || math.IsInf(w, 0) && g != w {
			t.Fatalf("%s: element %d is %v, want %v", what, i, g, w)
		}
		if d := math.Abs(g - w); d > tolerance*max(1, math.Abs(w)) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, g, w)
		}
	}
}

// benchBest runs f and reports the multiply-accumulates per second of its best
// run, which a busy machine disturbs least, and what part they are of the best
// that float32 multiply-adds in registers reach in the same rounds.
func benchBest(b *testing.B, table *kernel.Table, macs int, f func()) {
	best, peak := math.Inf(1), 0.0
	for b.Loop() {
		best = min(best, seconds(f))
		done := 0
		s := seconds(func() { done = table.PeakF32(20000) })
		peak = max(peak, float64(done)/s)
	}
	b.ReportMetric(float64(macs)/best/1e9, "GMAC/s")
	b.ReportMetric(float64(macs)/best/peak, "of-f32-peak")
}

func seconds(f func()) float64 {
	start := time.Now()
	f()
	return time.Since(start).Seconds()
}
