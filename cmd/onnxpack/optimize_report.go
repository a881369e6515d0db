package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/passes"
)

// optimizeReport is the JSON of optimize. Every figure in it was measured.
type optimizeReport struct {
	Model       string               `json:"model"`
	Out         string               `json:"out"`
	Written     bool                 `json:"written"`
	Target      string               `json:"target"`
	Host        benchmark.Host       `json:"host"`
	Threads     int                  `json:"threads"`
	Calibration int                  `json:"calibration_samples"`
	Evaluation  int                  `json:"evaluation_samples"`
	Data        string               `json:"evaluation_data,omitempty"`
	NotMeasured string               `json:"not_measured,omitempty"` // why the model was not run
	Before      modelFigures         `json:"before"`
	After       modelFigures         `json:"after"`
	Zeros       *zeros               `json:"zeros,omitempty"`
	Passes      []*passes.StepReport `json:"passes"`
}

type modelFigures struct {
	figures
	Latency []benchmark.Row    `json:"latency,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
	Foreign bool               `json:"foreign,omitempty"` // the target's code does not run here
}

// gate returns an error if accuracy fell by more than maxDrop points; a
// negative maxDrop asks for nothing.
func (r *optimizeReport) gate(maxDrop float64) error {
	if maxDrop < 0 {
		return nil
	}
	if r.NotMeasured != "" {
		return &gateError{"--max-drop: accuracy was not measured (" + r.NotMeasured + "); nothing was written"}
	}
	name, before, after := "top1", r.Before.Metrics["top1"], r.After.Metrics["top1"]
	if _, ok := r.After.Metrics["top1"]; !ok {
		name, before, after = "agreement", 1, r.After.Metrics["agreement"]
	}
	if drop := 100 * (before - after); drop > maxDrop {
		return &gateError{fmt.Sprintf("%s fell by %.2f points, more than the %.2f allowed; nothing was written", name, drop, maxDrop)}
	}
	return nil
}

func (r *optimizeReport) write(w io.Writer) {
	fmt.Fprintf(w, "%s -> %s for %s\n", r.Model, r.Out, r.Target)
	if r.NotMeasured != "" {
		fmt.Fprintf(w, "not measured: %s\n\n", r.NotMeasured)
	} else {
		fmt.Fprintf(w, "measured on %s, %d cores\n\n", r.Host.CPU, r.Host.Cores)
	}
	tab := newTable(w, "", "before", "after", "change")
	rightAlign(tab, 4)
	b, a := r.Before, r.After
	tab.AppendRow([]any{"nodes", b.Nodes, a.Nodes, ratioText(float64(b.Nodes), float64(a.Nodes))})
	if b.QDQ+a.QDQ > 0 {
		tab.AppendRow([]any{"  and to quantize (fused away)", b.QDQ, a.QDQ, ""})
	}
	tab.AppendRow([]any{"parameters", countText(b.Params), countText(a.Params), ratioText(float64(b.Params), float64(a.Params))})
	tab.AppendRow([]any{"file", bytesText(b.FileBytes), bytesText(a.FileBytes), ratioText(float64(b.FileBytes), float64(a.FileBytes))})
	if b.Flops > 0 {
		tab.AppendRow([]any{"flops", flopsText(b.figures), flopsText(a.figures), ratioText(float64(b.Flops), float64(a.Flops))})
	}
	for i, row := range b.Latency {
		if i < len(a.Latency) {
			what := fmt.Sprintf("(%s, %d threads)", row.Name(), row.Threads)
			tab.AppendRow([]any{"latency median " + what, nsText(row.Median), nsText(a.Latency[i].Median), ratioText(float64(row.Median), float64(a.Latency[i].Median))})
			tab.AppendRow([]any{"latency p95 " + what, nsText(row.P95), nsText(a.Latency[i].P95), ratioText(float64(row.P95), float64(a.Latency[i].P95))})
		}
	}
	r.metricRows(func(cells ...any) { tab.AppendRow(cells) })
	tab.Render()
	fmt.Fprintln(w)
	if r.Zeros != nil {
		r.Zeros.write(w)
	}
	r.writePasses(w)
}

// metricRows adds a row for each metric: accuracy where there are labels, and
// how close the outputs are to the original's.
func (r *optimizeReport) metricRows(add func(...any)) {
	what := "samples"
	if strings.HasPrefix(r.Data, "random:") {
		what = "random samples"
	}
	on := fmt.Sprintf(" (%d %s)", r.Evaluation, what)
	for _, name := range []string{"top1", "top5", "agreement", "sqnr_db", "max_abs", "cosine"} {
		after, ok := r.After.Metrics[name]
		if !ok {
			continue
		}
		before, ok := r.Before.Metrics[name]
		if !ok {
			add(metricName(name)+on, "", metricText(name, after), "")
			continue
		}
		add(metricName(name)+on, metricText(name, before), metricText(name, after), fmt.Sprintf("%+.2f points", 100*(after-before)))
	}
}

func metricName(name string) string {
	names := map[string]string{"top1": "top-1", "top5": "top-5", "agreement": "same class as before",
		"sqnr_db": "SQNR", "max_abs": "largest difference", "cosine": "least cosine"}
	return names[name]
}

func flopsText(f figures) string {
	text := countText(f.Flops)
	if !f.FlopsKnown {
		return "> " + text
	}
	return text
}

func ratioText(before, after float64) string {
	if before == 0 || after == 0 {
		return ""
	}
	if before == after {
		return "same"
	}
	return fmt.Sprintf("x %.3g", after/before)
}

// writePasses lists what each pass changed, and below it what was left alone.
func (r *optimizeReport) writePasses(w io.Writer) {
	tab := newTable(w, "pass", "changed", "skipped", "drift", "time")
	rightAlign(tab, 5)
	for _, s := range r.Passes {
		appendStep(tab.AppendRow, s, "")
		for _, m := range s.Members {
			if m.Changed > 0 {
				appendStep(tab.AppendRow, m, "  ")
			}
		}
	}
	tab.Render()
	for _, s := range r.Passes {
		for _, line := range remarks(s) {
			fmt.Fprintf(w, "\n%s: %s", s.Pass, line)
		}
	}
	fmt.Fprintln(w)
}

// appendStep adds the row of one step.
func appendStep(add func(table.Row, ...table.RowConfig), s *passes.StepReport, indent string) {
	drift := ""
	if s.Drift != nil {
		drift = fmt.Sprintf("%.2g", s.Drift.Max)
	}
	add(table.Row{indent + s.Pass, s.Changed, len(s.Skipped), drift, s.Elapsed.Round(100 * time.Microsecond)})
}

// remarks returns the outcome, notes and skips of a step, a line each.
func remarks(s *passes.StepReport) []string {
	var lines []string
	if s.Outcome != passes.Done {
		lines = append(lines, fmt.Sprintf("%s: %s", s.Outcome, s.Reason))
	}
	lines = append(lines, s.Notes...)
	return append(lines, skipLines(s.Skipped)...)
}

// skipLines groups what was skipped by the reason.
func skipLines(skips []passes.Skip) []string {
	const shown = 3
	where := map[string][]string{}
	var reasons []string
	for _, s := range skips {
		if where[s.Reason] == nil {
			reasons = append(reasons, s.Reason)
		}
		where[s.Reason] = append(where[s.Reason], s.Where)
	}
	slices.SortStableFunc(reasons, func(a, b string) int { return len(where[b]) - len(where[a]) })
	var lines []string
	for _, reason := range reasons {
		at := where[reason]
		list := strings.Join(at[:min(shown, len(at))], ", ")
		if len(at) > shown {
			list += fmt.Sprintf(" and %d more", len(at)-shown)
		}
		lines = append(lines, fmt.Sprintf("left alone: %s (%s)", list, reason))
	}
	return lines
}
