package distill_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/distill"
	"github.com/onnxpack/onnxpack/targets/engine"
)

const ctcFrames = 10

// reader returns a network that reads a strip of three channels frame by
// frame, with random weights and a Softmax over four classes.
func reader(t *testing.T, timeFirst bool) *graph.Model {
	t.Helper()
	perm, shape := "[0,2,1]", "1,10,4"
	if timeFirst {
		perm, shape = "[2,0,1]", "10,1,4"
	}
	zeros := func(n int) string { return "{0" + strings.Repeat(", 0", n-1) + "}" }
	m, err := graph.ParseModel(fmt.Sprintf(`<ir_version: 8, opset_import: ["": 17]>
		g (float[1,3,10] x) => (float[%s] y) <float[12,3,3] w = %s, float[12] b = %s, float[4,12,1] v = %s> {
			h = Conv <pads = [1,1]> (x, w, b)
			r = Relu (h)
			s = Conv (r, v)
			z = Transpose <perm = %s> (s)
			y = Softmax <axis = -1> (z)
		}`, shape, zeros(108), zeros(12), zeros(48), perm))
	if err != nil {
		t.Fatal(err)
	}
	randomize(m, 4)
	return m
}

// strips holds strips with noise on which each label lights its channel for
// two frames or three, and the labels.
func strips(n int, seed uint64) []dataset.Sample {
	r := rand.New(rand.NewPCG(seed, 5))
	list := make([]dataset.Sample, n)
	for i := range list {
		x := tensor.New(tensor.Float32, tensor.Shape{1, 3, ctcFrames})
		data := tensor.Data[float32](x)
		for k := range data {
			data[k] = float32(0.1 * r.NormFloat64())
		}
		labels := []int64{-1, -1, -1}
		at := 0
		for k := range 1 + r.IntN(2) {
			labels[k] = 1 + r.Int64N(3)
			for range 2 + r.IntN(2) {
				data[int(labels[k]-1)*ctcFrames+at]++
				at++
			}
			at += 1 + r.IntN(2)
		}
		list[i] = dataset.Sample{Number: i, Feeds: map[string]tensor.Value{"x": x}, Label: -1, Want: map[string]tensor.Value{"0": tensor.Vector(labels...)}}
	}
	return list
}

func listed(samples []dataset.Sample) passes.Data {
	return func(context.Context) iter.Seq2[dataset.Sample, error] {
		return func(yield func(dataset.Sample, error) bool) {
			for _, s := range samples {
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

func tuneCTC(options string, m *graph.Model, samples []dataset.Sample) (*graph.Model, error) {
	steps, err := passes.ParseSteps("fine-tune=loss:ctc;"+options, []*passes.Pass{distill.FineTune})
	if err != nil {
		return nil, err
	}
	m, _, err = passes.Pipeline{Steps: steps}.Run(context.Background(), m, &passes.Env{Calibration: listed(samples), Seed: 1, Threads: 1})
	return m, err
}

// read returns the classes that a model sees in a strip: the best of each
// frame, repeated ones once, without blanks.
func read(t *testing.T, s *engine.Session, x dataset.Sample) []int64 {
	t.Helper()
	out, err := s.Run(context.Background(), x.Feeds)
	if err != nil {
		t.Fatal(err)
	}
	y := tensor.Float64s(out["y"].(*tensor.Tensor))
	var seen []int64
	last := int64(0)
	for frame := range slices.Chunk(y, 4) {
		best := int64(slices.Index(frame, slices.Max(frame)))
		if best != last && best != 0 {
			seen = append(seen, best)
		}
		last = best
	}
	return seen
}

// TestCTC learns to read strips without being told where labels stand, in
// both layouts, and reads those that it has not seen.
func TestCTC(t *testing.T) {
	for _, timeFirst := range []bool{false, true} {
		m, err := tuneCTC("epochs:40;batch:10;lr:0.02;held:0.1", reader(t, timeFirst), strips(100, 1))
		if err != nil {
			t.Fatal(err)
		}
		s, err := engine.Compile(context.Background(), m, engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		right := 0
		test := strips(50, 2)
		for _, x := range test {
			labels, _, _ := strings.Cut(fmt.Sprint(tensor.Int64s(x.Want["0"].(*tensor.Tensor))), " -1")
			if strings.Trim(fmt.Sprint(read(t, s, x)), "[]") == strings.Trim(labels, "[]") {
				right++
			}
		}
		if right < 45 {
			t.Errorf("time first %v: %d of %d strips are read right", timeFirst, right, len(test))
		}
	}
}

func TestCTCErrors(t *testing.T) {
	for _, c := range []struct {
		options string
		labels  []int64
		want    string
	}{
		{"", []int64{4}, "sample 2: label 4 (element 0) is outside [0,3]"},
		{"", []int64{1, 1, 1, 1, 1, 1}, "sample 2: 6 labels need at least 11 frames, the output has 10"},
		{"blank:4;", []int64{1}, "blank is 4, want one of 4 classes"},
		{"mixup:0.2;", []int64{1}, "neither smoothing nor mixup"},
	} {
		samples := strips(4, 1)
		samples[2].Want["0"] = tensor.Vector(c.labels...)
		_, err := tuneCTC(c.options+"epochs:1;batch:4;held:0", reader(t, false), samples)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%v: %v, want %q", c.options, c.labels, err, c.want)
		}
	}
}
