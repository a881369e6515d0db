package train

import "math"

// Schedule says how the learning rate goes over the updates of a run.
type Schedule struct {
	Kind   string  // constant, step, cosine or one-cycle
	Warmup float64 // share of the updates over which the rate rises from 0 in a line
}

// Schedules lists the kinds.
var Schedules = []string{"constant", "step", "cosine", "one-cycle"}

// Rate returns what the learning rate is multiplied by at update t of n.
//
// step divides it by 10 after half and after three quarters of the updates;
// cosine follows (1+cos(pi t/n))/2 (Loshchilov and Hutter 2017); one-cycle
// rises from 1/25 over the first 30 % and falls to 1/10000, both by a cosine
// (Smith and Topin 2019).
func (s Schedule) Rate(t, n int) float64 {
	if n <= 1 {
		return 1
	}
	x := float64(t) / float64(n)
	if s.Warmup > 0 && x < s.Warmup {
		return (float64(t) + 1) / (s.Warmup*float64(n) + 1)
	}
	if s.Warmup > 0 {
		x = (x - s.Warmup) / (1 - s.Warmup)
	}
	switch s.Kind {
	case "step":
		switch {
		case x >= 0.75:
			return 0.01
		case x >= 0.5:
			return 0.1
		}
		return 1
	case "cosine":
		return anneal(1, 0, x)
	case "one-cycle":
		const peak = 0.3
		if x < peak {
			return anneal(1.0/25, 1, x/peak)
		}
		return anneal(1, 1e-4, (x-peak)/(1-peak))
	}
	return 1
}

// anneal goes from a to b by half a cosine as x goes from 0 to 1.
func anneal(a, b, x float64) float64 {
	return b + (a-b)*(1+math.Cos(math.Pi*x))/2
}
