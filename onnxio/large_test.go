package onnxio

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// The large models are measured in processes of their own: the test binary
// runs itself with largeTask set to "open" or "rewrite" and largeModel to the
// model's path, and prints the peak of its resident memory in bytes.
const (
	largeTask  = "ONNXIO_LARGE_TASK"
	largeModel = "ONNXIO_LARGE_MODEL"
)

func TestMain(m *testing.M) {
	task := os.Getenv(largeTask)
	if task == "" {
		os.Exit(m.Run())
	}
	if err := runLarge(task, os.Getenv(largeModel)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(peakResident())
}

func runLarge(task, path string) error {
	f, err := Open(path, OpenOptions{})
	if err != nil {
		return err
	}
	defer f.Close()
	if task == "open" {
		return nil
	}
	g := f.Model.Graph
	small := g.Value("small")
	l := *small.Init
	l.Tensor = tensor.Vector[float32](9, 8, 7, 6)
	g.SetInit(small, &l)
	return Save(context.Background(), path+".out", f.Model, SaveOptions{})
}

// peakResident returns the peak of this process's resident memory in bytes, 0
// where the system does not tell.
func peakResident() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// benchLarge runs a task on a model of n tensors of the given size, which are
// holes in the file, and one small tensor.
func benchLarge(b *testing.B, task string, n int, size, limit int64) {
	if testing.Short() {
		b.Skip("writes a large file")
	}
	if peakResident() == 0 {
		b.Skip("this system does not tell the peak of resident memory")
	}
	path := filepath.Join(b.TempDir(), "large.onnx")
	writeLarge(b, path, n, size)
	var peak int64
	var ours, plain time.Duration
	for b.Loop() {
		start := time.Now()
		peak = max(peak, runTask(b, task, path))
		ours += time.Since(start)
		if task == "rewrite" {
			plain += timeCopy(b, path)
		}
	}
	b.ReportMetric(float64(peak)/(1<<20), "peak-MB")
	b.ReportMetric(ours.Seconds()/float64(b.N), "s/model")
	if plain > 0 {
		b.ReportMetric(float64(ours)/float64(plain), "x-copy")
	}
	if peak > limit {
		b.Errorf("peak of resident memory is %d bytes, want at most %d", peak, limit)
	}
}

// timeCopy times a plain, synced copy of a file: the speed of the disk.
func timeCopy(b *testing.B, path string) time.Duration {
	start := time.Now()
	from, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(path + ".copy")
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		b.Fatal(err)
	}
	if err := to.Sync(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

func runTask(b *testing.B, task, path string) int64 {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), largeTask+"="+task, largeModel+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	peak, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return peak
}

// BenchmarkOpen10GB indexes a model of 10 GB. The time is that of a process.
func BenchmarkOpen10GB(b *testing.B) { benchLarge(b, "open", 1000, 10<<20, 16<<20) }

// BenchmarkRewrite2GB changes one small tensor of a model of 2 GB and saves
// it under another name, synced. As it is above 1.5 GB, the weights go to
// external data.
func BenchmarkRewrite2GB(b *testing.B) { benchLarge(b, "rewrite", 100, 20<<20, 64<<20) }

// writeLarge writes a model whose n float tensors of the given number of bytes
// are holes, so that it takes no room on the disk.
func writeLarge(t testing.TB, path string, n int, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	heads := make([]*message, n)
	inside := int64(0)
	for i := range heads {
		heads[i] = largeHead(i, size)
		inside += heads[i].size + size
	}
	end := &message{}
	end.message(graphInit, encodeLiteral("small", &graph.Literal{Tensor: tensor.Vector[float32](1, 2, 3, 4)}))
	end.text(graphName, "large")
	head := &message{}
	head.int(modelIRVersion, 8)
	head.header(modelGraph, inside+end.size)
	at := int64(0)
	for i, m := range append(append([]*message{head}, heads...), end) {
		for _, part := range m.all() {
			if _, err := f.WriteAt(part, at); err != nil {
				t.Fatal(err)
			}
			at += int64(len(part))
		}
		if i > 0 && i <= n {
			at += size
		}
	}
}

// largeHead returns what stands in a graph before the elements of a tensor.
func largeHead(i int, size int64) *message {
	w := &message{}
	w.int(tensorDims, size/4)
	w.int(tensorDType, int64(tensor.Float32))
	w.text(tensorName, fmt.Sprintf("w%d", i))
	w.header(tensorRaw, size)
	outer := &message{}
	outer.header(graphInit, w.size+size)
	outer.bytes(w.tail)
	return outer
}
