package engine

import (
	"sync/atomic"
	"testing"
)

// TestSplit checks that every index is worked on once, in ranges that are as
// long as asked for, whatever the numbers.
func TestSplit(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 5} {
		var tm team
		tm.enter(threads)
		for _, n := range []int{0, 1, 2, 3, 7, 8, 9, 63, 64, 1000} {
			for _, grain := range []int{0, 1, 2, 5, 64, 2000} {
				seen := make([]atomic.Int32, n)
				tm.split(n, grain, func(lo, hi int) {
					for i := lo; i < hi; i++ {
						seen[i].Add(1)
					}
				})
				for i := range seen {
					if got := seen[i].Load(); got != 1 {
						t.Fatalf("%d threads, %d of grain %d: index %d came up %d times", threads, n, grain, i, got)
					}
				}
			}
		}
		tm.leave()
	}
}

// TestSplitPanics checks that a panic in any thread reaches the caller.
func TestSplitPanics(t *testing.T) {
	var tm team
	tm.enter(2)
	defer tm.leave()
	for bad := range 16 {
		func() {
			defer func() {
				if p := recover(); p != bad {
					t.Errorf("the caller sees %v, want %d", p, bad)
				}
			}()
			tm.split(16, 1, func(lo, hi int) {
				if lo <= bad && bad < hi {
					panic(bad)
				}
			})
		}()
	}
}
