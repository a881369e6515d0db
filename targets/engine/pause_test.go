package engine

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// TestRunsCanBeStopped runs a model on all cores while the garbage collector
// wants to stop the world again and again. Workers that spin, and operators
// that stay in kernels, must not hold it up. The bound is far above what is
// seen on an idle machine, so that a busy one passes too.
func TestRunsCanBeStopped(t *testing.T) {
	const rounds, bound = 5, 250 * time.Millisecond
	m := parseWith(t, `<ir_version: 8, opset_import: ["": 17]> g (float[1,64,56,56] x, float[64,64,3,3] w, float[3136,1024] v) => (y, z) <int64[2] flat = {64, 3136}> {
		c = Conv<pads = [1,1,1,1]>(x, w)
		y = Relu(c)
		f = Reshape(y, flat)
		p = MatMul(f, v)
		z = Softmax(p)
	}`, map[string]*tensor.Tensor{"w": random(1, 64, 64, 3, 3), "v": random(2, 3136, 1024)})
	s, err := Compile(t.Context(), m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := feeds{"x": random(3, 1, 64, 56, 56)}
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Run(t.Context(), in); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range rounds {
		runtime.GC()
	}
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	close(stop)
	running.Wait()
	pauses := slices.Clone(stats.Pause[:min(rounds, len(stats.Pause))])
	slices.Sort(pauses)
	median := pauses[len(pauses)/2]
	t.Logf("the world took %v to stop in the median, %v at most", median, pauses[len(pauses)-1])
	if median > bound {
		t.Errorf("the world took %v to stop in the median, want at most %v", median, bound)
	}
}
