package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// emit shows a result: as text on standard output, and as JSON where --json
// says. --quiet leaves out the text.
func emit(c *cli.Context, result any, show func(w io.Writer)) error {
	path := c.String("json")
	if path != "" {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(result); err != nil {
			return err
		}
		if path == "-" {
			_, err := c.App.Writer.Write(b.Bytes())
			return err
		}
		if err := writeFile(path, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err }); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if !c.Bool("quiet") {
		show(c.App.Writer)
	}
	return nil
}

// writeFile writes a file whole or not at all: to a temporary one beside it,
// synced, then renamed.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// newTable returns a table in the house style: no rules but one under the
// header, numbers to the right.
func newTable(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true}
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	if len(header) > 0 {
		t.AppendHeader(table.Row(header))
	}
	return t
}

// rightAlign aligns all columns but the first to the right.
func rightAlign(t table.Writer, columns int) {
	var cfg []table.ColumnConfig
	for i := 2; i <= columns; i++ {
		cfg = append(cfg, table.ColumnConfig{Number: i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(cfg)
}

// progress returns a function that shows how far a piece of work is, on a
// terminal only. done and total count in the work's own units.
func progress(c *cli.Context) func(what string, done, total int) {
	f, ok := c.App.ErrWriter.(*os.File)
	if !ok || c.Bool("quiet") || !term.IsTerminal(int(f.Fd())) {
		return func(string, int, int) {}
	}
	p := &progressLine{to: f}
	return p.show
}

// progressLine is a bar on a terminal. What it stands for is told apart by
// the words before ": "; those after may change as the work goes on.
type progressLine struct {
	to    io.Writer
	bar   *progressbar.ProgressBar
	name  string
	what  string
	total int
}

func (p *progressLine) show(what string, done, total int) {
	name, _, _ := strings.Cut(what, ": ")
	if p.bar != nil && (name != p.name || total != p.total) {
		p.bar.Finish()
		p.bar = nil
	}
	switch {
	case p.bar == nil:
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(p.to), progressbar.OptionSetDescription(what),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true), progressbar.OptionShowCount())
	case what != p.what:
		p.bar.Describe(what)
	}
	p.name, p.what, p.total = name, what, total
	p.bar.Set(done)
	if done >= total {
		p.bar.Finish()
		p.bar = nil
	}
}

// say prints a line about what is being done to stderr, unless --quiet.
func say(c *cli.Context, format string, args ...any) {
	if !c.Bool("quiet") {
		fmt.Fprintf(c.App.ErrWriter, format+"\n", args...)
	}
}

// bytesText returns a size as people read it.
func bytesText(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 10<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// countText returns a count as people read it: 3.49 M, 300.8 M, 12.3 G.
func countText(n int64) string {
	f := float64(n)
	switch {
	case f >= 1e9:
		return fmt.Sprintf("%.2f G", f/1e9)
	case f >= 1e6:
		return fmt.Sprintf("%.2f M", f/1e6)
	case f >= 1e4:
		return fmt.Sprintf("%.1f k", f/1e3)
	}
	return fmt.Sprint(n)
}

// byteUnits are the suffixes of sizes, longest first where one ends another.
var byteUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1}, {"", 1},
}

// parseBytes reads a size such as 1048576, 64K, 1.5GiB or 500MB.
func parseBytes(size string) (int64, error) {
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(size, u.suffix)
		if !ok {
			continue
		}
		x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(x > 0) || x*u.bytes < 1 || x*u.bytes > math.MaxInt64/2 {
			break
		}
		return int64(x * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is no size, want a number with a unit, as 64K, 500MB or 2GiB", size)
}
