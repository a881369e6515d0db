package main

import (
	"math"
	"math/rand/v2"
)

// side is the width and height of a picture in pixels.
const side = 28

// glyph is a drawn digit: white strokes on black.
type glyph struct {
	class int
	pix   [side * side]uint8
}

type point struct{ x, y float64 }

// strokes are the digits as polylines in the unit square, y downwards.
var strokes = [10][][]point{
	0: {arc(0.5, 0.5, 0.3, 0.42, 0, 360)},
	1: {{{0.32, 0.28}, {0.54, 0.08}, {0.54, 0.92}}},
	2: {append(arc(0.5, 0.32, 0.28, 0.24, 200, 380), point{0.22, 0.9}, point{0.8, 0.9})},
	3: {arc(0.46, 0.3, 0.27, 0.21, 210, 450), arc(0.46, 0.7, 0.31, 0.21, 270, 510)},
	4: {{{0.62, 0.92}, {0.62, 0.08}, {0.18, 0.64}, {0.84, 0.64}}},
	5: {append([]point{{0.76, 0.1}, {0.32, 0.1}, {0.28, 0.46}}, arc(0.48, 0.65, 0.29, 0.25, 240, 500)...)},
	6: {append([]point{{0.66, 0.08}, {0.36, 0.38}}, arc(0.5, 0.68, 0.27, 0.24, 200, 560)...)},
	7: {{{0.2, 0.1}, {0.8, 0.1}, {0.42, 0.92}}},
	8: {arc(0.5, 0.29, 0.23, 0.2, 90, 450), arc(0.5, 0.7, 0.28, 0.22, 270, 630)},
	9: {append(arc(0.5, 0.32, 0.26, 0.24, 20, 380), point{0.6, 0.92})},
}

// arc returns points on an ellipse between two angles in degrees, clockwise
// from the right.
func arc(cx, cy, rx, ry, from, to float64) []point {
	const steps = 24
	pts := make([]point, steps+1)
	for i := range pts {
		a := (from + (to-from)*float64(i)/steps) * math.Pi / 180
		pts[i] = point{cx + rx*math.Cos(a), cy + ry*math.Sin(a)}
	}
	return pts
}

// drawAll draws n digits of all classes in turn.
func drawAll(rng *rand.Rand, n int) []glyph {
	gs := make([]glyph, n)
	for i := range gs {
		gs[i] = draw(rng, i%10)
	}
	rng.Shuffle(n, func(i, j int) { gs[i], gs[j] = gs[j], gs[i] })
	return gs
}

// draw draws one digit with a pen of random width under a random affine map,
// bent by a wave, scratched, and covered with noise.
func draw(rng *rand.Rand, class int) glyph {
	warp := randomWarp(rng)
	pen := 0.9 + 0.9*rng.Float64()
	ink := 110 + 145*rng.Float64()
	noise := 10 + 28*rng.Float64()
	g := glyph{class: class}
	var cover [side * side]float64
	for _, line := range strokes[class] {
		for i := 1; i < len(line); i++ {
			stroke(&cover, warp(line[i-1]), warp(line[i]), pen)
		}
	}
	scratch(rng, &cover)
	for i, c := range cover {
		v := c*ink + noise*rng.NormFloat64()
		g.pix[i] = uint8(math.Max(0, math.Min(255, math.Round(v))))
	}
	return g
}

func randomWarp(rng *rand.Rand) func(point) point {
	uniform := func(lo, hi float64) float64 { return lo + (hi-lo)*rng.Float64() }
	angle := uniform(-0.35, 0.35)
	sx, sy := uniform(11, 20), uniform(14, 22)
	shear := uniform(-0.3, 0.3)
	dx, dy := uniform(-3, 3), uniform(-2.5, 2.5)
	wave, phase := uniform(-2.2, 2.2), uniform(0, 2*math.Pi)
	sin, cos := math.Sincos(angle)
	return func(p point) point {
		x, y := (p.x-0.5)*sx, (p.y-0.5)*sy
		x += shear * y
		x, y = cos*x-sin*y, sin*x+cos*y
		x += wave * math.Sin(y/6+phase)
		return point{side/2 + x + dx, side/2 + y + dy}
	}
}

// scratch draws a short thin line anywhere.
func scratch(rng *rand.Rand, cover *[side * side]float64) {
	a := point{side * rng.Float64(), side * rng.Float64()}
	b := point{a.x + 10*rng.NormFloat64(), a.y + 10*rng.NormFloat64()}
	stroke(cover, a, b, 0.4)
}

// stroke covers the pixels within a pen's radius of the segment a-b, softly
// over one pixel at the rim.
func stroke(cover *[side * side]float64, a, b point, radius float64) {
	for i := range cover {
		p := point{float64(i%side) + 0.5, float64(i/side) + 0.5}
		c := math.Max(0, math.Min(1, radius+0.5-distance(p, a, b)))
		cover[i] = math.Max(cover[i], c)
	}
}

// distance returns how far p is from the segment a-b.
func distance(p, a, b point) float64 {
	dx, dy := b.x-a.x, b.y-a.y
	t := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		t = math.Max(0, math.Min(1, ((p.x-a.x)*dx+(p.y-a.y)*dy)/l))
	}
	return math.Hypot(p.x-a.x-t*dx, p.y-a.y-t*dy)
}
