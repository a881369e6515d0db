package op

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Joined places are the same elements in the same order.
func TestScatterPlacesJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	elements := func(p *scatterPlaces) []int {
		var all []int
		for _, k := range p.idx {
			for j := range p.block {
				all = append(all, k*p.block+j)
			}
		}
		return all
	}
	for range 200 {
		length, block := 1+r.IntN(8), 1+r.IntN(3)
		p := &scatterPlaces{block: block}
		for range r.IntN(6) {
			start := r.IntN(10) * length
			for j := range length * (1 + r.IntN(3)) {
				p.idx = append(p.idx, start+j)
			}
		}
		want := elements(p)
		p.join()
		if got := elements(p); !slices.Equal(got, want) {
			t.Fatalf("joined to blocks of %d: %v, want %v", p.block, got, want)
		}
		if len(want) > 0 && p.block < block*length {
			t.Errorf("runs of %d blocks of %d are joined to blocks of %d", length, block, p.block)
		}
	}
}
