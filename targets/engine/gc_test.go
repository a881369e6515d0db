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

// The collector must be able to stop all threads soon while the engine
// computes on them: kernels have points where they can be stopped, and calls
// are short. On a busy machine stopping any two threads takes long, so plain
// loops, which can be stopped anywhere, are the measure.
func TestStopTheWorld(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs for a while")
	}
	m := parseWith(t, `<ir_version: 8, opset_import: ["": 17]> g (float[1024,768] x, float[768,3072] w, float[3072,768] v) => (y) { h = MatMul(x, w) r = Relu(h) y = MatMul(r, v) }`,
		map[string]*tensor.Tensor{"w": random(1, 768, 3072), "v": random(2, 3072, 768)})
	s, err := Compile(t.Context(), m, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	in := feeds{"x": random(3, 1024, 768)}
	plain := stopTime(func(stop *atomic.Bool) {
		for !stop.Load() {
		}
	})
	engine := stopTime(func(stop *atomic.Bool) {
		for !stop.Load() {
			if _, err := s.Run(t.Context(), in); err != nil {
				t.Error(err)
				return
			}
		}
	})
	t.Logf("median time to stop the world: plain loops %v, engine %v", plain, engine)
	if limit := max(5*time.Millisecond, 4*plain); engine > limit {
		t.Errorf("stopping the world takes %v while the engine runs, want under %v", engine, limit)
	}
}

// stopTime returns the median time that stopping the world takes while two
// goroutines do the given work.
func stopTime(work func(stop *atomic.Bool)) time.Duration {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { work(&stop) })
	}
	var times []time.Duration
	for range 25 {
		start := time.Now()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats) // stops the world
		times = append(times, time.Since(start))
		time.Sleep(2 * time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
	slices.Sort(times)
	return times[len(times)/2]
}
