package main

import (
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/passes"
)

// Measures of a picture of curves, in pixels.
const (
	curveWidth, curveHeight = 640, 160
	curveMargin             = 60
)

// curvePanel is one curve with its own scale.
type curvePanel struct {
	Name      string
	Top       int
	Points    string
	Low, High string
	Last      int // the last epoch
}

var curvesSVG = template.Must(template.New("curves").Parse(`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
{{- range .Panels}}
<g transform="translate(60,{{.Top}})">
<text x="0" y="-8" font-weight="bold">{{.Name}}</text>
<rect width="640" height="160" fill="none" stroke="#ccc"/>
<text x="-6" y="10" text-anchor="end">{{.High}}</text>
<text x="-6" y="160" text-anchor="end">{{.Low}}</text>
<text x="0" y="176">epoch 1</text>
<text x="640" y="176" text-anchor="end">{{.Last}}</text>
<polyline points="{{.Points}}" fill="none" stroke="#1f6feb" stroke-width="2"/>
</g>
{{- end}}
</svg>
`))

// writeCurves draws the curves of steps, one below the other.
func writeCurves(w io.Writer, steps []*passes.StepReport) error {
	var panels []curvePanel
	for _, s := range steps {
		for _, c := range s.Curves {
			panels = append(panels, newCurvePanel(s.Pass+": "+c.Name, c.Y, 40+len(panels)*(curveHeight+curveMargin)))
		}
	}
	return curvesSVG.Execute(w, map[string]any{
		"Width": curveWidth + 2*curveMargin, "Height": 40 + len(panels)*(curveHeight+curveMargin), "Panels": panels,
	})
}

func newCurvePanel(name string, y []float64, top int) curvePanel {
	lo, hi := slices.Min(y), slices.Max(y)
	span := hi - lo
	if span == 0 {
		span = 1
	}
	points := make([]string, len(y))
	for i, v := range y {
		x := float64(curveWidth) * float64(i) / float64(max(1, len(y)-1))
		points[i] = fmt.Sprintf("%.1f,%.1f", x, curveHeight*(1-(v-lo)/span))
	}
	return curvePanel{Name: name, Top: top, Points: strings.Join(points, " "), Low: fmt.Sprintf("%.4g", lo), High: fmt.Sprintf("%.4g", hi), Last: len(y)}
}
