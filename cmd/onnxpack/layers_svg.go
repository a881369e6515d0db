package main

import (
	"fmt"
	"html/template"
	"io"

	"github.com/onnxpack/onnxpack/passes"
)

// Measures of a picture of layers, in pixels.
const (
	barRow     = 16
	layerNames = 260
	layerBars  = 300
)

// layerBar is a row of the picture: how many outputs a layer keeps of those that
// it had, and how sensitive it is.
type layerBar struct {
	Name             string
	Top              int
	Size, Kept       int // pixels
	Width            string
	Sensitive        int // pixels
	SensitiveX, Text int
	Divergence       string
}

var layersSVG = template.Must(template.New("layers").Parse(`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>
<text x="260" y="20" font-weight="bold">outputs kept</text>
{{- if .Sensitive}}
<text x="660" y="20" font-weight="bold">divergence without a third, nats</text>
{{- end}}
{{- range .Bars}}
<text x="252" y="{{.Text}}" text-anchor="end">{{.Name}}</text>
<rect x="260" y="{{.Top}}" width="{{.Size}}" height="12" fill="#ddd"/>
<rect x="260" y="{{.Top}}" width="{{.Kept}}" height="12" fill="#1f6feb"/>
<text x="{{.SensitiveX}}" y="{{.Text}}" text-anchor="end" fill="#666">{{.Width}}</text>
{{- if .Divergence}}
<rect x="660" y="{{.Top}}" width="{{.Sensitive}}" height="12" fill="#d1242f"/>
<text x="970" y="{{.Text}}" fill="#666">{{.Divergence}}</text>
{{- end}}
{{- end}}
</svg>
`))

// writeLayers draws the layers that steps report, one below the other: widths
// before and after, and how sensitive each is.
func writeLayers(w io.Writer, steps []*passes.StepReport) error {
	var layers []passes.Layer
	for _, s := range steps {
		layers = append(layers, s.Layers...)
	}
	widest, worst := 1, 0.0
	for _, l := range layers {
		widest, worst = max(widest, l.Size), max(worst, l.Divergence)
	}
	bars := make([]layerBar, len(layers))
	for i, l := range layers {
		b := layerBar{
			Name: shortName(l.Name), Top: 30 + i*barRow, Size: l.Size * layerBars / widest, Kept: l.Kept * layerBars / widest,
			Width: fmt.Sprintf("%d of %d", l.Kept, l.Size), SensitiveX: layerNames + layerBars + 80, Text: 40 + i*barRow,
		}
		if worst > 0 {
			b.Sensitive = int(l.Divergence / worst * layerBars)
			b.Divergence = fmt.Sprintf("%.2g", l.Divergence)
		}
		bars[i] = b
	}
	width := layerNames + layerBars + 90
	if worst > 0 {
		width = 1040
	}
	return layersSVG.Execute(w, map[string]any{
		"Width": width, "Height": 50 + len(bars)*barRow, "Bars": bars, "Sensitive": worst > 0,
	})
}

// shortName returns the end of a long name.
func shortName(name string) string {
	const most = 40
	if r := []rune(name); len(r) > most {
		return "…" + string(r[len(r)-most:])
	}
	return name
}
