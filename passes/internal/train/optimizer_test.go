package train

import (
	"math"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// TestOptimizers takes two steps of each method from w = (1, -2) and compares
// with what the papers' formulas give, computed here in float64.
func TestOptimizers(t *testing.T) {
	const rate, decay = 0.1, 0.01
	grads := [][]float64{{0.5, -1}, {-0.25, 2}}
	for _, c := range []struct {
		name string
		set  func(*Options)
		step func(s *byHand, g []float64)
	}{
		{"sgd", func(o *Options) { o.Optimizer, o.Momentum = "sgd", 0 }, func(s *byHand, g []float64) {
			for i := range g {
				s.w[i] -= rate * (g[i] + decay*s.w[i])
			}
		}},
		{"momentum", func(o *Options) { o.Optimizer = "sgd" }, func(s *byHand, g []float64) {
			for i := range g {
				s.m[i] = 0.9*s.m[i] + g[i] + decay*s.w[i]
				s.w[i] -= rate * s.m[i]
			}
		}},
		{"nesterov", func(o *Options) { o.Optimizer, o.Nesterov = "sgd", true }, func(s *byHand, g []float64) {
			for i := range g {
				d := g[i] + decay*s.w[i]
				s.m[i] = 0.9*s.m[i] + d
				s.w[i] -= rate * (d + 0.9*s.m[i])
			}
		}},
		{"adam", func(o *Options) { o.Optimizer = "adam" }, func(s *byHand, g []float64) {
			for i := range g {
				s.w[i] -= rate * s.adam(i, g[i]+decay*s.w[i])
			}
		}},
		{"adamw", func(o *Options) { o.Optimizer = "adamw" }, func(s *byHand, g []float64) {
			for i := range g {
				w := s.w[i]
				s.w[i] = w - rate*s.adam(i, g[i]) - rate*decay*w
			}
		}},
		{"lamb", func(o *Options) { o.Optimizer = "lamb" }, func(s *byHand, g []float64) {
			step := []float64{s.adam(0, g[0]) + decay*s.w[0], s.adam(1, g[1]) + decay*s.w[1]}
			trust := math.Hypot(s.w[0], s.w[1]) / math.Hypot(step[0], step[1])
			for i := range g {
				s.w[i] -= rate * trust * step[i]
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Defaults()
			o.Decay = decay
			c.set(&o)
			p := newParam("w", tensor.Of(tensor.Shape{2, 1}, []float32{1, -2}))
			p.decays = true
			z := newOptimizer(&o, []*param{p})
			s := &byHand{w: []float64{1, -2}, m: make([]float64, 2), v: make([]float64, 2)}
			for k, g := range grads {
				z.update([][]float32{{float32(g[0]), float32(g[1])}}, rate, k+1)
				s.t = k + 1
				c.step(s, g)
				for i, want := range s.w {
					if math.Abs(float64(p.w[i])-want) > 1e-5 {
						t.Fatalf("after step %d the weights are %v, want %v", k+1, p.w, s.w)
					}
				}
			}
		})
	}
}

// byHand is the memory of an optimizer.
type byHand struct {
	w, m, v []float64
	t       int
}

// adam returns the corrected first moment over the root of the second.
func (s *byHand) adam(i int, g float64) float64 {
	s.m[i] = 0.9*s.m[i] + 0.1*g
	s.v[i] = 0.999*s.v[i] + 0.001*g*g
	n := float64(s.t)
	return s.m[i] / (1 - math.Pow(0.9, n)) / (math.Sqrt(s.v[i]/(1-math.Pow(0.999, n))) + 1e-8)
}

// TestDecay: matrices and kernels shrink, biases and what norms scale by do
// not, in whatever shape they are written.
func TestDecay(t *testing.T) {
	for _, c := range []struct {
		shape tensor.Shape
		want  bool
	}{
		{tensor.Shape{3, 4}, true}, {tensor.Shape{8, 2, 3, 3}, true}, {tensor.Shape{8, 1, 3, 1}, true},
		{tensor.Shape{7}, false}, {tensor.Shape{1, 7, 1, 1}, false}, {tensor.Shape{}, false}, {tensor.Shape{1, 1}, false},
	} {
		if got := newParam("w", tensor.New(tensor.Float32, c.shape)).decays; got != c.want {
			t.Errorf("%v decays: %v, want %v", c.shape, got, c.want)
		}
	}
}

func TestClip(t *testing.T) {
	g := [][]float32{{3}, {0, 4}}
	clip(g, 0)
	clip(g, 6)
	if g[0][0] != 3 || g[1][1] != 4 {
		t.Errorf("a gradient of norm 5 became %v under a bound of 6", g)
	}
	clip(g, 2.5)
	if g[0][0] != 1.5 || g[1][0] != 0 || g[1][1] != 2 {
		t.Errorf("a gradient of norm 5 became %v under a bound of 2.5", g)
	}
}

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		s    Schedule
		want []float64 // at 0, 1/8, 1/4, ... of the updates
	}{
		{Schedule{Kind: "constant"}, []float64{1, 1, 1, 1, 1, 1, 1, 1}},
		{Schedule{Kind: "step"}, []float64{1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01}},
		{Schedule{Kind: "cosine"}, []float64{1, 0.9619, 0.8536, 0.6913, 0.5, 0.3087, 0.1464, 0.0381}},
		{Schedule{Kind: "one-cycle"}, []float64{0.04, 0.3958, 0.9357, 0.9721, 0.8117, 0.5565, 0.2832, 0.0762}},
		{Schedule{Kind: "constant", Warmup: 0.5}, []float64{0.0025, 0.2519, 0.5012, 0.7506, 1, 1, 1, 1}},
	} {
		for i, want := range c.want {
			if got := c.s.Rate(100*i, 800); math.Abs(got-want) > 1e-3 {
				t.Errorf("%+v at %d/8: %.4f, want %.4f", c.s, i, got, want)
			}
		}
		if got := c.s.Rate(0, 1); got != 1 {
			t.Errorf("%+v of a single update: %v, want 1", c.s, got)
		}
	}
}

// TestAccumulation: two steps of half a batch whose gradients are averaged
// move the weights as one step of the batch does.
func TestAccumulation(t *testing.T) {
	weights := func(batch, accum int) []float32 {
		task := ringTask(t)
		task.Options.Epochs, task.Options.Optimizer, task.Options.Schedule.Kind = 1, "sgd", "constant"
		task.Options.Batch, task.Options.Accum = batch, accum
		task.Held = nil
		r := run(t, task)
		if r.Steps != 15 {
			t.Fatalf("%d updates, want 15", r.Steps)
		}
		return tensor.Float32s(r.Model.Graph.Value("w1").Init.Tensor)
	}
	whole, halves := weights(16, 1), weights(8, 2)
	for i := range whole {
		if math.Abs(float64(whole[i]-halves[i])) > 1e-5 {
			t.Fatalf("weight %d is %v, want %v", i, halves[i], whole[i])
		}
	}
}

// TestPatience goes on from a trained model at a rate that ruins it: training
// ends after so many epochs, and says why.
func TestPatience(t *testing.T) {
	task := ringTask(t)
	task.Options.Epochs = 12
	task.Model = run(t, task).Model
	task.Options.Rate, task.Options.Patience = 3, 2
	r := run(t, task)
	if len(r.Curve) != 2 || r.Best != -1 || r.Stopped != "no better validation in 2 epochs" {
		t.Errorf("%d epochs, best %d, stopped: %q", len(r.Curve), r.Best, r.Stopped)
	}
}

// TestEMA: what is kept is the average of the weights, which lags behind them.
func TestEMA(t *testing.T) {
	task := ringTask(t)
	task.Options.Epochs, task.Held = 1, nil
	last := tensor.Float32s(run(t, task).Model.Graph.Value("b1").Init.Tensor)
	task.Options.EMA = 0.9
	mean := tensor.Float32s(run(t, task).Model.Graph.Value("b1").Init.Tensor)
	start := tensor.Float32s(task.Model.Graph.Value("b1").Init.Tensor)
	if slices.Equal(mean, last) {
		t.Error("the average is the last weights")
	}
	if a, b := distance(mean, start), distance(last, start); a >= b {
		t.Errorf("the average is %.3g from the start, the weights %.3g", a, b)
	}
}

func distance(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]-b[i]) * float64(a[i]-b[i])
	}
	return math.Sqrt(sum)
}
