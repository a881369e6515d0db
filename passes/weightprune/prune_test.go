package weightprune

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
)

// sample makes a layer of a convolution with inputs that depend on each other,
// so that weights can make up for others.
func sample(t *testing.T, groups int) *layer {
	t.Helper()
	const in, out = 8, 12
	m, err := graph.ParseModel(`<ir_version: 9, opset_import: ["": 17]> g (x, w) => (y) { y = Conv <group = ` + string(rune('0'+groups)) + `> (x, w) }`)
	if err != nil {
		t.Fatal(err)
	}
	shape := tensor.Shape{out, in / groups, 3, 3}
	r := rand.New(rand.NewPCG(1, 2))
	l := &layer{dtype: tensor.Float32, shape: shape, w: make([]float64, shape.Len())}
	for i := range l.w {
		l.w[i] = r.NormFloat64()
	}
	l.first = l.w
	reader, err := saliency.InputsOf(m.Graph.First(), 1, shape, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.matrix = reader.Matrix
	l.moments = saliency.NewMoments(l.matrix, true, kernel.Generic(), 1)
	for k := range 8 {
		c, err := reader.Read(smooth(r, in, 9, 9), k)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.moments.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// smooth returns an image whose pixels are like their neighbours.
func smooth(r *rand.Rand, c, h, w int) *tensor.Tensor {
	x := make([]float32, c*h*w)
	for i := range x {
		x[i] = float32(r.NormFloat64()) + 0.3
		if i%w > 0 {
			x[i] += 0.8 * x[i-1]
		}
	}
	return tensor.Of(tensor.Shape{1, c, h, w}, x)
}

// squaredError is that of the node's result if its weights are x.
func squaredError(l *layer, x []float64) float64 {
	m, sum := l.matrix, 0.0
	for g := range m.Groups {
		h := l.moments.Hessian(g)
		a, b := m.Load(g, l.w), m.Load(g, x)
		for r := range m.Rows {
			for i := range m.Cols {
				for k := range m.Cols {
					sum += (a[r*m.Cols+i] - b[r*m.Cols+i]) * h[i*m.Cols+k] * (a[r*m.Cols+k] - b[r*m.Cols+k])
				}
			}
		}
	}
	return sum
}

// TestCentered expects that scores which leave the means of inputs to the bias
// err less, once it makes up for them, than scores that count them.
func TestCentered(t *testing.T) {
	l := sample(t, 1)
	r := rand.New(rand.NewPCG(3, 4))
	for range 8 {
		c := &saliency.Columns{N: 50, Groups: [][]float32{make([]float32, 50*l.matrix.Cols)}}
		for i := range c.Groups[0] {
			c.Groups[0][i] = float32(r.NormFloat64()) + float32(i/c.N%5)
		}
		if err := l.moments.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	l.moments.Centered = true
	deviations := saliency.Wanda(l.w, l.moments)
	l.moments.Centered = false
	sizes := saliency.Wanda(l.w, l.moments)
	for _, p := range patterns {
		drop := len(l.w) / 2
		if g := p.grid(l.matrix); p.M == 0 {
			drop = g.tiles() / 2
		}
		byDeviation, bySize := masked(l.w, p.choose(l.matrix, deviations, drop, true)), masked(l.w, p.choose(l.matrix, sizes, drop, true))
		l.moments.Centered = true
		with, without := squaredError(l, byDeviation), squaredError(l, bySize)
		l.moments.Centered = false
		t.Logf("%v: error %.0f by deviations, %.0f by sizes", p, with, without)
		if with >= without {
			t.Errorf("%v: the error by deviations is %.0f, by sizes %.0f", p, with, without)
		}
	}
}

var patterns = []Pattern{{}, {N: 2, M: 4}, {Rows: 4, Cols: 1}, {Rows: 1, Cols: 4}}

// TestMethods expects that methods which know the inputs err less than those
// that do not, at the same number of zeros.
func TestMethods(t *testing.T) {
	for _, groups := range []int{1, 2} {
		l := sample(t, groups)
		for _, p := range patterns {
			g := p.grid(l.matrix)
			drop := g.tiles() / 2
			byMagnitude := p.choose(l.matrix, saliency.Magnitude(l.w), drop, false)
			byWanda := p.choose(l.matrix, saliency.Wanda(l.w, l.moments), drop, false)
			solved, err := solveOBS(l, p, l.w, drop, 0.001, 2)
			if err != nil {
				t.Fatal(err)
			}
			fitted, err := refit(l, byMagnitude)
			if err != nil {
				t.Fatal(err)
			}
			magnitude, wanda := squaredError(l, masked(l.w, byMagnitude)), squaredError(l, masked(l.w, byWanda))
			refitted, sparsegpt := squaredError(l, fitted), squaredError(l, solved)
			t.Logf("%d groups, %v: magnitude %.0f, wanda %.0f, refit %.0f, sparsegpt %.0f", groups, p, magnitude, wanda, refitted, sparsegpt)
			if wanda > magnitude*1.1 || refitted > magnitude/1.5 || sparsegpt > magnitude/1.5 {
				t.Errorf("%d groups, %v: errors are not in the order of what the methods know", groups, p)
			}
			if got, want := zerosIn(solved), zerosIn(masked(l.w, byMagnitude)); got != want && l.matrix.Rows%g.rows == 0 {
				t.Errorf("%d groups, %v: %d zeros, want %d", groups, p, got, want)
			}
			holds(t, l, p, solved)
		}
	}
}

// holds checks that zeros lie in the pattern.
func holds(t *testing.T, l *layer, p Pattern, x []float64) {
	t.Helper()
	if p.M > 0 {
		m := l.matrix.Load(0, x)
		for i := 0; i < len(m); i += p.M {
			if z := zerosIn(m[i : i+p.M]); z != p.M-p.N {
				t.Fatalf("%v: %d zeros of %v", p, z, m[i:i+p.M])
			}
		}
		return
	}
	g := p.grid(l.matrix)
	for tile := range g.tiles() {
		zeros, n := 0, 0
		g.each(tile, func(at int) {
			n++
			if x[at] == 0 {
				zeros++
			}
		})
		if zeros != 0 && zeros != n {
			t.Fatalf("%v: a block has %d zeros of %d", p, zeros, n)
		}
	}
}

// TestRefitIsLeast moves single weights that stay and expects the error to
// rise.
func TestRefitIsLeast(t *testing.T) {
	l := sample(t, 1)
	gone := Pattern{}.choose(l.matrix, saliency.Magnitude(l.w), len(l.w)/2, false)
	fitted, err := refit(l, gone)
	if err != nil {
		t.Fatal(err)
	}
	least := squaredError(l, fitted)
	for i := 0; i < len(fitted); i += 37 {
		if gone[i] {
			continue
		}
		for _, d := range []float64{-0.05, 0.05} {
			x := slices.Clone(fitted)
			x[i] += d
			if e := squaredError(l, x); e < least*0.9999 {
				t.Errorf("weight %d moved by %v: error falls from %v to %v", i, d, least, e)
			}
		}
	}
}

// TestDSnoT expects that exchanged weights bring the mean closer at the same
// number of zeros.
func TestDSnoT(t *testing.T) {
	for _, p := range patterns[:2] {
		l := sample(t, 1)
		gone := p.choose(l.matrix, saliency.Wanda(l.w, l.moments), len(l.w)/2, true)
		before, zeros := shift(l, gone), count(gone)
		dsnot(l, p, gone)
		after := shift(l, gone)
		if count(gone) != zeros {
			t.Errorf("%v: %d weights go, want %d", p, count(gone), zeros)
		}
		if after > before*0.7 {
			t.Errorf("%v: means are off by %v, were by %v", p, after, before)
		}
		if p.M > 0 {
			holds(t, l, p, masked(l.w, gone))
		}
	}
}

// shift is by how much the means of results are off.
func shift(l *layer, gone []bool) float64 {
	means, total := l.moments.Means(0), 0.0
	for r := range l.matrix.Rows {
		off := 0.0
		for c := range l.matrix.Cols {
			if i := l.matrix.At(0, r, c); gone[i] {
				off += l.w[i] * means[c]
			}
		}
		total += math.Abs(off)
	}
	return total
}

func count(gone []bool) int {
	n := 0
	for _, g := range gone {
		if g {
			n++
		}
	}
	return n
}

func TestLeastLoss(t *testing.T) {
	shares := []float64{0, 0.5, 0.9}
	got := leastLoss([]curve{{shares, []float64{0, 0.1, 5}}, {shares, []float64{0, 0.001, 0.002}}}, []float64{100, 100}, 0.5)
	if math.Abs(got[0]-0.1) > 1e-9 || math.Abs(got[1]-0.9) > 1e-9 {
		t.Errorf("shares are %v, want [0.1 0.9]", got)
	}
}

func TestPatternText(t *testing.T) {
	for _, s := range []string{"unstructured", "2:4", "4x1", "16x16"} {
		var p Pattern
		if err := p.UnmarshalText([]byte(s)); err != nil || p.String() != s {
			t.Errorf("%q reads as %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "4:2", "4:4", "0x1", "x", "2:", "1x1x1", "-1x4", "99999999999x1"} {
		var p Pattern
		if p.UnmarshalText([]byte(s)) == nil {
			t.Errorf("%q reads as %v, want an error", s, p)
		}
	}
}

func TestValidate(t *testing.T) {
	good := []Options{{Sparsity: 0.5}, {Threshold: 1}, {Pattern: Pattern{N: 2, M: 4}}, {Budget: 0.01}}
	bad := []Options{{}, {Sparsity: 1}, {Sparsity: 0.5, Threshold: 1}, {Pattern: Pattern{N: 2, M: 4}, Sparsity: 0.5}, {Sparsity: 0.5, Repair: []string{"prayer"}}, {Budget: 0.1, Steps: 3}}
	for _, list := range [][]Options{good, bad} {
		for _, o := range list {
			o.Scope = "layer"
			o.Steps = max(1, o.Steps)
			if err := o.Validate(); (err == nil) != (&list[0] == &good[0]) {
				t.Errorf("%+v: %v", o, err)
			}
		}
	}
}
