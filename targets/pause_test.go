package targets

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// TestKernelsCanBeStopped runs kernels on all cores and nothing else, while the
// garbage collector wants to stop the world again and again. A kernel that the
// runtime cannot stop would hold it up until the kernels end.
func TestKernelsCanBeStopped(t *testing.T) {
	const rounds, bound = 5, 250 * time.Millisecond
	table, err := Host().Kernels()
	if err != nil {
		t.Fatal(err)
	}
	for name, work := range longWork(t, table) {
		var stop atomic.Bool
		var running sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			body := work()
			running.Go(func() {
				for !stop.Load() {
					body()
				}
			})
		}
		for range rounds {
			runtime.GC()
		}
		stop.Store(true)
		running.Wait()
		var stats debug.GCStats
		debug.ReadGCStats(&stats)
		pauses := slices.Clone(stats.Pause[:rounds])
		slices.Sort(pauses)
		if median := pauses[rounds/2]; median > bound {
			t.Errorf("%s: the world took %v to stop in the median, want at most %v", name, median, bound)
		}
	}
}

// longWork returns, for each family of kernels, what makes a function that
// keeps one core in its kernel for some milliseconds.
func longWork(t *testing.T, table *kernel.Table) map[string]func() func() {
	const n = 512
	a, b := normals(t, newRand(1), n*n), normals(t, newRand(2), n*n)
	packed := make([]float32, table.GemmF32.PackedLen(n, n))
	table.PackF32(packed, b, n, n, n, false)
	long := make([]float32, 1<<20)
	return map[string]func() func(){
		"gemm_f32": func() func() {
			p := &kernel.ProductF32{Geometry: kernel.Geometry{M: n, N: n, K: n, LDA: n, LDC: n}, A: a, B: packed, C: make([]float32, n*n)}
			tile := new(kernel.TileF32)
			return func() { table.GemmF32.Block(tile, p, kernel.Range{Hi: n}, kernel.Range{Hi: n}) }
		},
		"gemm_u8s8": func() func() {
			g := table.GemmU8S8
			p := &kernel.ProductI8{Geometry: kernel.Geometry{M: n, N: n, K: n, LDA: n, LDC: n}, A: make([]uint8, n*n), B: make([]int8, g.PackedLen(1, n, n, 0)), C32: make([]int32, n*n)}
			tile := new(kernel.TileI8)
			return func() { g.Block(tile, p, kernel.Range{Hi: n}, kernel.Range{Hi: n}) }
		},
		"exp": func() func() {
			dst := make([]float32, len(long))
			return func() { table.Exp(dst, long) }
		},
		"gemv": func() func() {
			dst := make([]float32, n)
			return func() {
				for range 64 {
					table.Gemv(dst, a, b[:n], n)
				}
			}
		},
		"depthwise": func() func() {
			d := &kernel.DepthwiseF32{In: long, Weights: long[:1024], Out: make([]float32, len(long))}
			d.Window = kernel.Window{Taps: make([]kernel.Tap, 9), W: 1024, C: 1024, InStep: 1024, OutStep: 1024}
			return func() { table.DepthwiseF32(d) }
		},
	}
}
