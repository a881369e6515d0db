package saliency

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
)

// Threads is n, or how many threads Go runs at once if n is 0.
func Threads(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// Magnitude scores weight w by |w|. (Han et al. 2015, arXiv 1506.02626.)
func Magnitude(w []float64) []float64 { return mapped(w, math.Abs) }

// Energy scores weight w by w^2.
func Energy(w []float64) []float64 { return mapped(w, func(x float64) float64 { return x * x }) }

func mapped(w []float64, f func(float64) float64) []float64 {
	s := make([]float64, len(w))
	for i, x := range w {
		s[i] = f(x)
	}
	return s
}

// LAMP scores a weight by its square over the sum of the squares of those that
// are no smaller, so that scores of different tensors can be ranked together
// without emptying one. Of equal magnitudes the later ones count as smaller.
// (Lee et al. 2021, arXiv 2010.07611.)
func LAMP(w []float64) []float64 {
	order := Order(Magnitude(w))
	s := make([]float64, len(w))
	sum := 0.0
	for _, i := range slices.Backward(order) {
		e := w[i] * w[i]
		if sum += e; sum > 0 {
			s[i] = e / sum
		}
	}
	return s
}

// Order returns the positions of scores from the least to the greatest; of
// equal ones the later come first.
func Order(scores []float64) []int {
	order := steps(len(scores), 1)
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case scores[a] < scores[b]:
			return -1
		case scores[a] > scores[b]:
			return 1
		}
		return b - a
	})
	return order
}

// Least returns the positions of the n least scores; of equal ones the later
// count as less. The order of positions is that of the scores' list.
func Least(scores []float64, n int) []int {
	if n <= 0 {
		return nil
	}
	bound := nth(slices.Clone(scores), n-1)
	below := 0
	for _, s := range scores {
		if s < bound {
			below++
		}
	}
	least := make([]int, 0, n)
	equal := n - below // of those at the bound, taken from the end
	for i, s := range slices.Backward(scores) {
		switch {
		case s < bound:
			least = append(least, i)
		case s == bound && equal > 0:
			least = append(least, i)
			equal--
		}
	}
	slices.Reverse(least)
	return least
}

// nth returns what would stand at position k if x were sorted; it reorders x.
func nth(x []float64, k int) float64 {
	for lo, hi := 0, len(x)-1; lo < hi; {
		pivot := x[lo+(hi-lo)/2]
		i, j := lo, hi
		for i <= j {
			for x[i] < pivot {
				i++
			}
			for x[j] > pivot {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return x[k]
		}
	}
	return x[k]
}

// Wanda scores weight w[o,i] by |w[o,i]| * sqrt(mean of x[i]^2), the size of
// the input that it multiplies, or of the input's deviations from its mean if
// the moments are Centered. Scores are meant to be compared within one row. (Sun
// et al. 2023, arXiv 2306.11695; An et al. 2023, arXiv 2312.11983.)
func Wanda(w []float64, m *Moments) []float64 {
	return byColumn(w, m.Matrix, func(g int) []float64 { return mapped(m.Energies(g), math.Sqrt) },
		func(x, norm float64) float64 { return math.Abs(x) * norm })
}

// OBD scores a weight by half its square times the diagonal of the Hessian
// (LeCun et al. 1989), here that of the squared error of the node's result.
func OBD(w []float64, m *Moments) []float64 {
	return byColumn(w, m.Matrix, m.Energies, func(x, h float64) float64 { return x * x * h / 2 })
}

// OBS scores a weight by half its square over the diagonal of the inverse of
// the Hessian: how much the squared error rises if the weight goes and all
// others of its row make up for it. inverse holds the diagonal for each group.
// (Hassibi & Stork 1993; Frantar & Alistarh 2022, arXiv 2208.11580.)
func OBS(w []float64, m *Matrix, inverse [][]float64) []float64 {
	return byColumn(w, m, func(g int) []float64 { return inverse[g] },
		func(x, h float64) float64 { return x * x / h / 2 })
}

func byColumn(w []float64, m *Matrix, column func(g int) []float64, score func(x, column float64) float64) []float64 {
	s := make([]float64, len(w))
	for g := range m.Groups {
		c := column(g)
		for r := range m.Rows {
			for i := range m.Cols {
				at := m.At(g, r, i)
				s[at] = score(w[at], c[i])
			}
		}
	}
	return s
}

// Taylor scores a weight by |w*g|, the first-order change of the loss when it
// goes; g is the mean magnitude of the gradient of the loss of single samples. (Molchanov et al. 2019, arXiv
// 1906.10771.)
func Taylor(w, g []float64) []float64 {
	return joined(w, g, func(x, d float64) float64 { return math.Abs(x * d) })
}

// Fisher scores a weight by w^2*f/2, where f, the mean of the squared
// gradients of single samples, stands for the diagonal of the Hessian of the
// loss. (Theis et al. 2018, arXiv 1801.05787.)
func Fisher(w, f []float64) []float64 {
	return joined(w, f, func(x, d float64) float64 { return x * x * d / 2 })
}

func joined(w, g []float64, f func(x, d float64) float64) []float64 {
	s := make([]float64, len(w))
	for i := range w {
		s[i] = f(w[i], g[i])
	}
	return s
}

// Random scores n weights by chance, as a control.
func Random(n int, r *rand.Rand) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = r.Float64()
	}
	return s
}
