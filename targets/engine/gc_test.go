package engine

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// wideNet is a model whose kernels take all of a core's time.
func wideNet(t testing.TB) (*Session, feeds) {
	t.Helper()
	m := parseWith(t, `<ir_version: 8, opset_import: ["": 17]> g (float[1024,768] x, float[768,3072] w, float[3072,768] v) => (y) { h = MatMul(x, w) r = Relu(h) y = MatMul(r, v) }`,
		map[string]*tensor.Tensor{"w": random(1, 768, 3072), "v": random(2, 3072, 768)})
	s, err := Compile(t.Context(), m, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s, feeds{"x": random(3, 1024, 768)}
}

// stopTimes returns in order how long it takes to stop the world while every
// core runs the model, or a plain loop where there is no session.
func stopTimes(t testing.TB, s *Session, in feeds, times int) []time.Duration {
	t.Helper()
	var stop atomic.Bool
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for !stop.Load() {
				if s == nil {
					continue
				}
				if _, err := s.Run(t.Context(), in); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var took []time.Duration
	for range times {
		start := time.Now()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats) // stops the world
		took = append(took, time.Since(start))
		time.Sleep(2 * time.Millisecond)
	}
	stop.Store(true)
	running.Wait()
	slices.Sort(took)
	return took
}

// The collector must be able to stop all threads soon while the engine
// computes on them: kernels have points where they can be stopped, and calls
// are short. On a busy machine most stops take long whatever is run; a kernel
// that cannot be stopped delays the shortest one too.
func TestStopTheWorld(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs for a while")
	}
	s, in := wideNet(t)
	plain, engine := stopTimes(t, nil, nil, 25), stopTimes(t, s, in, 25)
	t.Logf("time to stop the world, least and median: plain loops %v %v, engine %v %v", plain[0], plain[12], engine[0], engine[12])
	if limit := max(5*time.Millisecond, 4*plain[0]); engine[0] > limit {
		t.Errorf("stopping the world takes %v at least while the engine runs, want at most %v", engine[0], limit)
	}
}

// BenchmarkStopTheWorld tells the median and the 99th percentile of the time
// to stop the world while the engine runs on all cores, and the median beside
// plain loops.
func BenchmarkStopTheWorld(b *testing.B) {
	s, in := wideNet(b)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	plain := stopTimes(b, nil, nil, 100)
	b.ResetTimer()
	took := stopTimes(b, s, in, max(b.N, 100))
	b.ReportMetric(ms(took[len(took)/2]), "ms/stop")
	b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms/stop")
	b.ReportMetric(ms(plain[len(plain)/2]), "plain-ms/stop")
}
