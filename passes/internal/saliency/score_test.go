package saliency

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestLeast compares with sorting, with many equal scores.
func TestLeast(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		scores := make([]float64, 1+r.IntN(40))
		for i := range scores {
			scores[i] = float64(r.IntN(6))
		}
		for n := range len(scores) + 1 {
			want := slices.Clone(Order(scores)[:n])
			slices.Sort(want)
			if got := Least(scores, n); !slices.Equal(got, want) {
				t.Fatalf("the %d least of %v are %v, want %v", n, scores, got, want)
			}
		}
	}
}
