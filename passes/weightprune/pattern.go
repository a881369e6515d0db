package weightprune

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// Pattern says which weights have to go together. The zero Pattern lets every
// weight go by itself.
type Pattern struct {
	// N of every M weights that follow each other along the inputs of an output
	// stay; M is 0 for other patterns. A convolution's inputs are the channels of
	// its first tap, then those of the next.
	N, M int
	// Rows outputs times Cols inputs stay or go as a block; 0 for other patterns.
	Rows, Cols int
}

// UnmarshalText reads "unstructured", "2:4" (N:M) or "4x1" (rows x columns).
func (p *Pattern) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "unstructured" {
		*p = Pattern{}
		return nil
	}
	if a, b, ok := pair(s, ":"); ok && a < b {
		*p = Pattern{N: a, M: b}
		return nil
	}
	if a, b, ok := pair(s, "x"); ok {
		*p = Pattern{Rows: a, Cols: b}
		return nil
	}
	return fmt.Errorf("got %q, want \"unstructured\", N:M such as 2:4, or outputs x inputs such as 4x1", s)
}

func pair(s, sep string) (a, b int, ok bool) {
	x, y, found := strings.Cut(s, sep)
	a, errA := strconv.Atoi(x)
	b, errB := strconv.Atoi(y)
	return a, b, found && errA == nil && errB == nil && a > 0 && b > 0 && a <= 1024 && b <= 1024
}

// String returns the pattern as UnmarshalText reads it.
func (p Pattern) String() string {
	switch {
	case p.M > 0:
		return fmt.Sprintf("%d:%d", p.N, p.M)
	case p.Rows > 0:
		return fmt.Sprintf("%dx%d", p.Rows, p.Cols)
	}
	return "unstructured"
}

// refuses says why the pattern makes no sense for a weight, "" if it does.
func (p Pattern) refuses(m *saliency.Matrix) string {
	switch {
	case p == Pattern{}:
		return ""
	case m.Depthwise():
		return "each of its outputs reads one channel, so that there is nothing to arrange in a pattern of " + p.String()
	case p.M > m.Cols:
		return fmt.Sprintf("its outputs have %d inputs, less than the pattern %v", m.Cols, p)
	case p.Rows > m.Rows || p.Cols > m.Cols:
		return fmt.Sprintf("its matrix of %d x %d is smaller than a block of %v", m.Rows, m.Cols, p)
	}
	return ""
}

// grid divides a matrix into tiles that stay or go as a whole.
type grid struct {
	m          *saliency.Matrix
	rows, cols int // of a tile
	down, wide int // tiles of a group
}

func (p Pattern) grid(m *saliency.Matrix) grid {
	g := grid{m: m, rows: max(1, p.Rows), cols: max(1, p.Cols)}
	g.down = (m.Rows + g.rows - 1) / g.rows
	g.wide = (m.Cols + g.cols - 1) / g.cols
	return g
}

// tiles is the number of tiles.
func (g *grid) tiles() int { return g.m.Groups * g.down * g.wide }

// each calls f with the position of every weight of a tile.
func (g *grid) each(tile int, f func(at int)) {
	group, t := tile/(g.down*g.wide), tile%(g.down*g.wide)
	r0, c0 := t/g.wide*g.rows, t%g.wide*g.cols
	for r := r0; r < min(r0+g.rows, g.m.Rows); r++ {
		for c := c0; c < min(c0+g.cols, g.m.Cols); c++ {
			f(g.m.At(group, r, c))
		}
	}
}

// scores returns the mean score of the weights of every tile.
func (g *grid) scores(s []float64) []float64 {
	out := make([]float64, g.tiles())
	for t := range out {
		n := 0
		g.each(t, func(at int) {
			out[t] += s[at]
			n++
		})
		out[t] /= float64(n)
	}
	return out
}

// choose returns which weights go: the tiles of the least scores, drop of
// them; with byRow each row of tiles loses the same share. Of equal scores the
// later go first.
func (p Pattern) choose(m *saliency.Matrix, scores []float64, drop int, byRow bool) []bool {
	gone := make([]bool, len(scores))
	if p.M > 0 {
		p.chooseRuns(m, scores, gone)
		return gone
	}
	g := p.grid(m)
	s := g.scores(scores)
	take := func(first, count, drop int) {
		for _, i := range saliency.Least(s[first:first+count], drop) {
			g.each(first+i, func(at int) { gone[at] = true })
		}
	}
	if !byRow {
		take(0, len(s), drop)
		return gone
	}
	for r := 0; r < len(s); r += g.wide {
		row := r / g.wide
		take(r, g.wide, (row+1)*drop/(len(s)/g.wide)-row*drop/(len(s)/g.wide))
	}
	return gone
}

// chooseRuns picks all but N of every M inputs, and of what remains at the end
// of a row all but N.
func (p Pattern) chooseRuns(m *saliency.Matrix, scores []float64, gone []bool) {
	for g := range m.Groups {
		for r := range m.Rows {
			for c := 0; c < m.Cols; c += p.M {
				p.chooseRun(min(p.M, m.Cols-c), func(i int) float64 { return scores[m.At(g, r, c+i)] },
					func(i int) { gone[m.At(g, r, c+i)] = true })
			}
		}
	}
}

// chooseRun picks all but N of n inputs with the given scores.
func (p Pattern) chooseRun(n int, score func(i int) float64, drop func(i int)) {
	s := make([]float64, n)
	for i := range s {
		s[i] = score(i)
	}
	for _, i := range saliency.Order(s)[:max(0, n-p.N)] {
		drop(i)
	}
}

// masked returns w with the chosen weights set to zero.
func masked(w []float64, gone []bool) []float64 {
	x := slices.Clone(w)
	for i, g := range gone {
		if g {
			x[i] = 0
		}
	}
	return x
}
