package op

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// probabilityByPaths sums the probabilities of all paths that become target
// once repeated classes are one and blanks are gone.
func probabilityByPaths(p []float64, frames, classes, blank int, target []int64) float64 {
	sum := 0.0
	path := make([]int, frames)
	for {
		var shown []int64
		product := 1.0
		for t, c := range path {
			product *= p[t*classes+c]
			if c != blank && (t == 0 || path[t-1] != c) {
				shown = append(shown, int64(c))
			}
		}
		if slices.Equal(shown, target) {
			sum += product
		}
		t := 0
		for ; t < frames; t++ {
			if path[t]++; path[t] < classes {
				break
			}
			path[t] = 0
		}
		if t == frames {
			return sum
		}
	}
}

// The probability of a target is that of all its paths, and the gradient
// equals central differences, also of one label for one frame, of repeated
// labels that leave no frame over, and of none.
func TestCTC(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	for _, c := range []struct {
		frames, classes, blank int
		target                 []int64
	}{
		{1, 2, 0, []int64{1}}, {1, 2, 1, nil}, {3, 2, 0, []int64{1, 1}}, {5, 3, 0, []int64{1, 1, 2}},
		{5, 3, 2, []int64{0, 1}}, {4, 4, 1, []int64{3, 0, 2}}, {6, 3, 1, []int64{2, 2}}, {4, 3, 0, nil},
	} {
		p, logp := make([]float64, c.frames*c.classes), make([]float64, c.frames*c.classes)
		for i := range p {
			p[i] = 0.05 + r.Float64()
			logp[i] = math.Log(p[i])
		}
		states := []int{c.blank}
		for _, label := range c.target {
			states = append(states, int(label), c.blank)
		}
		s := &ctc{logp, c.frames, c.classes, len(c.target), states}
		want := math.Log(probabilityByPaths(p, c.frames, c.classes, c.blank, c.target))
		if got := s.total(s.forward()); math.Abs(got-want) > 1e-12 {
			t.Errorf("%v: log p is %v, want %v", c, got, want)
		}
		gradient := make([]float64, len(logp))
		s.gradient(gradient, 2)
		for i, x := range logp {
			const h = 1e-5
			logp[i] = x + h
			up := s.total(s.forward())
			logp[i] = x - h
			slope := -2 / float64(max(1, len(c.target))) * (up - s.total(s.forward())) / (2 * h)
			logp[i] = x
			if math.Abs(gradient[i]-slope) > 1e-8 {
				t.Errorf("%v: gradient by element %d is %v, want %v", c, i, gradient[i], slope)
			}
		}
	}
}

func TestCTCTarget(t *testing.T) {
	for _, c := range []struct {
		row   []int64
		blank int
		want  string // the labels' number, or part of the error
	}{
		{[]int64{1, 2, -1, -1}, 0, "2"}, {[]int64{1, 2, 0, -1, 0}, 0, "2"}, {[]int64{-1}, 0, "0"}, {nil, 0, "0"}, {[]int64{0, 1}, 3, "2"},
		{[]int64{1, 4}, 0, "label 4 (element 1) is outside [0,3]"},
		{[]int64{1, -1, 2}, 0, "label -1 (element 1) is outside"},
		{[]int64{0, 1}, 0, "is the blank"},
		{[]int64{1, 1, 2, 2}, 0, "4 labels need at least 6 frames, the output has 5"},
	} {
		got, err := CTCTarget(c.row, 5, 4, c.blank)
		switch {
		case err == nil && c.want != string(rune('0'+len(got))):
			t.Errorf("%v: labels %v, want %s", c.row, got, c.want)
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%v: %v, want %s", c.row, err, c.want)
		}
	}
}
